"""Where in a video each speaker is seen: boxes and masks of a picture, cropped as it is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from . import image
from .limits import show
from .speakers import Box, in_shares, shared_part

INSET = 0.05  # of a half, left free on each side: MultiTalk's face_scale
WHITE = 0.5  # a mask's pixel counts from here; the noise of a JPEG's black does not
# The model looks at one pixel in 16 by 16: a region between them would be nobody's.
GRID = 16
SIDES = ("left", "right")


@dataclass(frozen=True)
class Place:
    """What a speaker brings."""

    bbox: Box | None = None
    mask: torch.Tensor | None = None  # [1, any height, any width], 0..1; counts before the box


@dataclass(frozen=True)
class Crop:
    """The part of a picture that fills the video, and the video's size."""

    part: image.Box
    picture_width: int
    picture_height: int
    width: int
    height: int


def regions(
    places: Sequence[Place],
    *,
    picture: tuple[int, int],  # width, height
    width: int,
    height: int,
    background: torch.Tensor | None = None,  # [1, any height, any width], 0..1
) -> torch.Tensor:
    """[speakers, height, width], 0 or 1; of two speakers with a background, [3, …]: it is the last.

    Without mask and box a single speaker is everywhere, the first of two on the left half and the
    second on the right. A ValueError names the speaker and what is wrong.
    """
    crop = Crop(image.centred(*picture, aspect=width / height), *picture, width, height)
    boxes = [box_of(number, len(places), place, crop) for number, place in enumerate(places)]
    check_overlap(places, boxes)
    found = [
        masked(f"speaker {number + 1}: its mask", place.mask, crop)
        if place.mask is not None
        else boxed(whose(number, len(places), place), box, crop)
        for number, (place, box) in enumerate(zip(places, boxes, strict=True))
    ]
    clear = without_others(places, found)
    nobody = None if background is None else masked("background: the mask", background, crop)
    if nobody is not None:
        clear = [region & ~nobody for region in clear]
    check_seen(clear, crop)
    speaking = torch.stack(clear)
    if nobody is not None and len(places) > 1:
        speaking = torch.cat([speaking, nobody[None]])
    return speaking.float()


# --- boxes, in the picture's pixels ---------------------------------------------------------------


def box_of(index: int, count: int, place: Place, crop: Crop) -> Box:
    width, height = crop.picture_width, crop.picture_height
    if place.bbox is not None:
        return in_pixels(index + 1, place.bbox, width, height)
    return half(index, width, height) if count > 1 else (0.0, 0.0, float(width), float(height))


def in_pixels(number: int, box: Box, width: int, height: int) -> Box:
    if len(box) != 4:
        raise ValueError(f"speaker {number}: bbox {box} is not four numbers: x, y, width, height")
    x, y, box_width, box_height = box
    if not (x >= 0 and y >= 0 and box_width > 0 and box_height > 0):
        raise ValueError(
            f"speaker {number}: bbox {said(box)} has no area in the picture; "
            "x and y are 0 or more, width and height above 0"
        )
    if in_shares(box):
        x, y, box_width, box_height = x * width, y * height, box_width * width, box_height * height
    # A pixel: what rounding in a drawing program may add.
    if x + box_width > width + 1 or y + box_height > height + 1:
        raise ValueError(
            f"speaker {number}: bbox {said(box)} leaves the picture: it ends at "
            f"{show(x + box_width)}, {show(y + box_height)}, the picture at {width}, {height}"
        )
    return x, y, box_width, box_height


def half(index: int, width: int, height: int) -> Box:
    """The left or right one, inset: MultiTalk's own arithmetic, in whole pixels."""
    middle = width // 2
    left, right = int(middle * INSET), int(middle * (1 - INSET))
    top, bottom = int(height * INSET), int(height * (1 - INSET))
    return float(left + index * middle), float(top), float(right - left), float(bottom - top)


