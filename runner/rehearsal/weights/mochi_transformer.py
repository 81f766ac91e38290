# pyright: basic, reportMissingImports=false
"""A Mochi transformer (AsymmDiT) that paints, in closed form: the WAN stand-in's idea in two blocks.

Every sampling step it sees the same layout in the noise, so any number of steps ends in a clean
video:

- block 1: the picture's tokens average the noise around them with a Gaussian that leans in time,
  which makes smooth fields that drift. They use the invisible latent directions. The block's own
  norm gives all of them the same length, however much was averaged.
- block 2: every token picks the words whose direction its field points at, and takes their colour.
- the velocity is (x - picture) / sigma; the time embedding supplies 1 / sigma.

The less noise there is, the stronger the colours: the last step decides how strong they end, so steps
and scheduler show as well. What it does not show is what a prompt describes: a patch of red is all
there is of a red kite.
"""

import math
from collections.abc import Callable

import comfy.ops
import torch
from comfy.ldm.genmo.joint_model.asymm_models_joint import AsymmDiTJoint
from comfy.ldm.genmo.joint_model.layers import TimestepEmbedder

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import mochi_colour, mochi_t5
from runner.rehearsal.weights.mochi_colour import CHANNELS, LAYOUT

DIM = 64  # real: 3072
_TEXT_DIM = 32  # real: 1536
_HEADS = 2  # one looks back in time, one ahead
_HEAD = DIM // _HEADS
_SIZES = {
    "depth": 2,
    "num_heads": _HEADS,
    "hidden_size_x": DIM,
    "hidden_size_y": _TEXT_DIM,
    "mlp_ratio_x": 12288 / DIM,  # AsymmetricJointBlock takes no other width; this MLP holds zeros
    "t5_feat_dim": mochi_t5.WIDTH,
}
_PATCH = 4  # latent pixels in a token, 2 x 2

# What the channels of the residual stream hold.
_X = slice(0, CHANNELS * _PATCH)  # the noisy latent itself
_FIELD = slice(48, 48 + LAYOUT)  # the averaged noise
_LIGHT = 56  # one more such field
_RGB = slice(57, 60)  # the picture, -1..1
_REST = 60  # what a block adds so that its norm divides by a constant
_ONE = 61  # 1 x _BIG
_ZERO = 62  # nothing: what a LayerNorm shows here is the mean it took off
_FADE = 62  # of the time embedding only: how strong the colours are
_SLOW = 63  # of the time embedding only: 1 / sigma

# So large that every norm divides by the same number, whatever the token holds.
_BIG = 1000.0
_RMS = _BIG / DIM**0.5
_STD = _RMS * (1 - 1 / DIM) ** 0.5
_FIELD_LENGTH = (DIM * LAYOUT / (LAYOUT + 1)) ** 0.5  # of all directions together, without light

# The averaging Gaussian: latent frames (6 frames each), and widths of the picture / 192.
_REACH = (1.3, 22.0, 22.0)  # time, down, right
_LEAN = (1.6, 6.0, 16.0)  # the heads look at minus and plus this
# Positions are angles on circles of these circumferences, longer than any video or picture.
_CIRCLE = (70.0, 1100.0, 1100.0)

# What a head's 32 channels of queries and keys hold in the second block, behind three pairs of
# positions, which turn, and before constants.
_H_FIELD = slice(6, 6 + LAYOUT)
_H_PRESENCE, _H_WORD = 6 + LAYOUT, 7 + LAYOUT
_H_CONSTANT = slice(8 + LAYOUT, _HEAD)

# How the two heads choose words: one sharply, one for the mood.
_DIRECTION = (8.0, 3.0)  # softmax logit of a word whose direction the field points at
_PRESENCE = (5.0, 3.0)  # of a colour's name, against a plain word
_WORD = 40.0  # of any word, against the picture's tokens
_SHARE = (0.22, 0.08)  # of the picture's colour; guidance makes more of it
_LIGHT_SHARE = 0.05

_TEXT_ONE = mochi_t5.WIDTH  # 1 x _TEXT_BIG, behind the text encoder's features
_TEXT_BIG = 100.0
_TEXT_RMS = _TEXT_BIG / _TEXT_DIM**0.5

_OPEN = 20.0  # a gate: tanh(20) = 1


