"""The frames on the workflows' pages: each workflow rehearsed once on the demo's pictures and sound."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from runner.entrypoints import example

ROOT = Path(__file__).resolve().parents[2]
WIDEST = 1200  # pixels


def requests(folder: Path) -> dict[str, dict[str, Any]]:
    """Workflow → its request, with inputs made in the folder."""
    keyframed = json.loads(example.make(folder).read_text())
    size = {"width": 384, "height": 256, "quality_preset": "fast", "seed": 7, "fps": 24}
    picture, sound = str(folder / "sunrise.png"), keyframed["audio_url"]
    said = "A voice tells of the sea while the sun goes down."
    return {
        "ltx2-lipsync": {**size, "image_url": picture, "audio_url": sound, "prompt": said},
        "ltx2-audio": {**size, "image_url": picture, "prompt": said, "duration": 2},
        "ltx2-keyframes-lipsync": keyframed,
        "ltx2-keyframes-audio": {
            **size, "keyframes": keyframed["keyframes"], "prompt": keyframed["prompt"], "duration": 2,
        },
        "mochi-t2v": {
            "prompt": "a red kite over green hills under a blue sky", "num_frames": 25,
            "width": 384, "height": 256, "seed": 7,
        },
    }  # fmt: skip


def make(name: str, request: dict[str, Any], folder: Path) -> Path:
    """Rehearse it; returns the path of its contact sheet under docs/pictures."""
    asked = folder / f"{name}.json"
    asked.write_text(json.dumps(request))
    command = ["run", name, "--rehearse", "--preview", "--params", str(asked), "--to", str(folder)]
    subprocess.run([sys.executable, "-m", "runner.entrypoints.cli", *command], check=True, cwd=ROOT)
    [sheet] = folder.glob(f"{name}-*-video.png")
    with Image.open(sheet) as picture:
        picture.thumbnail((WIDEST, WIDEST))
        target = ROOT / "docs" / "pictures" / f"frames-{name}.png"
        picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(target, optimize=True)
    return target


if __name__ == "__main__":
    scratch = Path(tempfile.mkdtemp())
    try:
        for name, request in requests(scratch).items():
            print(make(name, request, scratch))
    finally:
        shutil.rmtree(scratch)
