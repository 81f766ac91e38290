"""A contact sheet: some frames of a video, side by side, as one picture."""

from pathlib import Path
from typing import cast

import av
from PIL import Image

COUNT = 6  # frames
WIDTH = 240  # pixels of one frame on the sheet


def contact_sheet(video: Path, target: Path, *, count: int = COUNT) -> Path:
    """Write `count` frames, from the first to the last and evenly spread, into one row of a PNG.

    The video is decoded once and only the frames of the sheet are kept.
    """
    with av.open(str(video)) as container:
        total = sum(1 for packet in container.demux(video=0) if packet.size)
    wanted = {round(i * (total - 1) / max(count - 1, 1)) for i in range(count)}
    with av.open(str(video)) as container:
        frames = [
            _small(cast("Image.Image", frame.to_image()))  # pyright: ignore[reportUnknownMemberType]
            for index, frame in enumerate(container.decode(video=0))
            if index in wanted
        ]
    sheet = Image.new("RGB", (sum(f.width for f in frames), max(f.height for f in frames)))
    x = 0
    for frame in frames:
        sheet.paste(frame, (x, 0))
        x += frame.width
    sheet.save(target)
    return target


def _small(picture: Image.Image) -> Image.Image:
    return picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)))
