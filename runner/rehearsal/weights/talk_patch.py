# pyright: basic, reportMissingImports=false
"""An InfiniteTalk model patch that turns loudness into light, in closed form.

The first block of 40 does it, as the stand-in transformer has one. For two speakers the genuine
attention decides by position: a token of the first one stands at 0 to 4, the first voice at 2; the
second one at 20 to 24, and the second voice at 22 (comfy/ldm/wan/model_multitalk.py).
"""

import comfy.ops
import torch
from comfy_extras.nodes_model_patch import MultiTalkModelPatch

from runner.rehearsal.family import Weights
from runner.rehearsal.weights.talk_layout import (
    DIM,
    GLOW,
    LOUDNESS,
    VOICE,
    VOICE_WIDTH,
)  # fmt: skip

_HIDDEN = 4  # real: 512
_LAYERS, _CHANNELS = 12, 768  # of the audio encoder
_HEADS, _HEAD = 40, DIM // 40
_PAIR = 1  # turns by 0.1 for each position: 2 apart is near, 20 apart is far
_SHARP = 24.0 * _HEAD**0.5  # softmax logit between the two, nearly; the sqrt is attention's own
_STEADY = 8.0  # of an audio token: its LayerNorm hardly sees the loudness
_LIGHT = (0.55, 0.4, 0.15)  # red, green and blue of a voice at its average loudness
_MULTI = 1.15  # the file for two speakers is a little brighter than the one for one


def build(name: str) -> Weights:
    patch = MultiTalkModelPatch(
        audio_window=5,
        context_tokens=32,
        vae_scale=4,
        in_dim=DIM,
        intermediate_dim=_HIDDEN,
        out_dim=VOICE_WIDTH,
        device="cpu",
        operations=comfy.ops.disable_weight_init,
    ).requires_grad_(False)
    for parameter in patch.parameters():
        parameter.zero_()
    _listen(patch.audio_proj)
    _shine(patch.blocks[0], brightness=_MULTI if "multi" in name.lower() else 1.0)
    tensors = {key: tensor.half() for key, tensor in patch.state_dict().items()}
    return Weights(tensors, {}, {})


def _listen(projection) -> None:
    """The mean loudness of the frames around, as the same channel of every token."""
    for first in (projection.proj1, projection.proj1_vf):
        moments = first.weight.shape[1] // (_LAYERS * _CHANNELS)
        first.weight[0, LOUDNESS :: _LAYERS * _CHANNELS] = 1 / moments
    projection.proj2.weight[0, 0] = 1.0
    tokens = projection.proj3.weight.view(-1, VOICE_WIDTH, _HIDDEN)
    steady = projection.proj3.bias.view(-1, VOICE_WIDTH)
    tokens[:, VOICE, 0], tokens[:, VOICE + 1, 0] = 1.0, -1.0
    steady[:, VOICE + 2], steady[:, VOICE + 3] = _STEADY, -_STEADY
    # With this weight the norm gives back what it was given.
    projection.norm.weight.fill_(_STEADY * (2 / VOICE_WIDTH) ** 0.5)


def _shine(block, *, brightness: float) -> None:
    attention = block.audio_cross_attn
    block.norm_x.weight.fill_(1.0)
    places = torch.arange(_HEADS) * _HEAD + 2 * _PAIR
    attention.q_linear.bias[places] = _SHARP
    attention.kv_linear.bias[places] = 1.0  # keys first, then values
    attention.kv_linear.weight[DIM, VOICE] = 1.0
    attention.proj.weight[GLOW, 0] = brightness * torch.tensor(_LIGHT)
