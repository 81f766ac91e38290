"""From nothing to the first video of a worker, by stage, rehearsed (`callsheet bench cold-start`)."""

import json
import subprocess
import sys
from pathlib import Path

from workbench import Figure


def measure(_: Path) -> list[Figure]:
    callsheet = str(Path(sys.executable).with_name("callsheet"))
    command = [callsheet, "bench", "cold-start", "wan-t2v", "--rehearse", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds: dict[str, float] = json.loads(done.stdout)["seconds"]
    return [Figure(f"cold start: {stage}", taken, "s") for stage, taken in seconds.items()]
