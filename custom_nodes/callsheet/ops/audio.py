"""Sound cut and fitted to a video's frames. [batch, channels, samples]. Pure."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
import torchaudio

from . import frames
from .limits import show

ENCODER_RATE = 44100  # Hz, at which LTX-2's audio VAE is fed
# ComfyUI cuts what does not fill whole blocks off, half of it at the start: lips and sound part.
ENCODER_BLOCK = 4096  # samples
# What an AAC track can have; CreateVideo writes no other.
TRACK_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000,
               7350)  # fmt: skip
TRACK_CHANNELS = (1, 2, 6)
FALLBACK_RATE = 48000
FINEST = 3000  # largest denominator of a ratio of rates


def trim(
    waveform: torch.Tensor,
    *,
    rate: int,
    start: float,  # seconds
    duration: float,  # seconds; 0: to the end
) -> torch.Tensor:
    """The part from `start`; shorter than `duration` where the sound ends before. Not copied."""
    there = waveform.shape[-1]
    if there == 0:
        raise ValueError("audio: it has no samples; a sound of at least one is needed")
    if not (math.isfinite(start) and start >= 0):
        raise ValueError(f"start: {show(start)} s is not 0 or more")
    if not (math.isfinite(duration) and duration >= 0):
        raise ValueError(f"duration: {show(duration)} s is not 0 or more; 0 takes all")
    first = samples_in(start, rate=rate)
    if first >= there:
        raise ValueError(
            f"start: {show(start)} s is beyond the end of the sound, {show(there / rate)} s long"
        )
    count = max(1, samples_in(duration, rate=rate)) if duration else there
    return waveform[..., first : first + count]


def frames_for(waveform: torch.Tensor, *, rate: int, fps: float) -> int:
    """Frames that LTX has to generate for the sound: 8k+1."""
    duration = waveform.shape[-1] / rate
    return frames.frame_counts(duration=duration, fps=fps, rule="8k+1")[0]


def for_encoder(
    waveform: torch.Tensor,
    *,
    rate: int,
    video_frames: int,
    fps: float,
) -> torch.Tensor:
    """At 44.1 kHz in whole blocks, silent behind its end: no sample is lost, no frame is mute."""
    samples = encoder_samples(video_frames=video_frames, fps=fps)
    heard = waveform if waveform.shape[1] <= 2 else mixed(waveform)
    if rate != ENCODER_RATE:
        heard = resampled(heard, rate=rate, to=ENCODER_RATE)
    heard = heard[..., :samples]
    return torch.nn.functional.pad(heard, (0, samples - heard.shape[-1]))


def encoder_samples(*, video_frames: int, fps: float) -> int:
    """The whole blocks that cover so many frames."""
    if video_frames < 1:
        raise ValueError(f"frames: {video_frames} is below 1")
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps: {fps} is not above 0")
    # In fractions: 4096 · n samples exactly must not become n + 1 blocks by a rounding error.
    return math.ceil(Fraction(video_frames) / Fraction(fps) * ENCODER_RATE / ENCODER_BLOCK) * (
        ENCODER_BLOCK
    )


def for_track(waveform: torch.Tensor, *, rate: int) -> tuple[torch.Tensor, int]:
    """(sound, Hz) as an mp4's AAC track takes it: untouched, wherever it can be."""
    if waveform.shape[1] not in TRACK_CHANNELS:
        waveform = mixed(waveform)
    if rate in TRACK_RATES:
        return waveform, rate
    return resampled(waveform, rate=rate, to=FALLBACK_RATE), FALLBACK_RATE


def resampled(waveform: torch.Tensor, *, rate: int, to: int) -> torch.Tensor:
    """At `to` Hz, by the nearest ratio of small numbers.

    Between rates that share no divisor, such as 44099 and 44100, the filters alone would take
    gigabytes. Usual rates are met exactly, others to 10 ms in a minute.
    """
    up = Fraction(to, rate)
    slower = min(up, 1 / up).limit_denominator(FINEST) or Fraction(1, round(max(up, 1 / up)))
    before, after = slower.numerator, slower.denominator
    if up < 1:
        before, after = after, before
    return torchaudio.functional.resample(waveform, before, after)


def mixed(waveform: torch.Tensor) -> torch.Tensor:
    """One channel. The first two of six would lack the voice: it is in the middle one."""
    return waveform.mean(dim=1, keepdim=True)


def samples_in(duration: float, *, rate: int) -> int:
    return math.floor(duration * rate + 0.5)
