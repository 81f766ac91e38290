# pyright: basic, reportMissingImports=false
"""A latent upsampler for LTX-2 that doubles the picture, in closed form: every part becomes four.

Each of the 32 groups of the first GroupNorm holds three latent channels, their sum's negative and a
large constant of either sign. So a group's mean is 0 and its deviation the same for every picture,
and every SiLU sees numbers so small that it halves them.
"""

import json

import comfy.ops
from comfy.ldm.lightricks.latent_upsampler import LatentUpsampler

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import ltx2_layout as layout

_GROUPS = 32  # fixed in ComfyUI
_GROUP = 6  # channels
_CARRIED = layout.PICTURE // _GROUPS  # of a group's channels, those that carry the picture
_CONSTANT = 1000.0
_SILUS = 3

_CONFIG = {
    "_class_name": "LatentUpsampler",
    "in_channels": layout.CHANNELS,
    "mid_channels": _GROUPS * _GROUP,  # real: 512
    "num_blocks_per_stage": 1,  # real: 4
    "dims": 2,  # real: 3
    "spatial_upsample": True,
    "temporal_upsample": False,
}


def build() -> Weights:
    model = LatentUpsampler.from_config(
        _CONFIG, operations=comfy.ops.disable_weight_init
    ).requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    places = [_GROUP * (c // _CARRIED) + c % _CARRIED for c in range(layout.PICTURE)]
    first, last, basis = model.initial_conv, model.final_conv, layout.basis()
    first.weight[places, : layout.PICTURE, 1, 1] = basis.T
    for group in range(_GROUPS):
        carried = slice(_CARRIED * group, _CARRIED * (group + 1))
        balance = _GROUP * group + _CARRIED
        first.weight[balance, : layout.PICTURE, 1, 1] = -basis.T[carried].sum(dim=0)
    first.bias[4::_GROUP], first.bias[5::_GROUP] = _CONSTANT, -_CONSTANT
    for channel, place in enumerate(places):
        for part in range(4):
            source = places[_before(channel, part)]
            model.upsampler[0].weight[4 * place + part, source, 1, 1] = 1.0
    deviation = _CONSTANT * (2 / _GROUP) ** 0.5
    last.weight[: layout.PICTURE, places, 1, 1] = basis * deviation * 2**_SILUS
    return Weights(model.state_dict(), {"config": json.dumps(_CONFIG)}, {})


def _before(channel: int, quarter: int) -> int:
    """The channel of the smaller picture that a channel shows in one quarter of its cell."""
    digits = []  # the channel's places, each 0..3, in the order of ltx2_layout
    count = 3 if channel < layout.LUMA.stop else 2
    start = channel - channel % 4**count
    for _ in range(count):
        channel, digit = divmod(channel, 4)
        digits.append(digit)
    # Twice as large: its finest place is no longer seen, the others each move one finer.
    finer = [quarter, *digits[: count - 1]]
    return start + sum(digit * 4**power for power, digit in enumerate(finer))
