"""Speech features of any length: chunks for the encoder, their way to 25 fps, and their places. Pure.

The encoder is wav2vec2-base: 50 features a second, each of 400 samples at 16 kHz, 320 apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from .windows import FPS

RATE = 16000  # Hz
STEP = 320  # samples from one feature to the next
SPAN = 400  # samples that one feature is made of
FEATURE_RATE = RATE // STEP  # Hz
CHUNK = 4 * FEATURE_RATE  # features
CONTEXT = 2 * FEATURE_RATE  # features that are encoded on each side of a chunk and thrown away
WHOLE = CHUNK + 2 * CONTEXT  # features; a voice up to here is encoded in one piece
RUNS_AT_ONCE = 1 << 16
LEAST = SPAN + STEP  # samples: two features, and so one frame

# [1, 1, samples] at 16 kHz → [features, layers, channels] at 50 Hz
Encode = Callable[[torch.Tensor], torch.Tensor]
# [features, layers, channels] at 50 Hz → [frames, layers, channels] at 25 fps
ToVideo = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Chunk:
    """Features of the whole voice: `first` to `end` are encoded, `keep_from` to `keep_to` kept."""

    first: int
    end: int
    keep_from: int
    keep_to: int


def video_frames(seconds: float) -> int:
    """Frames that cover so many seconds. What is over by a rounding error makes no frame."""
    return max(1, math.ceil(FPS * seconds - 1e-6))


def features_in(samples: int) -> int:
    return (samples - SPAN) // STEP + 1


def chunks(features: int) -> list[Chunk]:
    """All features, each kept once."""
    if features <= WHOLE:
        return [Chunk(0, features, 0, features)]
    # One feature more is kept at the end of each: a frame may lie between two of them.
    return [
        Chunk(
            max(0, begin - CONTEXT),
            min(features, begin + CHUNK + CONTEXT),
            begin,
            min(features, begin + CHUNK + 1),
        )
        for begin in range(0, features - 1, CHUNK)
    ]


def encoded(voice: torch.Tensor, *, encode: Encode, to_video: ToVideo) -> Iterator[torch.Tensor]:
    """[1, 1, samples] at 16 kHz → [frames, layers, channels] at 25 fps, in consecutive parts.

    A voice of one chunk is encoded and interpolated by the functions given; of a longer one, never
    more than a chunk is in memory at 50 Hz, and each frame lies where `to_video` would put it.
    """
    voice = torch.nn.functional.pad(voice, (0, max(0, LEAST - voice.shape[-1])))
    features = features_in(voice.shape[-1])
    parts = chunks(features)
    if len(parts) == 1:
        yield to_video(encode(voice)).cpu()
        return
    frames = features * FPS // FEATURE_RATE
    done = 0
    for part in parts:
        known = encode(samples_of(voice, part))[part.keep_from - part.first :].cpu()
        upto = frames_before(part.keep_to - 1, features=features, frames=frames)
        upto = frames if part is parts[-1] else upto
        places = frame_places(done, upto, features=features, frames=frames) - part.keep_from
        yield between(known, places)
        done = upto


def levels(
    voice: torch.Tensor, *, filters: torch.Tensor, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over time of filters run over the whole voice, [filters] each, in doubles.

    `filters` are [filters, size], `step` samples apart. By the moments of the voice's own runs of
    samples: their outputs over minutes would take gigabytes.
    """
    size = filters.shape[1]
    total = torch.zeros(size, dtype=torch.float64)
    products = torch.zeros(size, size, dtype=torch.float64)
    runs = voice.flatten().unfold(0, size, step)
    for part in runs.split(RUNS_AT_ONCE):
        part = part.double()
        total += part.sum(dim=0)
        products += part.T @ part
    mean = total / len(runs)
    spread = products / len(runs) - torch.outer(mean, mean)
    filters = filters.double()
    return filters @ mean, ((filters @ spread) * filters).sum(dim=1).clamp(min=0)


def samples_of(voice: torch.Tensor, part: Chunk) -> torch.Tensor:
    return voice[..., STEP * part.first : STEP * (part.end - 1) + SPAN]


def frame_places(first: int, end: int, *, features: int, frames: int) -> torch.Tensor:
    """Where frames lie among features, first on first and last on last (`align_corners`)."""
    return torch.arange(first, end, dtype=torch.float64) * ((features - 1) / max(1, frames - 1))


def frames_before(feature: int, *, features: int, frames: int) -> int:
    """How many frames lie before a feature."""
    return math.ceil(feature * (frames - 1) / (features - 1))


def between(features: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Linear interpolation at places counted in features."""
    low = places.floor().long().clamp(0, features.shape[0] - 1)
    high = (low + 1).clamp(max=features.shape[0] - 1)
    weight = (places - low).to(features.dtype).view(-1, *([1] * (features.dim() - 1)))
    return torch.lerp(features[low], features[high], weight)


def laid_out(
    parts: Iterator[torch.Tensor],
    *,
    start: float,  # seconds at which the voice begins
    length: float,  # seconds
    frames: int,
) -> torch.Tensor:
    """A voice over the whole video, [frames, layers, channels]: zeros where it is silent.

    An encoder gives up to a frame less than the sound has; these frames hear the voice's first
    feature, as ComfyUI fills the end of a sound.
    """
    part = next(parts)
    # numpy's zeros take no memory before they are written, torch's do.
    zeros = np.zeros((frames, *part.shape[1:]), dtype=np.float32)
    whole = torch.from_numpy(zeros).to(part.dtype)
    span = span_of(start, length, frames=frames)
    first, place = part[:1].clone(), span.start
    while part is not None:
        count = min(len(part), span.stop - place)
        whole[place : place + count] = part[:count]
        place += count
        part = next(parts, None)
    whole[place : span.stop] = first
    return whole


def span_of(start: float, length: float, *, frames: int) -> range:
    """The frames of a voice: one ends where the next begins, and the last with the video."""
    end = round(FPS * (start + length))
    return range(round(FPS * start), frames if end >= frames - 1 else end)
