"""How loud a sound is, in LUFS: ITU-R BS.1770-4, gated as EBU R128 asks. Pure."""

from __future__ import annotations

import math

import torch

TARGET = -23.0  # LUFS, EBU R128; what MultiTalk's audio encoder was fed in training
# BS.1770-4, annex 1.
OFFSET = -0.691  # dB; a 997 Hz sine at 0 dBFS in one channel then measures -3.01 LUFS
ABSOLUTE_GATE = -70.0  # LUFS; quieter blocks are silence
RELATIVE_GATE = -10.0  # LU below the mean of the others
BLOCK, HOP = 4, 1  # of 100 ms: blocks of 400 ms that overlap by 75 %
TENTH = 0.1  # seconds

# BS.1770 prints both filters for 48 kHz only. These are the analogue ones behind its numbers, as
# libebur128 has them (ebur128.c, ebur128_init_filter); at 48 kHz they give the printed numbers.
SHELF_HZ, SHELF_DB, SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
SHELF_BEND = 0.4996667741545416
PASS_HZ, PASS_Q = 38.13547087602444, 0.5003270373238773

SECTION = 30  # seconds filtered at a time
MEMORY = 1  # seconds after which the filters have forgotten what they heard

Biquad = tuple[tuple[float, float, float], tuple[float, float, float]]  # b and a


def normalised(sound: torch.Tensor, *, rate: int, target: float = TARGET) -> torch.Tensor:
    """[channels, samples] at `target` LUFS, or as near to it as its peak can go without clipping.

    Silence, with nothing above -70 LUFS in it, stays as it is.
    """
    loudness = integrated(sound, rate=rate)
    if loudness == -math.inf:
        return sound
    gain = 10 ** ((target - loudness) / 20)
    peak = float(sound.abs().max())
    return sound * min(gain, 1 / peak)


def integrated(sound: torch.Tensor, *, rate: int) -> float:
    """Of [channels, samples], one or two channels, in LUFS; -inf is silence.

    A sound of less than 400 ms is one block.
    """
    if sound.shape[0] not in (1, 2):
        raise ValueError(f"{sound.shape[0]} channels; loudness is measured of one or two")
    powers = block_powers(sound, rate=rate)
    heard = powers[powers > power_of(ABSOLUTE_GATE)]
    if not len(heard):
        return -math.inf
    gate = max(power_of(ABSOLUTE_GATE), float(heard.mean()) * 10 ** (RELATIVE_GATE / 10))
    return level_of(float(powers[powers > gate].mean()))


def block_powers(sound: torch.Tensor, *, rate: int) -> torch.Tensor:
    """[blocks]: the mean square of each, summed over the channels, after K-weighting."""
    samples = sound.shape[-1]
    squares = sum(weighted(channel, rate=rate).square() for channel in sound)
    so_far = torch.cat([torch.zeros(1, dtype=torch.float64), torch.cumsum(squares, dim=0)])
    # A tenth of a second need not be whole samples.
    tenths = int(samples / (rate * TENTH) + 1e-9)
    if tenths < BLOCK:
        return so_far[-1:] / max(samples, 1)
    edges = torch.tensor([round(i * rate * TENTH) for i in range(tenths + 1)])
    ends, starts = edges[BLOCK::HOP], edges[:-BLOCK:HOP]
    return (so_far[ends] - so_far[starts]) / (ends - starts)


def power_of(level: float) -> float:
    return 10 ** ((level - OFFSET) / 10)


def level_of(power: float) -> float:
    return OFFSET + 10 * math.log10(power)


def weighted(channel: torch.Tensor, *, rate: int) -> torch.Tensor:
    """[samples] through both filters, in doubles.

    In the frequency domain, section by section, each with what the filters still remember of the
    one before: a recursive filter in Python would take minutes.
    """
    step, before = SECTION * rate, MEMORY * rate
    sections = [torch.zeros(0, dtype=torch.float64)]
    for start in range(0, channel.shape[-1], step):
        first = max(0, start - before)
        part = channel[first : start + step].double()
        size = part.shape[-1] + before  # behind it, room for what still sounds
        spectrum = torch.fft.rfft(part, n=size)
        shaped = torch.fft.irfft(spectrum * response(size, rate=rate), n=size)
        sections.append(shaped[start - first : part.shape[-1]])
    return torch.cat(sections)


def response(size: int, *, rate: int) -> torch.Tensor:
    """Of both filters at the frequencies of an FFT of `size` samples."""
    turn = torch.exp(-2j * math.pi * torch.arange(size // 2 + 1, dtype=torch.float64) / size)
    both = torch.ones_like(turn)
    for b, a in (shelf(rate), high_pass(rate)):
        both *= (b[0] + turn * (b[1] + turn * b[2])) / (a[0] + turn * (a[1] + turn * a[2]))
    return both


def shelf(rate: int) -> Biquad:
    """The first filter: what a head does to high frequencies."""
    k = math.tan(math.pi * SHELF_HZ / rate)
    high = 10 ** (SHELF_DB / 20)
    bend = high**SHELF_BEND
    a0 = 1 + k / SHELF_Q + k * k
    b = (high + bend * k / SHELF_Q + k * k, 2 * (k * k - high), high - bend * k / SHELF_Q + k * k)
    a = (1.0, 2 * (k * k - 1) / a0, (1 - k / SHELF_Q + k * k) / a0)
    return (b[0] / a0, b[1] / a0, b[2] / a0), a


def high_pass(rate: int) -> Biquad:
    """The second filter. Its b is not divided by a0, in BS.1770 neither."""
    k = math.tan(math.pi * PASS_HZ / rate)
    a0 = 1 + k / PASS_Q + k * k
    return (1.0, -2.0, 1.0), (1.0, 2 * (k * k - 1) / a0, (1 - k / PASS_Q + k * k) / a0)
