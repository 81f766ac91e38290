"""Three pictures and a sound made on the spot, with a request for them: what `make demo` renders."""

import json
import math
import struct
import sys
import wave
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = (384, 256)  # pixels
RATE = 22050  # Hz
SYLLABLES = (220, 262, 196, 247, 294, 220, 196, 165)  # Hz, a quarter of a second each
BACKGROUNDS = {"sunrise": (244, 190, 120), "noon": (120, 190, 245), "night": (28, 30, 70)}
DISCS = {"sunrise": (210, 60, 40), "noon": (250, 230, 90), "night": (235, 235, 225)}


def make(folder: Path) -> Path:
    """Write the inputs into a folder; returns the path of the request, for `callsheet run --params`."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(BACKGROUNDS):
        _picture(name, place).save(folder / f"{name}.png")
    _speak(folder / "speech.wav")
    request = {
        "keyframes": [
            {"image_url": str(folder / "sunrise.png"), "frame_position": "first"},
            {"image_url": str(folder / "noon.png"), "frame_position": 0.5},
            {"image_url": str(folder / "night.png"), "frame_position": "last"},
        ],
        "audio_url": str(folder / "speech.wav"),
        "prompt": "A day passes over a quiet sea while a voice tells of it.",
        "quality_preset": "fast",
        "width": SIZE[0],
        "height": SIZE[1],
        "fps": 24,
        "seed": 7,
    }
    target = folder / "request.json"
    target.write_text(json.dumps(request, indent=2) + "\n")
    return target


def _picture(name: str, place: int) -> Image.Image:
    """A disc over a sea: low on the left, high in the middle, low on the right."""
    width, height = SIZE
    picture = Image.new("RGB", SIZE, BACKGROUNDS[name])
    draw = ImageDraw.Draw(picture)
    x, y = width * (1 + 2 * place) // 6, height * (30 if place == 1 else 48) // 100
    draw.ellipse((x - 52, y - 52, x + 52, y + 52), fill=DISCS[name])
    sea = tuple(
        channel // 2 + add for channel, add in zip(BACKGROUNDS[name], (0, 20, 60), strict=True)
    )
    draw.rectangle((0, height * 70 // 100, width, height), fill=sea)
    return picture


def _speak(file: Path) -> None:
    """Two seconds of sung syllables: a tone with overtones that swells and fades eight times."""
    length = RATE // 4
    samples = [
        0.25 * math.sin(math.pi * i / length) * sum(
            math.sin(2 * math.pi * pitch * n * i / RATE) / n for n in (1, 2, 3, 5)
        )
        for pitch in SYLLABLES
        for i in range(length)
    ]  # fmt: skip
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(b"".join(struct.pack("<h", int(32767 * s)) for s in samples))


if __name__ == "__main__":
    print(f"three pictures, a sound and a request: {make(Path(sys.argv[1]))}")
