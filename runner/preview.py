"""A contact sheet: some frames of a video side by side, the time of each below, as one picture."""

from pathlib import Path
from typing import cast

import av
from PIL import Image, ImageDraw, ImageFont

COUNT = 6  # frames
WIDTH = 240  # pixels of one frame on the sheet
GUTTER = 8  # pixels between frames and around them
LINE = 20  # pixels below a frame, for its time
_PAPER, _INK = (24, 24, 24), (220, 220, 220)


def contact_sheet(video: Path, target: Path, *, count: int = COUNT) -> Path:
    """Write `count` frames, from the first to the last and evenly spread, into one row of a PNG.

    The video is decoded once and only the frames of the sheet are kept.
    """
    with av.open(str(video)) as container:
        total = sum(1 for packet in container.demux(video=0) if packet.size)
    wanted = {round(i * (total - 1) / max(count - 1, 1)) for i in range(count)}
    with av.open(str(video)) as container:
        frames = [
            (_small(cast("Image.Image", frame.to_image())), float(frame.time or 0.0))  # pyright: ignore[reportUnknownMemberType]
            for index, frame in enumerate(container.decode(video=0))
            if index in wanted
        ]
    _sheet(frames).save(target)
    return target


def _sheet(frames: list[tuple[Image.Image, float]]) -> Image.Image:
    """Pictures of one size, each with its time in seconds."""
    width, height = frames[0][0].size
    size = (GUTTER + len(frames) * (width + GUTTER), height + 2 * GUTTER + LINE)
    sheet = Image.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for place, (frame, seconds) in enumerate(frames):
        x = GUTTER + place * (width + GUTTER)
        sheet.paste(frame, (x, GUTTER))
        at = (x + width // 2, height + GUTTER + LINE // 2 + 2)
        draw.text(at, f"{seconds:.2f} s", _INK, font, anchor="mm")
    return sheet


def _small(picture: Image.Image) -> Image.Image:
    return picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)))
