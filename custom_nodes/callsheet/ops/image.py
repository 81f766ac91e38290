"""Pictures brought to a size. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

PAD, CROP, STRETCH = "pad", "crop", "stretch"
METHODS = (PAD, CROP, STRETCH)
BACKGROUNDS = {"black": 0.0, "grey": 0.5, "white": 1.0}


@dataclass(frozen=True)
class Box:
    """A rectangle inside a picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int


def fit(
    images: torch.Tensor,
    *,
    width: int,
    height: int,
    method: str,
    background: float = 0.0,  # 0 black to 1 white, for `pad`
) -> torch.Tensor:
    """[n, h, w, 3 or more] → [n, height, width, 3], antialiased, within 0..1."""
    if method not in METHODS:
        raise ValueError(f"method: {method!r} is not one of {', '.join(METHODS)}")
    if width < 1 or height < 1:
        raise ValueError(f"{width}x{height} pixels is no size")
    images = images[..., :3]
    there = images.shape[2], images.shape[1]
    if method == CROP:
        images = cut(images, centred(*there, aspect=width / height))
    if method != PAD:
        return resized(images, width=width, height=height)
    box = letterbox(*there, width=width, height=height)
    canvas = images.new_full((images.shape[0], height, width, 3), background)
    inside = resized(images, width=box.width, height=box.height)
    canvas[:, box.top : box.top + box.height, box.left : box.left + box.width] = inside
    return canvas


def on_grid(size: int, *, multiple: int) -> int:
    """The largest multiple that is not above `size`, but at least one."""
    return max(size // multiple, 1) * multiple


def letterbox(there_width: int, there_height: int, *, width: int, height: int) -> Box:
    """Where the whole picture lies within width x height, as large as it can be."""
    scale = min(width / there_width, height / there_height)
    inner_width = min(width, max(1, half_up(there_width * scale)))
    inner_height = min(height, max(1, half_up(there_height * scale)))
    return Box(
        left=(width - inner_width) // 2,
        top=(height - inner_height) // 2,
        width=inner_width,
        height=inner_height,
    )


def centred(width: int, height: int, *, aspect: float) -> Box:
    """The largest rectangle of that aspect in the middle of a picture."""
    inner_width = min(width, max(1, half_up(height * aspect)))
    inner_height = min(height, max(1, half_up(width / aspect)))
    return Box(
        left=(width - inner_width) // 2,
        top=(height - inner_height) // 2,
        width=inner_width,
        height=inner_height,
    )


# Cropping comes before scaling: a long strip, scaled to cover first, would not fit into memory.
def cut(images: torch.Tensor, box: Box) -> torch.Tensor:
    return images[:, box.top : box.top + box.height, box.left : box.left + box.width]


def resized(images: torch.Tensor, *, width: int, height: int) -> torch.Tensor:
    if images.shape[1:3] == (height, width):
        return images
    scaled = torch.nn.functional.interpolate(
        images.movedim(-1, 1).float(), size=(height, width), mode="bicubic", antialias=True
    )
    # Bicubic rings at edges, beyond black and white.
    return scaled.movedim(1, -1).clamp(0, 1).to(images.dtype)


def half_up(value: float) -> int:
    return math.floor(value + 0.5)