def whose(index: int, count: int, place: Place) -> str:
    if place.bbox is not None or count == 1:
        return f"speaker {index + 1}: its box"
    return f"speaker {index + 1}: without a bbox it has the {SIDES[index]} half;"


def check_overlap(places: Sequence[Place], boxes: Sequence[Box]) -> None:
    """A mask counts before its box, and what gives way to it is no error."""
    if len(boxes) < 2 or any(place.mask is not None for place in places):
        return
    shared = shared_part(boxes[0], boxes[1])
    if shared:
        halves = [
            f"; without a bbox speaker {number} has the {side} half"
            for number, side, place in zip((1, 2), SIDES, places, strict=True)
            if place.bbox is None
        ]
        raise ValueError(
            f"the boxes of speaker 1 and speaker 2 overlap: {shared} in the picture, in pixels"
            f"{''.join(halves)}"
        )


def said(box: Box) -> str:
    return f"[{', '.join(show(number) for number in box)}]"


# --- regions, in the video's pixels ---------------------------------------------------------------


def boxed(what: str, box: Box, crop: Crop) -> torch.Tensor:
    """[height, width]: the pixels whose middle lies in the box."""
    x, y, width, height = box
    if not (width and height):  # a half of nearly nothing
        size = f"{crop.picture_width} x {crop.picture_height}"
        raise ValueError(f"image: {size} pixels are too small to tell two speakers apart")
    part = crop.part
    columns = part.left + (torch.arange(crop.width) + 0.5) * part.width / crop.width
    rows = part.top + (torch.arange(crop.height) + 0.5) * part.height / crop.height
    inside = ((rows >= y) & (rows < y + height))[:, None] & (
        (columns >= x) & (columns < x + width)
    )[None]
    if not inside.any():
        raise ValueError(f"{what} {said(box)} {cut_off(crop)}")
    return inside


def masked(whose: str, mask: torch.Tensor, crop: Crop) -> torch.Tensor:
    """[height, width]. A mask of another size than the picture is stretched to it."""
    if mask.ndim == 2:
        mask = mask[None]
    if not (mask >= WHITE).any():
        raise ValueError(f"{whose} is black all over; white is where it applies")
    stretched = image.resized(
        mask[:1, ..., None], width=crop.picture_width, height=crop.picture_height
    )
    part = image.cut(stretched, crop.part)
    white = image.resized(part, width=crop.width, height=crop.height)[0, ..., 0] >= WHITE
    if not white.any():
        raise ValueError(f"{whose} {cut_off(crop)}")
    return white


def cut_off(crop: Crop) -> str:
    part = crop.part
    return (
        f"is cut off entirely: of the picture, x {part.left} to {part.left + part.width} and "
        f"y {part.top} to {part.top + part.height} fill the {crop.width} x {crop.height} video"
    )


def without_others(places: Sequence[Place], found: list[torch.Tensor]) -> list[torch.Tensor]:
    """A box, or a half, gives way to the other speaker's mask."""
    clear = list(found)
    for index, (place, region) in enumerate(zip(places, found, strict=True)):
        others = [n for n, one in enumerate(places) if n != index and one.mask is not None]
        for other in others:
            rest = region & ~found[other]
            if not rest.any():
                raise ValueError(
                    f"speaker {index + 1}: speaker {other + 1}'s mask covers all of its region"
                )
            clear[index] = region if place.mask is not None else rest
    return clear


def check_seen(regions: Sequence[torch.Tensor], crop: Crop) -> None:
    for number, region in enumerate(regions, start=1):
        if not region.any():
            raise ValueError(f"speaker {number}: the background covers all of its region")
        if not region[::GRID, ::GRID].any():
            rows, columns = region.any(dim=1).sum(), region.any(dim=0).sum()
            raise ValueError(
                f"speaker {number}: its region has {columns} x {rows} pixels in the "
                f"{crop.width} x {crop.height} video, too small for the model; "
                f"{GRID} x {GRID} are seen for certain"
            )
