# pyright: basic, reportMissingImports=false
"""How the stand-in Mochi latents hold a picture: ComfyUI's own preview formula, taken at its word.

As wan_colour does it for WAN. `rgb = z @ factors + bias` (comfy/latent_formats.py, Mochi) leaves 9 of
12 latent directions invisible; the sampler's noise in them lays out the picture.
"""

import torch
from comfy.latent_formats import Mochi

CHANNELS = 12
LAYOUT = 8  # invisible latent directions used to place words; one more is light


def factors() -> torch.Tensor:
    """(12, 3): latent -> RGB in [-1, 1]."""
    return torch.tensor(Mochi().latent_rgb_factors, dtype=torch.float64)


def bias() -> torch.Tensor:
    """(3,): the RGB of a zero latent."""
    return torch.tensor(Mochi().latent_rgb_factors_bias, dtype=torch.float64)


def colour_basis() -> torch.Tensor:
    """(12, 3): the smallest latent that shows a given RGB, less the bias."""
    return torch.linalg.pinv(factors()).T


def invisible_basis() -> torch.Tensor:
    """(12, LAYOUT + 1): orthonormal directions that show nothing; the last is light."""
    # QR of a square matrix that starts with the factors: the later columns are orthogonal to them.
    rest = torch.eye(CHANNELS, CHANNELS - 3, dtype=torch.float64)
    q, _ = torch.linalg.qr(torch.cat((factors(), rest), dim=1))
    return q[:, 3:]
