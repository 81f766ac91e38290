# pyright: basic, reportMissingImports=false
"""How the stand-in WAN latents hold a picture: ComfyUI's own preview formula, taken at its word.

ComfyUI shows WAN latents while it samples as `rgb = z @ factors + bias` (comfy/latent_formats.py,
Wan21). The stand-in VAE decodes by that very formula, so the live preview is right, too. The
remaining 13 of 16 latent directions are invisible; the sampler's noise in them lays out the
picture.
"""

import torch
from comfy.latent_formats import Wan21

LAYOUT = 8  # invisible latent directions used


def factors() -> torch.Tensor:
    """(16, 3): latent -> RGB in [-1, 1]."""
    return torch.tensor(Wan21.latent_rgb_factors, dtype=torch.float64)


def bias() -> torch.Tensor:
    """(3,): the RGB of a zero latent."""
    return torch.tensor(Wan21.latent_rgb_factors_bias, dtype=torch.float64)


def colour_basis() -> torch.Tensor:
    """(16, 3): the smallest latent that shows a given RGB, less the bias."""
    return torch.linalg.pinv(factors()).T


def layout_basis() -> torch.Tensor:
    """(16, LAYOUT): orthonormal directions that show nothing."""
    return _invisible()[:, :LAYOUT]


def light_basis() -> torch.Tensor:
    """(16, 1): one more."""
    return _invisible()[:, LAYOUT : LAYOUT + 1]


def _invisible() -> torch.Tensor:
    # QR of a square matrix that starts with the factors: the later columns are orthogonal to them.
    q, _ = torch.linalg.qr(torch.cat((factors(), torch.eye(16, 13, dtype=torch.float64)), dim=1))
    return q[:, 3:]
