# pyright: basic, reportMissingImports=false
"""A Mochi VAE that is a smooth colour codec, in closed form. It decodes only.

Latents become RGB (see mochi_colour), which is interpolated linearly in space and in time (6x).
The transformer paints in tokens of 2 x 2 latent pixels: the one residual block first blurs their
edges, then looks around. At every latent pixel it gathers the 3 x 3 colours there, now and one
latent frame before. From then on each upsampling step, a matrix per pixel, cuts a cell into
smaller ones; a cell is known by the colours at its corners.

The residual block's group norms would even the picture out. So each colour shares its group with
+B, -B and 0: they make the norm divide by a constant, and the 0 tells what mean it took off.
"""

from typing import Any

import comfy.ldm.genmo.vae.model as genmo
import torch
from comfy.latent_formats import Mochi

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import mochi_colour

# Group norms have 32 groups: 128 channels are 4 a group. No group norm, no such limit.
_CHANNELS = (4, 16, 32, 128)  # full size, 1/2, 1/4, 1/8
_SIZES = {
    "decoder": {
        "base_channels": 1,
        "channel_multipliers": list(_CHANNELS),
        "num_res_blocks": [0, 0, 0, 0, 1],
    },
    # Smaller it cannot be (and no step may keep the number of channels); all zero.
    "encoder": {
        "base_channels": 32,
        "channel_multipliers": [1, 2, 1, 2],
        "num_res_blocks": [0, 0, 0, 0, 0],
    },
}
_GROUP = 4
_B = 100.0
_LINEAR = 20.0  # silu(20 + x) = 20 + x for all that matters

# Of a signal along one axis: the corners of each half of a cell, as rows over what is known of it.
_HALVE_NEIGHBOURS = torch.tensor(  # [half, corner, (left, centre, right)]
    [[[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]]]
)
_HALVE_CORNERS = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5], [0.0, 1.0]]])
_PIXELS = torch.tensor([[[0.75, 0.25]], [[0.25, 0.75]]])  # a pixel is the middle of its half
_COLOURS = torch.eye(3)
_BLUR = torch.tensor([0.25, 0.5, 0.25])  # of a doubled signal makes a linear one


def build() -> Weights:
    vae = _model().requires_grad_(False)
    for parameter in vae.parameters():
        parameter.zero_()
    decoder = vae.decoder
    first, look_around = decoder.blocks[0]
    _latents_to_rgb(first)
    _gather(look_around.stack)
    _interpolate(decoder.blocks[1].proj, _HALVE_NEIGHBOURS, _times(3), known_from=3 * _GROUP)
    _interpolate(decoder.blocks[2].proj, _HALVE_CORNERS, _times(2)[:, :1])
    _interpolate(decoder.blocks[3].proj, _PIXELS, torch.ones(1, 1, 1))
    _rgb_to_pixels(decoder)
    return Weights(
        # ComfyUI knows a Mochi VAE by this tensor (comfy/sd.py); loading drops it.
        {**vae.state_dict(), "decoder.blocks.2.blocks.3.stack.5.weight": torch.zeros(1)},
        {},
        {"mochi_vae": _SIZES},
    )


def _model() -> genmo.VideoVAE:
    """VideoVAE takes no arguments: its parts are swapped for smaller ones while it is built."""
    encoder, decoder = genmo.Encoder, genmo.Decoder
    genmo.Encoder = lambda **real: encoder(**{**real, **_SIZES["encoder"]})
    genmo.Decoder = lambda **real: decoder(**{**real, **_SIZES["decoder"]})
    try:
        return genmo.VideoVAE()
    finally:
        genmo.Encoder, genmo.Decoder = encoder, decoder


def _latents_to_rgb(conv) -> None:
    """VAE latents -> groups of (colour, B, -B, 0)."""
    scaling = Mochi()
    mean, std = scaling.latents_mean.flatten().double(), scaling.latents_std.flatten().double()
    to_rgb = mochi_colour.factors() / std[:, None]
    offset = mochi_colour.bias() - mean @ to_rgb
    for colour in range(3):
        conv.weight[colour * _GROUP, :, 0, 0, 0] = to_rgb[:, colour].float()
        conv.bias[colour * _GROUP] = offset[colour].float()
    _keep_groups(conv)


def _keep_groups(conv) -> None:
    for colour in range(3):
        conv.bias[colour * _GROUP + 1], conv.bias[colour * _GROUP + 2] = _B, -_B


def _gather(stack) -> None:
    """Channels [time (now, before), row, column, colour] behind the groups."""
    for norm in (stack[0], stack[3]):
        norm.weight.fill_(_B / 2**0.5)  # what it divides by
        norm.bias.fill_(_LINEAR)  # what follows is a SiLU
    blur = _BLUR[:, None] * _BLUR
    for colour in range(3):
        _read(stack[2], colour * _GROUP, colour, (2, ...), blur)
    _keep_groups(stack[2])
    channels = torch.arange(2 * 3 * 3 * 3).reshape(2, 3, 3, 3) + 3 * _GROUP
    for before in range(2):
        for row in range(3):
            for column in range(3):
                for colour in range(3):
                    channel = int(channels[before, row, column, colour])
                    _read(stack[5], channel, colour, (2 - before, row, column), 1.0)


def _read(conv, channel: int, colour: int, taps: tuple[Any, ...], weight: Any) -> None:
    """Write the colour, less what the norm took off, at these taps (time, row, column)."""
    conv.weight[channel, colour * _GROUP][taps] = weight
    conv.weight[channel, colour * _GROUP + 3][taps] = -weight


def _times(expansion: int) -> torch.Tensor:
    """[step, (now, before), (now, before)]: linear, from the frame before to this one."""
    later = (torch.arange(expansion) + 1) / expansion
    earlier = torch.arange(expansion) / expansion
    return torch.stack([torch.stack([t, 1 - t], dim=-1) for t in (later, earlier)], dim=1)


def _interpolate(proj, halves: torch.Tensor, times: torch.Tensor, *, known_from: int = 0) -> None:
    """Set `proj`: channels [time, row, column, colour] -> the same for every smaller cell.

    Its outputs are ordered (channel, time step, row, column), as DepthToSpaceTime wants them.
    """
    matrix = torch.einsum("stT,ykY,xlX,cC->tklcsyxTYXC", times, halves, halves, _COLOURS)
    steps, kept = matrix.shape[4:7].numel(), matrix.shape[:4].numel()
    rows, known = kept * steps, matrix.shape[7:].numel()
    proj.weight[:rows, known_from : known_from + known] = matrix.reshape(rows, known)


def _rgb_to_pixels(decoder) -> None:
    decoder.blocks[3].proj.bias.fill_(_LINEAR)
    decoder.output_proj.weight[:, :3] = _COLOURS
    decoder.output_proj.bias.fill_(-_LINEAR)
