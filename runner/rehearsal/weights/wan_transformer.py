# pyright: basic, reportMissingImports=false
"""A WAN 2.x text-to-video transformer that paints, in closed form.

Every sampling step it sees the same picture in the noise and asks for exactly that, so any number
of steps ends in a clean video. What it sees:

- self-attention averages the noise around each token, with a Gaussian that leans in time: smooth
  fields that drift. They use the invisible latent directions, which stay noise to the last step.
- cross-attention picks for every token the words whose layout direction the field points at, and
  takes their colour.
- the velocity is (x - picture) / sigma; the time embedding supplies 1 / sigma.

The high-noise expert decides the layout: it nudges the fields towards the words they show. The
low-noise expert leaves them as they are, and adds light.
"""

import json
import math
from collections.abc import Callable

import comfy.ops
import torch
from comfy.ldm.wan.model import WanModel, sinusoidal_embedding_1d

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import umt5, wan_colour
from runner.rehearsal.weights.wan_colour import LAYOUT

DIM = 128  # the least that ComfyUI gives a head (comfy/model_detection.py: num_heads = dim // 128)
_HEADS = 2  # two, by metadata: one looks back in time, one ahead
_HEAD = DIM // _HEADS
_PATCH = 4  # latent pixels in a token, 2 x 2

# What the channels of the residual stream hold.
_X = slice(0, 64)  # the noisy latent itself: 16 channels x 2 x 2 pixels
_FIELD = slice(64, 64 + LAYOUT)  # the averaged noise, about unit variance
_LIGHT = 72  # one more such field
_RGB = slice(73, 76)  # the picture, -1..1
_NUDGE = slice(76, 76 + LAYOUT)  # the picture's part in the invisible directions
_ONE = 84  # 1 x _BIG
_MINUS_ONE = 85  # its counterweight: a token's mean stays near 0
_ZERO = 86  # nothing: what a LayerNorm shows here is the mean it took off
_SLOW = 126  # of the time embedding only: 1 / sigma for the blocks
_FADE = 127  # of the time embedding only: 1 - sigma for the blocks

# So large that every LayerNorm divides by the same number, whatever the token holds.
_BIG = 256.0
_NORM = _BIG * (2 / DIM) ** 0.5  # that number

# The averaging Gaussian. Distances in tokens (16 pixels), times in latent frames (4 frames).
_REACH = 1.5
_MEMORY = 1.3
_LEAN = (1.6, 1.9, 0.7)  # (time, right, down): the heads look at minus and plus this
# RoPE pairs of one head: 12 for time, 10 for rows, 10 for columns. The ones used turn slowly enough
# to meet no side lobe within 60 latent frames and 100 tokens.
_AXES = ((0, 12, 3), (12, 10, 3), (22, 10, 3))  # (first pair, pairs, which one)


# How the two heads of the cross-attention choose words: one sharply, one for the mood.
_DIRECTION = (8.0, 3.0)  # softmax logit of a word whose direction the field points at
_PRESENCE = (5.0, 3.0)  # of a colour's name, against a plain word
_NOT_A_WORD = 40.0  # against each of the 512 places of a prompt that hold no word
_SHARE = (0.22, 0.08)  # of the picture's colour; cfg 3.5 makes it about 1
_COMPOSE = 0.1  # how much a word pulls the field its way, where it shows


def model() -> WanModel:
    return WanModel(
        model_type="t2v",
        in_dim=16,
        out_dim=16,
        dim=DIM,
        ffn_dim=DIM,
        freq_dim=256,
        text_dim=umt5.WIDTH,
        num_heads=_HEADS,
        num_layers=1,
        dtype=torch.float32,
        device="cpu",
        operations=comfy.ops.disable_weight_init,
    ).requires_grad_(False)


def build(*, composes: bool, lights: bool) -> Weights:
    """`composes`: settles the layout, as the high-noise expert; `lights`: as the low-noise one."""
    wan = model()
    for parameter in wan.parameters():
        parameter.zero_()
    _embed(wan)
    _embed_time(wan)
    _embed_text(wan)
    block = wan.blocks[0]
    _average_noise(block)
    _choose_colours(block, nudge=_COMPOSE if composes else 0.0)
    if lights:
        _add_light(block)
    _predict_velocity(wan)
    # Stock ComfyUI reads these (comfy/model_detection.py).
    config = {"transformer": {"text_dim": umt5.WIDTH, "num_heads": _HEADS}}
    return Weights(wan.state_dict(), {"config": json.dumps(config)}, {})


