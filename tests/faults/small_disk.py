"""Jobs on an engine whose folders are on a disk that is nearly full; prints how each ended, as JSON.

`small_disk.py DISK HOME WAY`, in a process of its own. WAY `tmpfs`: DISK is one of a few megabytes;
`limit`: no file may be larger than that (RLIMIT_FSIZE), for where nobody may mount.
"""

import dataclasses
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from runner import settings as runner_settings
from runner.comfy import engine as engines
from runner.entrypoints import setup
from runner.errors import RunnerError
from runner.inputs import Access
from runner.run import run
from runner.storage.local import LocalStorage

from faulty import HASTY, asked, graph

SIZE = 2 << 20  # bytes


def main(disk: Path, home: Path, way: str) -> None:
    tempfile.tempdir = str(disk)
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, SIZE))
    found = dataclasses.replace(runner_settings.from_environment(), home=home, cpu=True)
    usual = setup.engine_options(found, rehearse=False)
    packs = [*usual.packs, Path(__file__).parent / "callsheet_faults"]
    options = dataclasses.replace(usual, packs=packs, custom_nodes=(), patience=HASTY)
    with engines.running(options) as engine:
        told = [
            one(engine, home / "out", what) for what in ("large", "nothing", "large", "nothing")
        ]
    left = [str(path) for path in disk.rglob("*") if path.is_file()]
    print(json.dumps({"told": told, "left": left}))


def one(engine: Any, to: Path, act: str) -> dict[str, Any]:
    began = time.monotonic()
    try:
        run(asked(graph(act)), engine=engine, storage=LocalStorage(to), access=Access(min_free=0))
        told: dict[str, Any] = {"code": "succeeded", "message": ""}
    except RunnerError as error:
        told = error.to_dict()
    left = [str(path) for path in engine.output.rglob("*") if path.is_file()]
    return {**told, "left": left, "seconds": time.monotonic() - began, "pid": os.getpid()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
