"""Speakers: rows of JSON text → values, and their sounds arranged over one video. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import torch

from . import audio, loudness, rows
from .limits import is_number, show
from .media import CODEC_DELAY
from .speech import RATE, video_frames

MOST = 2
WHY_MOST = "the weights tell two people apart, no more"
KEYS = ("audio", "bbox", "mask")
SHAPE = '[{"audio": "a.wav"}, …]'
ADD, PARA = "add", "para"
MODES = (ADD, PARA)
PEAK = 1.0
RESAMPLED_AT_ONCE = 1 << 20  # samples
A_MILLIONTH = 1e-6  # of a picture: 0.9 + 0.1 may be above 1 to a computer

Box = tuple[float, float, float, float]  # x, y, width, height: shares where none is above 1
# As torch and ComfyUI have it: [1, channels, samples] and samples per second.
Sound = tuple[torch.Tensor, int]


# --- rows -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    audio: str  # a file in the input folder
    bbox: Box | None = None
    mask: str = ""  # a file in the input folder, or none


def parse(
    text: str,
    *,
    least: int = 1,
    most: int = MOST,
    required: bool = True,
    audio_problem: Callable[[str], str | None] = lambda _: None,
    mask_problem: Callable[[str], str | None] = lambda _: None,
) -> tuple[list[Row], list[str]]:
    """The rows and every problem at once, each named by its row. Rows with a problem are left out.

    `audio_problem` and `mask_problem` look at a file: what is wrong with it, or None.
    """
    items, unreadable = rows.read(text, shape=SHAPE)
    if unreadable:
        return [], unreadable
    count = count_problem(len(items), least=least, most=most, required=required)
    problems = [count] if count else []
    found: dict[int, Row] = {}
    for number, item in enumerate(items, start=1):
        wrong = row_problems(item, audio_problem, mask_problem)
        problems += [f"row {number}: {problem}" for problem in wrong]
        if not wrong:
            found[number] = Row(item["audio"], box(item.get("bbox")), item.get("mask") or "")
    return list(found.values()), problems + overlaps(found)


def count_problem(count: int, *, least: int, most: int, required: bool) -> str | None:
    """No row at all is "not given" where the parameter is not required."""
    if most > MOST:
        return f"its limits allow too many: max_rows {most} is above {MOST}; {WHY_MOST}"
    if least > most:
        return f"its limits allow nothing: min_rows {least} is above max_rows {most}"
    if count > MOST:
        return f"{counted(count)}; at most {MOST}: {WHY_MOST}"
    if count > most:
        return f"{counted(count)}; at most {most}"
    if count < least and (count or required):
        return f"{counted(count)}; at least {least}"
    return None


def counted(count: int) -> str:
    return "1 speaker" if count == 1 else f"{count} speakers"


def row_problems(
    item: Any,
    audio_problem: Callable[[str], str | None],
    mask_problem: Callable[[str], str | None],
) -> list[str]:
    unfit = rows.shape_problems(item, keys=KEYS, shape=SHAPE)
    if not isinstance(item, dict):
        return unfit
    sound = item.get("audio")
    problems = [
        "no audio is chosen"
        if sound in (None, "")
        else file_problem("audio", sound, audio_problem),
        box_problem(item.get("bbox")),
        file_problem("mask", item.get("mask") or "", mask_problem),
    ]
    return unfit + [problem for problem in problems if problem]


def file_problem(name: str, value: Any, look: Callable[[str], str | None]) -> str | None:
    if not isinstance(value, str):
        return f"{name} {value!r} is not the name of a file"
    return look(value) if value else None


def box(value: Any) -> Box | None:
    """Of a cell without problems; an empty one is no box."""
    return tuple(float(number) for number in value) if value else None  # type: ignore[return-value]


def box_problem(value: Any) -> str | None:
    if value is None or value in ("", []):
        return None
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_length, value)):
        return f"bbox {value!r} is not [x, y, width, height]: four numbers of 0 or more"
    x, y, width, height = value
    if not (width and height):
        return f"bbox {value!r} has no area; width and height are above 0"
    if in_shares(value):
        for name, end in (("x + width", x + width), ("y + height", y + height)):
            if end > 1 + A_MILLIONTH:
                return f"bbox {value!r} leaves the picture: {name} is {show(end)} of it, at most 1"
    return None


def is_length(value: Any) -> bool:
    return is_number(value) and value >= 0


def in_shares(values: Sequence[float]) -> bool:
    return all(value <= 1 for value in values)


def overlaps(given: dict[int, Row]) -> list[str]:
    """Boxes of one unit that overlap, whatever the picture's size; a mask stands for its box."""
    boxes = {number: row.bbox for number, row in given.items() if row.bbox and not row.mask}
    if len(boxes) < 2:
        return []
    (first, one), (second, other) = list(boxes.items())[:2]
    shared = shared_part(one, other) if in_shares(one) == in_shares(other) else None
    return [f"the boxes of row {first} and row {second} overlap: {shared}"] if shared else []


def shared_part(one: Box, other: Box) -> str | None:
    """Where two boxes overlap, in words."""
    spans = [
        (max(one[axis], other[axis]), min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]))
        for axis in (0, 1)
    ]
    if any(end - start <= A_MILLIONTH for start, end in spans):
        return None
    return ", ".join(
        f"{name} {show(start)} to {show(end)}"
        for name, (start, end) in zip("xy", spans, strict=True)
    )


# --- sounds ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arranged:
    voices: tuple[torch.Tensor, ...]  # [1, 1, samples] each, at RATE
    starts: tuple[float, ...]  # seconds at which each voice begins
    soundtrack: Sound  # as it was, neither normalised nor cut
    seconds: float

    @property
    def frames(self) -> int:
        return video_frames(self.seconds)


