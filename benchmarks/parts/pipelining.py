"""20 jobs of 1 s download, 2 s on the GPU and 1 s upload, through RunPod's own SDK loop."""

import json
import subprocess
import sys
from pathlib import Path

from workbench import ROOT, Figure

IDEAL = 42.0  # seconds: the first download, 20 renders, the last upload


def measure(_: Path) -> list[Figure]:
    test = ["tests/worker/test_pipeline.py", "-q", "-p", "no:cacheprovider"]
    subprocess.run([sys.executable, "-m", "pytest", *test], cwd=ROOT, check=False)
    said = json.loads((ROOT / "out" / "pipeline.json").read_text())
    took, serial = said["seconds"], said["serial"]
    idle = said["gpu_idle_per_job"] * 1000
    return [
        Figure("20 jobs, pipelined", took, "s", "one after the other", serial,
               f"within 1 s of the ideal {IDEAL:g} s", took <= IDEAL + 1),
        Figure("GPU idle between two jobs", idle, "ms"),
    ]  # fmt: skip
