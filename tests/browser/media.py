"""Small pictures and sounds in the engine's input folder, and requests that use them, for each workflow."""

import json
import math
import struct
import wave
from pathlib import Path
from typing import Any

from PIL import Image

PICTURES = {"dawn.png": "orange", "noon.png": "skyblue", "dusk.png": "midnightblue"}
_LTX = {"width": 192, "height": 128, "quality_preset": "fast", "seed": 7, "fps": 24}
_ROWS = json.dumps([{"image": "dawn.png"}, {"image": "dusk.png"}])

# What the parameter nodes hold, smaller than any real job.
SMALL: dict[str, dict[str, Any]] = {
    "wan-t2v": {"width": 128, "height": 96, "num_frames": 9, "quality_preset": "fast", "seed": 7},
    "mochi-t2v": {"width": 128, "height": 96, "num_frames": 7, "steps": 4, "seed": 7},
    "ltx2-audio": {**_LTX, "image_url": "dawn.png", "duration": 1},
    "ltx2-lipsync": {**_LTX, "image_url": "dawn.png", "audio_url": "voice.wav"},
    "ltx2-keyframes-audio": {**_LTX, "keyframes": _ROWS, "duration": 1},
    "ltx2-keyframes-lipsync": {**_LTX, "keyframes": _ROWS, "audio_url": "voice.wav"},
    "multitalk": {
        "image_url": "dawn.png",
        "speakers": json.dumps([{"audio": "voice.wav"}]),
        "size": "draft",
        "seed": 7,
    },
}


def furnish(folder: Path) -> None:
    """Write the pictures and a second of sound."""
    for name, colour in PICTURES.items():
        Image.new("RGB", (96, 64), colour).save(folder / name)
    samples = (int(9000 * math.sin(i / 12) * abs(math.sin(i / 900))) for i in range(16_000))
    with wave.open(str(folder / "voice.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