def build() -> Weights:
    dit = _model()
    for parameter in dit.parameters():
        parameter.zero_()
    _embed(dit)
    _embed_time(dit)
    _place(dit)
    _average_noise(dit.blocks[0])
    _choose_colours(dit.blocks[1])
    _predict_velocity(dit)
    return Weights(dit.state_dict(), {}, {"unet_config": _SIZES})


def _model() -> AsymmDiTJoint:
    return AsymmDiTJoint(
        **_SIZES,
        patch_size=2,
        in_channels=CHANNELS,
        learn_sigma=False,
        use_t5=True,
        timestep_scale=1000.0,
        qkv_bias=False,
        qk_norm=True,
        dtype=torch.float32,
        device="cpu",
        operations=comfy.ops.disable_weight_init,
    ).requires_grad_(False)


def _embed(dit: AsymmDiTJoint) -> None:
    conv = dit.x_embedder.proj
    for channel in range(CHANNELS):
        for pixel in range(_PATCH):
            conv.weight[channel * _PATCH + pixel, channel, pixel // 2, pixel % 2] = 1.0
    conv.bias[_ONE] = _BIG
    dit.t5_yproj.weight[:_TEXT_ONE] = torch.eye(mochi_t5.WIDTH)
    dit.t5_yproj.bias[_TEXT_ONE] = _TEXT_BIG


def _embed_time(dit: AsymmDiTJoint) -> None:
    """Channels of the time embedding as functions of sigma, fitted with SiLU ramps."""
    first, _, second = dit.t_embedder.mlp
    knots = torch.logspace(math.log10(0.004), math.log10(1.05), DIM - 1, dtype=torch.float64)
    # The slowest of the sinusoids, sin(0.107 (1 - sigma)), is as good as linear in sigma.
    slowest = 1000 * 10000 ** (-127 / 128)
    steep = 3 / knots
    first.weight[:-1, 255] = (-steep / slowest).float()
    first.bias[:-1] = (steep * (1 - knots)).float()
    first.bias[-1] = 10.0  # a constant
    sigma = torch.logspace(math.log10(0.008), math.log10(1.05), 2000, dtype=torch.float64)
    times = TimestepEmbedder.timestep_embedding(1000 * (1 - sigma.float()), 256)
    ramps = torch.nn.functional.silu(first(times)).double()

    def fit(function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        wanted = function(sigma)
        scale = wanted.abs().clamp(min=0.05)[:, None]  # what counts is the relative error
        ridge = 1e-6 * torch.eye(DIM, dtype=torch.float64)
        rows = torch.cat((ramps / scale, ridge))
        values = torch.cat((wanted[:, None] / scale, torch.zeros(DIM, 1, dtype=torch.float64)))
        return torch.linalg.lstsq(rows, values).solution[:, 0].float()

    second.weight[_SLOW] = fit(lambda s: 1 / s)
    second.weight[_FADE] = fit(lambda s: torch.atanh(0.9 - 0.45 * s))
    # Every use of it goes through a SiLU: lifted by 20 that does no harm.
    second.bias[_SLOW] = second.bias[_FADE] = 20.0


def _place(dit: AsymmDiTJoint) -> None:
    """Which way the rotation turns the pairs of a head: one for time, rows and columns each."""
    for axis, circle in enumerate(_CIRCLE):
        dit.pos_frequencies[axis, :, axis] = 2 * math.pi / circle


def _average_noise(block) -> None:
    attention = block.attn
    queries, keys = torch.zeros(_HEADS, _HEAD), torch.zeros(_HEADS, _HEAD)
    for head, sign in enumerate((-1, 1)):
        for axis, (reach, lean, circle) in enumerate(zip(_REACH, _LEAN, _CIRCLE, strict=True)):
            speed = 2 * math.pi / circle
            # exp(a cos(speed d)) is a Gaussian of that reach around d = 0
            height = 1 / (reach * speed) ** 2 * _HEAD**0.5
            angle = torch.tensor(sign * lean * speed)
            queries[head, 2 * axis] = height * angle.cos()
            queries[head, 2 * axis + 1] = height * angle.sin()
            keys[head, 2 * axis] = 1.0
    to_q, to_k, to_v = attention.qkv_x.weight.reshape(3, _HEADS, _HEAD, DIM)
    # Queries and keys that are always the same: attention by position alone. Words have no key.
    for weight, norm, constant in (
        (to_q, attention.q_norm_x, queries),
        (to_k, attention.k_norm_x, keys),
    ):
        weight[:, :, _ONE] = constant
        norm.weight.fill_(constant[0].square().mean().sqrt())
    strength = 1000.0  # lost in the block's norm, but for its epsilon
    fields = mochi_colour.invisible_basis().T.repeat_interleave(_PATCH, dim=1).float()
    to_v[:, : LAYOUT + 1, _X] = strength * fields
    for head in range(_HEADS):
        for field, channel in enumerate((*range(_FIELD.start, _FIELD.stop), _LIGHT)):
            attention.proj_x.weight[channel, head * _HEAD + field] = strength
    block.mod_x.bias[_gate_of_attention()] = _OPEN


def _gate_of_attention() -> slice:
    return slice(DIM, 2 * DIM)  # of (scale, gate) for the attention, then for the MLP


def _choose_colours(block) -> None:
    attention = block.attn
    query, _, _ = attention.qkv_x.weight.reshape(3, _HEADS, _HEAD, DIM)
    query[:, _H_FIELD, _FIELD] = torch.eye(LAYOUT) * _RMS / _FIELD_LENGTH
    query[:, [_H_PRESENCE, _H_WORD], _ONE] = _RMS / _BIG
    length = (3 / _HEAD) ** 0.5  # of a query
    # Both heads share the norm's weight: what differs between them is on the keys' side.
    for place in (_H_FIELD, _H_PRESENCE, _H_WORD):
        attention.q_norm_x.weight[place] = length * _HEAD**0.5

    _, key, value = attention.qkv_y.weight.reshape(3, _HEADS, _HEAD, _TEXT_DIM)
    constant = 100.0  # makes all keys equally long
    for head in range(_HEADS):
        key[head, _H_FIELD, mochi_t5.WORD_LAYOUT] = _DIRECTION[head] * torch.eye(LAYOUT)
        key[head, _H_PRESENCE, mochi_t5.PRESENCE] = _PRESENCE[head]
    key[:, _H_WORD, _TEXT_ONE] = _WORD / _TEXT_BIG
    key[:, _H_CONSTANT, _TEXT_ONE] = constant / _TEXT_BIG
    constants = _H_CONSTANT.stop - _H_CONSTANT.start
    attention.k_norm_y.weight.fill_(((constants * constant**2 + _WORD**2) / _HEAD) ** 0.5)
    value[:, :3, mochi_t5.COLOUR] = torch.eye(3) * _TEXT_RMS

    rest = 100.0  # what the block's norm divides by, times 8
    for head in range(_HEADS):
        start = head * _HEAD
        share = _SHARE[head] * rest / DIM**0.5
        attention.proj_x.weight[_RGB, start : start + 3] = share * torch.eye(3)
    attention.proj_x.bias[_REST] = rest
    gate = _gate_of_attention()
    block.mod_x.weight[gate, _FADE], block.mod_x.bias[gate] = 1.0, -20.0


def _predict_velocity(dit: AsymmDiTJoint) -> None:
    """(picture - x) / sigma; the model itself turns the sign."""
    head = dit.final_layer
    scale = slice(DIM, 2 * DIM)  # of (shift, scale)
    head.mod.weight[scale, _SLOW], head.mod.bias[scale] = 1.0, -21.0  # 1 + scale = 1 / sigma
    matrix = torch.zeros(_PATCH, CHANNELS, DIM, dtype=torch.float64)
    colour = mochi_colour.colour_basis()
    for pixel in range(_PATCH):
        matrix[pixel, :, pixel : _X.stop : _PATCH] = -torch.eye(CHANNELS, dtype=torch.float64)
    matrix[:, :, _RGB] = colour
    matrix[:, :, _LIGHT] = _LIGHT_SHARE * colour.sum(dim=1)
    matrix[:, :, _ONE] = -colour @ mochi_colour.bias() / _BIG
    matrix *= _STD
    # The norm took the mean off all channels; the one that held nothing tells how much.
    matrix[:, :, _ZERO] -= matrix.sum(dim=2)
    head.linear.weight.copy_(matrix.flatten(0, 1).float())
