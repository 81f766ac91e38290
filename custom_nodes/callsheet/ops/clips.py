"""The end of a clip, at another frame rate. PyAV, no ComfyUI."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import av
import numpy as np
import torch

from .media import said

# Containers round times, Matroska's to milliseconds: a frame so much late is on time.
ROUNDING = 0.001  # seconds

Frame = TypeVar("Frame")


def last_pictures(
    source: str | io.BytesIO,
    *,
    count: int,
    fps: float,
    start: float = 0.0,  # seconds
    duration: float = 0.0,  # seconds; 0: to the end
) -> torch.Tensor:
    """The last `count` frames, or as many as there are: [frames, height, width, 3], 0..1, upright.

    Decoded one after the other: what stays in memory does not grow with the clip. A ValueError
    says what is wrong with the file.
    """
    try:
        with av.open(source) as container:
            if not container.streams.video:
                raise ValueError("there is no picture in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            part = within(timed(container, stream), start=start, duration=duration)
            pictures = [upright(frame) for frame in last(part, count=count, fps=fps)]
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"not a readable video file ({said(error)})") from error
    # A stream may change its size on the way.
    alike = [picture for picture in pictures if picture.shape == pictures[-1].shape]
    return torch.from_numpy(np.stack(alike)).float() / 255


def last_images(images: torch.Tensor, *, fps: float, count: int, to: float) -> torch.Tensor:
    """The same of frames in memory, [frames, height, width, 3] at `fps`."""
    timed_images = ((index / fps, image) for index, image in enumerate(images[..., :3]))
    return torch.stack(last(timed_images, count=count, fps=to))


def last(frames: Iterable[tuple[float, Frame]], *, count: int, fps: float) -> list[Frame]:
    """Of frames with their times in seconds, those shown at the last frame's time, and 1/fps,
    2/fps, … before it. None of them lies before the first frame.
    """
    first: float | None = None
    kept: deque[tuple[float, Frame]] = deque()
    for time, frame in frames:
        first = time if first is None else first
        kept.append((time, frame))
        while len(kept) > 1 and kept[1][0] <= time - (count - 1) / fps + ROUNDING:
            kept.popleft()
    if first is None:
        raise ValueError("there is no picture in it")
    end = kept[-1][0]
    wanted = [end - back / fps for back in reversed(range(count))]
    return [
        next(frame for time, frame in reversed(kept) if time <= moment + ROUNDING)
        for moment in wanted
        if moment >= first - ROUNDING
    ]


def timed(container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    """Every frame that can be decoded, with its time; one without a time follows the one before."""
    step = 1 / float(stream.average_rate or 25)
    time = -step
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:  # as ComfyUI does: a damaged packet loses its own frames only
            continue
        for frame in frames:
            time = time + step if frame.time is None else frame.time
            yield time, frame


def within(
    frames: Iterable[tuple[float, Frame]], *, start: float, duration: float
) -> Iterator[tuple[float, Frame]]:
    for time, frame in frames:
        if duration and time >= start + duration - ROUNDING:
            return
        if time >= start - ROUNDING:
            yield time, frame


def upright(frame: Any) -> np.ndarray:
    """As the file says that its camera was held."""
    picture = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(picture, k=round(frame.rotation / 90)))
