"""How long `callsheet --help` takes, beside an interpreter that does nothing."""

import subprocess
import sys
import time
from pathlib import Path

from workbench import Figure, median, side_by_side

ROUNDS = 20


def measure(_: Path) -> list[Figure]:
    callsheet = str(Path(sys.executable).with_name("callsheet"))

    def took(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start

    helped, idle = side_by_side(
        ROUNDS,
        lambda _: took(callsheet, "--help"),
        lambda _: took(sys.executable, "-c", "pass"),
    )
    a, b = median(helped) * 1000, median(idle) * 1000
    return [Figure("callsheet --help", a, "ms", "an idle interpreter", b, "under 150 ms", a < 150)]
