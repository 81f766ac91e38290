"""Small renders for tests, and how two of them differ."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from runner.job import Result

SMALL = {"prompt": "a red kite over a blue sea", "width": 128, "height": 96, "num_frames": 17,
         "steps": 4, "seed": 1}  # fmt: skip
Render = Callable[..., Result]  # a workflow, if not wan-t2v, and parameters by name


def tree(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file below a folder with its time of change (ns) and size (bytes)."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (stat.st_mtime_ns, stat.st_size) for path in files if (stat := path.stat())}


def pictures(result: Result) -> np.ndarray:
    """The video's frames: [frames, height, width, 3], 0..255."""
    with av.open(result.artifacts[0].location) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def difference(one: Result, other: Result) -> float:
    """Mean absolute difference of two videos, in steps of 0..255."""
    a, b = pictures(one).astype(float), pictures(other).astype(float)
    return float(np.abs(a - b).mean())