def arrange(
    sounds: Sequence[Sound],
    *,
    mode: str,
    normalize: bool,
    max_duration: float = 0.0,  # seconds; 0: no limit
) -> Arranged:
    """One or two sounds: one after the other (add), or at the same time (para).

    The soundtrack has the highest of their rates and the most of their channels; sounds in `para`
    are made quieter only where their sum would clip. A ValueError says what is wrong.
    """
    check_sounds(sounds, mode)
    lengths = [Fraction(waveform.shape[-1], rate) for waveform, rate in sounds]
    total = max(lengths) if mode == PARA else sum(lengths)
    check_duration(lengths, total, mode=mode, max_duration=max_duration)
    starts = [Fraction(0)] * len(sounds) if mode == PARA else [Fraction(0), *lengths][: len(sounds)]
    return Arranged(
        voices=tuple(voice(sound, normalize=normalize) for sound in sounds),
        starts=tuple(map(float, starts)),
        soundtrack=together(sounds, mode=mode),
        seconds=float(total),
    )


def check_sounds(sounds: Sequence[Sound], mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"audio_mode: {mode!r} is not one of {', '.join(MODES)}")
    if not sounds:
        raise ValueError("speakers: none is given; one or two are needed")
    if len(sounds) > MOST:
        raise ValueError(f"speakers: {counted(len(sounds))}; at most {MOST}: {WHY_MOST}")
    for number, (waveform, _) in enumerate(sounds, start=1):
        if waveform.shape[-1] == 0:
            raise ValueError(f"speaker {number}: the sound is 0 seconds long")


def check_duration(
    lengths: Sequence[Fraction], total: Fraction, *, mode: str, max_duration: float
) -> None:
    if not max_duration or total <= max_duration + CODEC_DELAY:
        return
    each = " + ".join(f"{float(length):.4g}" for length in lengths)
    sums = f" ({each})" if mode == ADD and len(lengths) > 1 else ""
    raise ValueError(
        f"speakers: {said_seconds(float(total))} of sound{sums}; "
        f"at most {said_seconds(max_duration)}"
    )


def said_seconds(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    written = f"{seconds:.2f}".rstrip("0").rstrip(".")
    return f"{written} s" + (f" ({minutes} min {rest} s)" if minutes else "")


def voice(sound: Sound, *, normalize: bool) -> torch.Tensor:
    """[1, 1, samples] for the audio encoder: one channel at 16 kHz, at -23 LUFS if asked."""
    waveform, rate = sound
    mono = resampled(waveform[0].float().mean(dim=0, keepdim=True), rate=rate, wanted=RATE)
    return (loudness.normalised(mono, rate=RATE) if normalize else mono)[None]


def together(sounds: Sequence[Sound], *, mode: str) -> Sound:
    """Of one sound, itself; always as an mp4's AAC track takes it."""
    if len(sounds) == 1:
        waveform, rate = sounds[0]
        return for_track(waveform[0], rate=rate)
    rate = max(rate for _, rate in sounds)
    channels = min(2, max(waveform.shape[1] for waveform, _ in sounds))
    tracks = [
        resampled(of_channels(waveform[0].float(), channels), rate=own, wanted=rate)
        for waveform, own in sounds
    ]
    track = torch.cat(tracks, dim=-1) if mode == ADD else mixed(tracks)
    return for_track(track, rate=rate)


def for_track(sound: torch.Tensor, *, rate: int) -> Sound:
    """[channels, samples] as an mp4's AAC track takes it: untouched, wherever it can be."""
    if rate not in audio.TRACK_RATES:
        sound = resampled(sound, rate=rate, wanted=audio.FALLBACK_RATE)
        rate = audio.FALLBACK_RATE
    return audio.for_track(sound[None], rate=rate)


def of_channels(waveform: torch.Tensor, channels: int) -> torch.Tensor:
    """[any, samples] → [channels, samples]; a single one is heard in all."""
    if waveform.shape[0] == channels:
        return waveform
    return waveform.mean(dim=0, keepdim=True).expand(channels, -1)


def mixed(tracks: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum; the shorter one is silent behind its end."""
    longest = max(track.shape[-1] for track in tracks)
    both = sum(torch.nn.functional.pad(track, (0, longest - track.shape[-1])) for track in tracks)
    return both / max(PEAK, float(both.abs().max()))


def resampled(waveform: torch.Tensor, *, rate: int, wanted: int) -> torch.Tensor:
    """[channels, samples] at `wanted` Hz.

    By FFmpeg, piece by piece: torchaudio's filter needs gigabytes between odd rates, as 44101 Hz.
    """
    if rate == wanted:
        return waveform
    length = audio.samples_in(waveform.shape[-1] / rate, rate=wanted)
    channels = [resampled_channel(one.numpy(), rate=rate, wanted=wanted) for one in waveform]
    sound = torch.from_numpy(np.stack(channels))[:, :length]
    return torch.nn.functional.pad(sound, (0, length - sound.shape[-1]))


def resampled_channel(samples: np.ndarray, *, rate: int, wanted: int) -> np.ndarray:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=wanted)
    blocks = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(samples), RESAMPLED_AT_ONCE):
        part = np.ascontiguousarray(samples[None, start : start + RESAMPLED_AT_ONCE])
        frame = av.AudioFrame.from_ndarray(part, format="flt", layout="mono")
        frame.sample_rate, frame.pts = rate, start
        blocks += [block.to_ndarray()[0] for block in resampler.resample(frame)]
    blocks += [block.to_ndarray()[0] for block in resampler.resample(None)]
    return np.concatenate(blocks)
