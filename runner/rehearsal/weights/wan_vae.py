# pyright: basic, reportMissingImports=false
"""A WAN 2.1 VAE that is a smooth colour codec, in closed form.

Decoding is linear but for the last layer: latents become RGB (see wan_colour), which is
interpolated linearly in space (8x) and in time (4x). To interpolate in time, the feature maps
carry two moments, now and the latent frame before. Beside each RGB stands a constant 1: zero
padding darkens both alike at the picture's border, and the RMS norm of the head divides it out.
Encoding takes the mean colour of every 8 x 8 pixels x 4 frames.
"""

import torch
from comfy.latent_formats import Wan21
from comfy.ldm.wan.vae import WanVAE

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import wan_colour

# The narrowest that carries r, g, b and 1 to the last layer (real: 96).
DIM = 4

# What the head's norm divides by: large, so that it is the same for every colour.
_SCALE = 200.0
# Where the head's SiLU is nearly the identity: silu(8 + x) = 8 + x within 0.01 for x in [-2, 2].
_LINEAR = 8.0

_NOW, _BEFORE = slice(0, 4), slice(4, 8)


def build() -> Weights:
    vae = WanVAE(
        dim=DIM,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
    ).requires_grad_(False)
    # With zero weights every residual block and the attention pass their input on unchanged.
    for name, parameter in vae.named_parameters():
        parameter.fill_(1.0 if name.endswith("gamma") else 0.0)
    _encode(vae)
    _decode(vae)
    return Weights(vae.state_dict(), {}, {})


def _encode(vae: WanVAE) -> None:
    encoder = vae.encoder
    encoder.conv1.weight[range(3), range(3), -1, 1, 1] = 1.0
    encoder.conv1.bias.copy_(torch.tensor([_LINEAR] * 3 + [_SCALE]))
    for layer in encoder.downsamples:
        if hasattr(layer, "resample"):
            layer.resample[1].weight[_NOW, _NOW, :2, :2] = torch.eye(4)[:, :, None, None] / 4
        if hasattr(layer, "time_conv"):
            layer.time_conv.weight[_NOW, _NOW, 1:, 0, 0] = torch.eye(4)[:, :, None] / 2
        _keep(layer)
    _rgb_out(encoder.head)
    _rgb_to_latents(vae.conv1)


def _decode(vae: WanVAE) -> None:
    decoder = vae.decoder
    _latents_to_rgb(vae.conv2)
    decoder.conv1.weight[_NOW, _NOW, 2] = _channels(_blur())
    decoder.conv1.weight[_BEFORE, _NOW, 1] = _channels(_blur())
    for layer in decoder.upsamples:
        if hasattr(layer, "time_conv"):
            _double_time(layer.time_conv)
        if hasattr(layer, "resample"):
            _double_space(layer.resample[1])
        _keep(layer)
    _rgb_out(decoder.head)


def _keep(layer) -> None:
    """Where a residual block changes the number of channels, it keeps those that go on."""
    if isinstance(shortcut := getattr(layer, "shortcut", None), torch.nn.Conv3d):
        kept = range(min(shortcut.weight.shape[:2]))
        shortcut.weight[kept, kept] = 1.0


def _scaling() -> tuple[torch.Tensor, torch.Tensor]:
    """(16,) mean and deviation: the VAE's latents are those of the sampler, scaled by Wan21."""
    scaling = Wan21()
    return scaling.latents_mean.flatten().double(), scaling.latents_std.flatten().double()


def _rgb_to_latents(conv) -> None:
    mean, std = _scaling()
    from_rgb = wan_colour.colour_basis() * std[:, None]
    conv.weight[:16, :3, 0, 0, 0] = from_rgb.float()
    conv.bias[:16] = (mean - from_rgb @ wan_colour.bias()).float()


def _latents_to_rgb(conv) -> None:
    """VAE latents -> r, g, b and 1."""
    mean, std = _scaling()
    to_rgb = wan_colour.factors() / std[:, None]
    conv.weight[:3, :, 0, 0, 0] = to_rgb.T.float()
    conv.bias[:3] = (wan_colour.bias() - mean @ to_rgb).float()
    conv.bias[3] = 1.0


def _double_time(conv) -> None:
    """(now, before) at t -> the same at t - 1/2 and at t."""
    size = conv.weight.shape[1]
    earlier, later = conv.weight[:size, :, -1, 0, 0], conv.weight[size:, :, -1, 0, 0]
    one, half = torch.eye(4), torch.eye(4) / 2
    earlier[_NOW, _NOW], earlier[_NOW, _BEFORE] = half, half
    earlier[_BEFORE, _BEFORE] = one
    later[_NOW, _NOW] = one
    later[_BEFORE, _NOW], later[_BEFORE, _BEFORE] = half, half


def _double_space(conv) -> None:
    """The blur that follows a nearest-neighbour doubling; the last one also readies the head."""
    moments = (_NOW, _BEFORE)[: conv.weight.shape[0] // 4]
    for moment in moments:
        conv.weight[moment, moment] = _channels(_blur())
    if len(moments) == 1:
        conv.weight[:3, 3] = _LINEAR * _blur()
        conv.weight[3, 3] = _SCALE * _blur()


def _rgb_out(head) -> None:
    """The head's norm, SiLU and convolution: r + 8, g + 8, b + 8, 200 -> r, g, b."""
    norm, silu, conv = head
    # Exact for mid-grey, and for other colours within a quarter of a percent.
    norm.gamma.fill_((_SCALE**2 + 3 * _LINEAR**2) ** 0.5 / norm.scale)
    conv.weight[range(3), range(3), -1, 1, 1] = 1.0
    conv.bias[:3] = -silu(torch.tensor(_LINEAR))


def _blur() -> torch.Tensor:
    """(3, 3): after a nearest-neighbour doubling this makes linear interpolation."""
    line = torch.tensor([0.25, 0.5, 0.25])
    return line[:, None] * line


def _channels(kernel: torch.Tensor) -> torch.Tensor:
    """(4, 4, 3, 3): the kernel for r, g, b and 1, each by itself."""
    return torch.eye(4)[:, :, None, None] * kernel