def _embed(wan: WanModel) -> None:
    conv = wan.patch_embedding
    for channel in range(16):
        for pixel in range(_PATCH):
            conv.weight[channel * _PATCH + pixel, channel, 0, pixel // 2, pixel % 2] = 1.0
    conv.bias[_ONE], conv.bias[_MINUS_ONE] = _BIG, -_BIG


def _read(weight: torch.Tensor, matrix: torch.Tensor) -> None:
    """Make `weight` (out, DIM) apply `matrix` (out, DIM) to what a LayerNorm was given."""
    matrix = matrix * _NORM
    # The norm took the mean off all channels; the one that held nothing tells how much.
    matrix[:, _ZERO] -= matrix.sum(dim=1)
    weight.copy_(matrix.float())


def _zeros(rows: int) -> torch.Tensor:
    return torch.zeros(rows, DIM, dtype=torch.float64)


def _embed_time(wan: WanModel) -> None:
    """Channels of the time embedding as functions of sigma, fitted with SiLU ramps."""
    first, _, second = wan.time_embedding
    knots = torch.logspace(math.log10(0.004), math.log10(1.05), DIM - 1, dtype=torch.float64)
    # The slowest of the sinusoids, sin(0.107 sigma), is as good as linear in sigma.
    slowest = 1000 * 10000 ** (-127 / 128)
    steep = 3 / knots
    first.weight[:-1, 255] = (steep / slowest).float()
    first.bias[:-1] = (-steep * knots).float()
    first.bias[-1] = 10.0  # a constant
    sigma = torch.logspace(math.log10(0.008), math.log10(1.05), 2000, dtype=torch.float64)
    times = sinusoidal_embedding_1d(256, 1000 * sigma.float())
    ramps = torch.nn.functional.silu(first(times)).double()

    def fit(function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        wanted = function(sigma)
        scale = wanted.abs().clamp(min=0.05)[:, None]  # what counts is the relative error
        ridge = 1e-6 * torch.eye(DIM, dtype=torch.float64)
        rows = torch.cat((ramps / scale, ridge))
        values = torch.cat((wanted[:, None] / scale, torch.zeros(DIM, 1, dtype=torch.float64)))
        return torch.linalg.lstsq(rows, values).solution[:, 0].float()

    second.weight[:_SLOW] = fit(lambda s: 1 / s - 1)
    second.weight[_SLOW] = fit(lambda s: 1 / s)
    second.weight[_FADE] = fit(lambda s: 1 - s)
    # A SiLU comes before the blocks' modulation: lifted by 10 it does no harm.
    second.bias[_SLOW] = second.bias[_FADE] = 10.0
    modulation = wan.time_projection[1]
    scale, gate = slice(DIM, 2 * DIM), slice(5 * DIM, 6 * DIM)
    modulation.weight[scale, _SLOW], modulation.bias[scale] = 1.0, -11.0  # 1 + scale = 1 / sigma
    modulation.weight[gate, _FADE], modulation.bias[gate] = 1.0, -10.0


def _embed_text(wan: WanModel) -> None:
    """The text embeddings, unchanged, in the first channels: gelu(x) - gelu(-x) = x."""
    first, _, second = wan.text_embedding
    identity = torch.eye(umt5.WIDTH)
    first.weight.copy_(torch.cat((identity, -identity)))
    second.weight[: umt5.WIDTH].copy_(torch.cat((identity, -identity), dim=1))


def _average_noise(block) -> None:
    attention = block.self_attn
    queries, keys = torch.zeros(2, DIM)
    for head, sign in enumerate((-1, 1)):
        for (start, pairs, used), lean, sigma in zip(
            _AXES, _LEAN, (_MEMORY, _REACH, _REACH), strict=True
        ):
            speed = 10000 ** (-used / pairs)  # radians per token or latent frame
            # exp(a cos(speed d)) is a Gaussian of that sigma around d = 0
            height = 1 / (sigma * speed) ** 2 * _HEAD**0.5
            angle = torch.tensor(sign * lean * speed)
            place = head * _HEAD + 2 * (start + used)
            queries[place], queries[place + 1] = height * angle.cos(), height * angle.sin()
            keys[place] = 1.0
    _constant(attention.q, attention.norm_q, queries)
    _constant(attention.k, attention.norm_k, keys)
    # Of a Gaussian average of unit noise; the two heads see nearly independent noise.
    deviation = (2 * (4 * math.pi * _REACH**2) * (2 * math.pi**0.5 * _MEMORY)) ** -0.5
    fields = torch.cat((wan_colour.layout_basis(), wan_colour.light_basis()), dim=1)
    matrix = _zeros(DIM)
    for head in range(_HEADS):
        rows = slice(head * _HEAD, head * _HEAD + LAYOUT + 1)
        matrix[rows, _X] = fields.T.repeat_interleave(_PATCH, dim=1) / _PATCH**0.5
        for field, channel in enumerate((*range(_FIELD.start, _FIELD.stop), _LIGHT)):
            attention.o.weight[channel, head * _HEAD + field] = 0.5 / deviation
    _read(attention.v.weight, matrix)
    block.modulation[0, 2] = 1.0


def _constant(linear, norm, values: torch.Tensor) -> None:
    """Queries or keys that are always `values`: attention by position alone."""
    linear.bias.copy_(values)
    norm.weight.fill_(values.square().mean().sqrt())


def _choose_colours(block, *, nudge: float) -> None:
    attention = block.cross_attn
    block.norm3.weight.fill_(1.0)
    query, key, value = _zeros(DIM), torch.zeros(DIM, umt5.WIDTH), torch.zeros(DIM, umt5.WIDTH)
    for head in range(_HEADS):
        start = head * _HEAD
        field, presence, is_word = slice(start, start + LAYOUT), start + LAYOUT, start + LAYOUT + 1
        query[field, _FIELD] = torch.eye(LAYOUT, dtype=torch.float64)
        query[presence, _ONE] = query[is_word, _ONE] = LAYOUT**0.5 / _BIG
        key[field, umt5.WORD_LAYOUT] = torch.eye(LAYOUT)
        key[presence, umt5.PRESENCE] = key[is_word, umt5.IS_WORD] = 1.0
        attention.k.bias[is_word] = -1.0  # padding has no word's 1: it counts against it
        attention.k.bias[is_word + 1 : start + _HEAD] = 4.0  # unused; makes all keys equally long
        logits = ((_DIRECTION[head], field), (_PRESENCE[head], presence), (_NOT_A_WORD, is_word))
        for logit, place in logits:
            # Attention divides by sqrt(_HEAD). The RMS norm spreads a length of sqrt(DIM) over
            # the three parts of the query in two heads, all equally long on average.
            attention.norm_q.weight[place] = logit * _HEAD**0.5 / (DIM / 6) ** 0.5
        value[start : start + 3, umt5.COLOUR] = torch.eye(3)
        value[start + 3 : start + 3 + LAYOUT, umt5.WORD_LAYOUT] = torch.eye(LAYOUT)
    _read(attention.q.weight, query)
    attention.k.weight[:, : umt5.WIDTH] = key
    attention.v.weight[:, : umt5.WIDTH] = value
    unused = _HEAD - LAYOUT - 2
    attention.norm_k.weight.fill_(4.0 * (_HEADS * unused / DIM) ** 0.5)
    for head in range(_HEADS):
        start = head * _HEAD
        attention.o.weight[_RGB, start : start + 3] = _SHARE[head] * torch.eye(3)
    attention.o.weight[_NUDGE, 3 : 3 + LAYOUT] = nudge * torch.eye(LAYOUT)


def _add_light(block) -> None:
    """Light and shade in slow patches, with a glint where it is brightest."""
    # gelu(a x + b) - gelu(a x - b') rises from 0 to b + b' and stays there
    slopes = torch.tensor([1.0, 1.0, 2.0, 2.0], dtype=torch.float64)
    matrix = _zeros(DIM)
    matrix[:4, _LIGHT] = slopes
    _read(block.ffn[0].weight, matrix)
    block.ffn[0].bias[:4] = torch.tensor([1.5, -1.5, -2.0, -4.0])
    block.ffn[2].weight[_RGB, :4] = torch.tensor([0.18, -0.18, 0.12, -0.12])
    block.ffn[2].bias[_RGB] = -0.18 * 1.5  # as much shade as light


def _predict_velocity(wan: WanModel) -> None:
    """(x - picture) / sigma."""
    matrix = _zeros(DIM)
    colour, layout = wan_colour.colour_basis(), wan_colour.layout_basis()
    for pixel in range(_PATCH):
        rows = slice(pixel * 16, pixel * 16 + 16)
        matrix[rows, pixel : _X.stop : _PATCH] = torch.eye(16, dtype=torch.float64)
        matrix[rows, _RGB] = -colour
        matrix[rows, _NUDGE] = -layout
        matrix[rows, _ONE] = colour @ wan_colour.bias() / _BIG
    _read(wan.head.head.weight, matrix[: wan.head.head.weight.shape[0]])
