# pyright: basic, reportMissingImports=false
"""What the 128 channels of a stand-in LTX-2 latent hold.

A latent cell is 32 x 32 pixels. It has room for brightness at every 4 pixels and for colour at every
8, each in -1..1. The order of these parts is that in which the VAE's layers take cells apart: the
place within 8 pixels first, then within 16, then within 32, each row by row. Of their four finest
places, the latent holds one coarse sum and three details: what is fine can be left out of a noisy
picture.

A sound latent is 8 channels x 16 bands, 25 a second: two channels of loudness (left and right), the
rest is silent. What is noise there until the last step decides how a generated sound goes.
"""

import torch

CHANNELS = 128
LUMA = slice(0, 64)
CHROMA = (slice(64, 80), slice(80, 96))  # B - Y and R - Y, scaled
PICTURE = 96  # channels that show; the rest do not
COARSE = tuple(slice(s.start, s.start + (s.stop - s.start) // 4) for s in (LUMA, *CHROMA))

BANDS = 16
LEFT, RIGHT = slice(0, BANDS), slice(BANDS, 2 * BANDS)
LOW_NOISE, HIGH_NOISE = slice(2 * BANDS, 3 * BANDS), slice(3 * BANDS, 4 * BANDS)

# A latent of sound is (log mel above silence - mean) / deviation.
SILENCE = -11.5  # log mel: ComfyUI clamps at 1e-5
MEAN, DEVIATION = 5.0, 3.0

_LUMA = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)


def basis() -> torch.Tensor:
    """(PICTURE, PICTURE): parts of a cell -> latent. Orthogonal: noise stays what it is."""
    signs = torch.tensor([[1.0, 1], [1, -1]])
    details = torch.kron(signs, signs) / 2
    planes = [(s.stop - s.start) // 4 for s in (LUMA, *CHROMA)]
    return torch.block_diag(*(torch.kron(details, torch.eye(size)) for size in planes))


def flat(channels: slice) -> torch.Tensor:
    """(PICTURE,): the latent that is 1 everywhere in one plane."""
    parts = torch.zeros(PICTURE)
    parts[channels] = 1.0
    return basis() @ parts


def from_rgb() -> torch.Tensor:
    """(3, 3): R, G, B in -1..1 -> Y, B - Y, R - Y."""
    red, _, blue = torch.eye(3, dtype=torch.float64)
    return torch.stack((_LUMA, 0.56 * (blue - _LUMA), 0.71 * (red - _LUMA)))


def to_rgb() -> torch.Tensor:
    return torch.linalg.inv(from_rgb())
