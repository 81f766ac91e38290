#!/usr/bin/env python3
"""Exit 0 if a worker runs in this container and, where it has a metrics port, answers there."""

import os
import sys
import urllib.request
from itertools import pairwise
from pathlib import Path


def runs() -> bool:
    """Whether any process is `callsheet worker`."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        names = [Path(os.fsdecode(word)).name for word in words]
        if ("callsheet", "worker") in pairwise(names):
            return True
    return False


def answers(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.status == 200


port = int(float(os.environ.get("CALLSHEET_METRICS_PORT") or 0))  # 0: none
try:
    sys.exit(0 if runs() and (not port or answers(port)) else 1)
except OSError as error:
    sys.exit(f"the worker does not answer on port {port}: {error}")
