"""From seconds to frames, and from the frames a model can make to those that were asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Video models compress time: their latents decode to k·n + 1 frames and to no other count.
RULES = {"4k+1": 4, "6k+1": 6, "8k+1": 8, "any": 1}


def frame_counts(
    *,
    duration: float,  # seconds
    fps: float,
    rule: str,
    num_frames: int = 0,  # 0: from the duration
) -> tuple[int, int]:
    """(frames to generate, frames to keep): rounded up to the rule, so that no frame is missing."""
    if rule not in RULES:
        raise ValueError(f"rule: {rule!r} is not one of {', '.join(RULES)}")
    if num_frames < 0:
        raise ValueError(f"num_frames: {num_frames} is below 0; 0 takes the duration")
    keep = num_frames or frames_in(duration=duration, fps=fps)
    return round_up(keep, spacing=RULES[rule]), keep


def frames_in(*, duration: float, fps: float) -> int:
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps: {fps} is not above 0")
    if not (math.isfinite(duration) and duration >= 0):
        raise ValueError(f"duration: {duration} s is not 0 or more")
    # Not round(): it rounds halves to even, and 2.5 frames would be 2 where 3.5 are 4.
    return max(1, math.floor(duration * fps + 0.5))


def round_up(frames: int, *, spacing: int) -> int:
    """The smallest spacing·n + 1 that is not below `frames`."""
    return -(-(frames - 1) // spacing) * spacing + 1


def keep_first(images: torch.Tensor, *, count: int) -> torch.Tensor:
    """[frames, height, width, 3] → the first `count` of them: a view, nothing is copied."""
    there = images.shape[0]
    if count < 1:
        raise ValueError(f"count: {count} frames cannot be kept; at least 1")
    if count > there:
        raise ValueError(f"count: {count} frames are asked for, but there are only {there}")
    return images[:count]
