"""A talking video in windows: which frames each one samples, hears, drops and keeps. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

FPS = 25  # frames per second, of InfiniteTalk and of its speech features
# The audio projection looks at two features before and behind each frame (its `audio_window` is 5).
REACH = 2
LATENT = 4  # frames in a latent frame; the first latent frame holds one


@dataclass(frozen=True)
class Window:
    """One run of the sampler. All figures are frames."""

    index: int
    speech: int  # what its first frame hears; below 0 where it continues a given clip
    length: int
    drop: int  # its first frames: those before it, seen again
    keep: int  # frames that it adds to the video


def plan(*, frames: int, window: int, overlap: int, motion: int = 0) -> list[Window]:
    """The windows that make `frames` frames; `motion` frames of an earlier clip stand before them.

    A video that one window holds is sampled at the smallest length 4k+1 that covers it: that is
    what WanInfiniteTalkToVideo makes of this length, and nothing is sampled to be thrown away.
    """
    check_sizes(frames=frames, window=window, overlap=overlap)
    windows = [first_window(frames=frames, window=window, motion=motion)]
    made = windows[0].keep
    while made < frames:
        keep = min(window - overlap, frames - made)
        windows.append(Window(len(windows), made - overlap, window, overlap, keep))
        made += keep
    return windows


def first_window(*, frames: int, window: int, motion: int) -> Window:
    length = min(window, round_up(motion + frames))
    return Window(0, -motion, length, motion, min(length - motion, frames))


def round_up(frames: int) -> int:
    """The smallest 4k+1 that is not below `frames`."""
    return math.ceil((frames - 1) / LATENT) * LATENT + 1


def motion_length(frames: int, *, overlap: int) -> int:
    """How many of a clip's last frames a window continues: 4k+1, and at most the overlap."""
    usable = min(frames, overlap)
    return (usable - 1) // LATENT * LATENT + 1 if usable else 0


def check_sizes(*, frames: int, window: int, overlap: int) -> None:
    if frames < 1:
        raise ValueError(f"speech: {frames} frames; at least 1")
    for name, value in (("window", window), ("overlap", overlap)):
        if value < 1 or round_up(value) != value:
            below = motion_length(value, overlap=value) or 1
            raise ValueError(
                f"{name}: {value} is not 1 plus a multiple of 4; nearest {below} or {below + 4}"
            )
    if overlap >= window:
        raise ValueError(f"overlap: {overlap} is not below the window's {window} frames")


def heard(features: torch.Tensor, *, start: int, length: int) -> torch.Tensor:
    """What the frames from `start` hear, with two features before and behind: [length + 4, …].

    [frames, layers, channels] → as ComfyUI's `get_audio_embeds` looks features up in the whole
    sound: behind the end the first one again ("most likely silence"), and none beyond the window.
    """
    there = features.shape[0]
    places = torch.arange(start - REACH, start + length + REACH)
    places = places.clamp(0, max(there, start + length) - 1)
    return features[torch.where(places < there, places, 0).to(features.device)]


def tail(before: torch.Tensor | None, frames: torch.Tensor, *, count: int) -> torch.Tensor:
    """The last `count` of [frames, height, width, 3] that follow `before`; a copy."""
    if before is None or frames.shape[0] >= count:
        return frames[-count:].clone()
    return torch.cat([before, frames])[-count:].clone()


def seed_of(seed: int, window: int) -> int:
    """Each window has noise of its own; behind the largest seed comes 0."""
    return (seed + window) % 2**64
