"""Sounds made for tests, and what is heard in a file."""

import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np


@dataclass(frozen=True)
class Sound:
    samples: np.ndarray  # [channels, samples], -1..1
    rate: int  # Hz

    @property
    def loudness(self) -> float:
        return float(np.sqrt((self.samples**2).mean()))

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.rate


def speak(
    path: Path,
    *,
    seconds: float,
    rate: int = 44100,
    channels: int = 1,
    loudness: float = 0.6,
    pitch: float = 220,
) -> None:
    """A tone that rises and comes in syllables: no two moments of it are alike."""
    time = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * (pitch * time + 150 * time**2)) * np.abs(np.sin(9 * time))
    samples = (tone * loudness * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(np.repeat(samples, channels).tobytes())


def sound(path: str | Path) -> Sound:
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].sample_rate
        resampler = av.AudioResampler("fltp")
        frames = [r for f in container.decode(audio=0) for r in resampler.resample(f)]
    return Sound(np.concatenate([f.to_ndarray() for f in frames], axis=1), rate)


def ends(path: str) -> tuple[float, float]:
    """Seconds at which picture and sound end, by the container."""
    with av.open(path) as container:
        streams = (container.streams.video[0], container.streams.audio[0])
        both = [float(((s.start_time or 0) + s.duration) * s.time_base) for s in streams]
    return both[0], both[1]


def lag(source: Sound, heard: Sound) -> tuple[int, float]:
    """By how many samples a sound is late, and how alike the two are then (1: but for loudness)."""
    assert source.rate == heard.rate
    a, b = source.samples.mean(axis=0), heard.samples.mean(axis=0)
    size = 1 << (len(a) + len(b)).bit_length()
    product = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    late = int(product.argmax())
    return late - size * (late > size // 2), float(
        product.max() / (np.linalg.norm(a) * np.linalg.norm(b))
    )
