# pyright: basic, reportMissingImports=false
"""A WAN 2.1 image-to-video transformer that holds the given picture, in closed form.

Every sampling step it asks for the same picture, so any number of steps ends in a clean video:

- self-attention looks, from any place and time, at the same place of the frame that is given (the
  mask channels say which one that is) and takes its latent. This is also how MultiTalk finds out
  which speaker a token belongs to.
- the audio attention of the model patch adds light where and while somebody speaks.
- cross-attention adds a tint of the prompt's colours, and a smaller one of what CLIP vision saw; the
  second head of self-attention one of the noise's mean, which the seed decides.
- the velocity is (x - picture) / sigma; the time embedding supplies 1 / sigma.
"""

import json
import math

import comfy.ops
import torch
from comfy.ldm.wan.model import WanModel, sinusoidal_embedding_1d

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import umt5, wan_colour
from runner.rehearsal.weights.talk_layout import (
    BIG,
    DIM,
    GIVEN,
    GLOW,
    HEADS,
    KNOWN,
    LATENT,
    MINUS_ONE,
    NOISY,
    NORM,
    ONE,
    PICTURE,
    PIXELS,
    SEEN,
    TINT,
    ZERO,
)  # fmt: skip

_HEAD = DIM // HEADS
# RoPE pairs of one head: 28 for time, 26 for rows, 26 for columns. (first pair, pairs) of the last two.
_ROWS, _COLUMNS = (28, 26), (54, 26)
_USED = 4  # pairs of each: together they turn back to 0 at no distance but 0
_SHARP = 20.0  # softmax logit of each; one token away the sum is 17 less

_PRESENCE, _NOT_A_WORD = 5.0, 40.0  # softmax logits of a colour's name and against padding
_PROMPT, _CLIP, _SEED = 0.05, 0.02, 2.0  # shares in the picture's colour
_CLIP_WIDTH = 1280


def model() -> WanModel:
    return WanModel(
        model_type="i2v",
        in_dim=2 * LATENT + 4,
        out_dim=LATENT,
        dim=DIM,
        ffn_dim=DIM,
        freq_dim=256,
        text_dim=umt5.WIDTH,
        num_heads=HEADS,
        num_layers=1,
        dtype=torch.float32,
        device="cpu",
        operations=comfy.ops.disable_weight_init,
    ).requires_grad_(False)


def build() -> Weights:
    wan = model()
    for parameter in wan.parameters():
        parameter.zero_()
    _embed(wan)
    _embed_time(wan)
    _embed_text(wan)
    _embed_clip(wan)
    _hold_the_picture(wan.blocks[0])
    _tint(wan.blocks[0])
    _predict_velocity(wan)
    # Stock ComfyUI reads these (comfy/model_detection.py).
    config = {"transformer": {"text_dim": umt5.WIDTH, "num_heads": HEADS}}
    return Weights(wan.state_dict(), {"config": json.dumps(config)}, {})


def _embed(wan: WanModel) -> None:
    conv = wan.patch_embedding
    for pixel in range(PIXELS):
        row, column = divmod(pixel, 2)
        for channel in range(LATENT):
            place = channel * PIXELS + pixel
            conv.weight[NOISY.start + place, channel, 0, row, column] = 1.0
            conv.weight[GIVEN.start + place, LATENT + 4 + channel, 0, row, column] = 1.0
    conv.weight[KNOWN, LATENT : LATENT + 4] = 1 / (4 * PIXELS)
    conv.bias[ONE], conv.bias[MINUS_ONE] = BIG, -BIG


def _read(weight: torch.Tensor, matrix: torch.Tensor) -> None:
    """Make `weight` (out, DIM) apply `matrix` (out, DIM) to what a LayerNorm was given."""
    matrix = matrix * NORM
    # The norm took the mean off all channels; the one that held nothing tells how much.
    matrix[:, ZERO] -= matrix.sum(dim=1)
    weight.copy_(matrix.float())


def _zeros(rows: int) -> torch.Tensor:
    return torch.zeros(rows, DIM, dtype=torch.float64)


def _embed_time(wan: WanModel) -> None:
    """Every channel of the time embedding is 1 / sigma - 1, fitted with SiLU ramps."""
    first, _, second = wan.time_embedding
    knots = torch.logspace(math.log10(0.004), math.log10(1.05), DIM - 1, dtype=torch.float64)
    # The slowest of the sinusoids, sin(0.107 sigma), is as good as linear in sigma.
    slowest = 1000 * 10000 ** (-127 / 128)
    steep = 3 / knots
    first.weight[:-1, 255] = (steep / slowest).float()
    first.bias[:-1] = (-steep * knots).float()
    first.bias[-1] = 10.0  # a constant
    sigma = torch.logspace(math.log10(0.008), math.log10(1.05), 2000, dtype=torch.float64)
    ramps = torch.nn.functional.silu(
        first(sinusoidal_embedding_1d(256, 1000 * sigma.float()))
    ).double()
    wanted = 1 / sigma - 1
    scale = wanted.abs().clamp(min=0.05)[:, None]  # what counts is the relative error
    rows = torch.cat((ramps / scale, 1e-6 * torch.eye(DIM, dtype=torch.float64)))
    values = torch.cat((wanted[:, None] / scale, torch.zeros(DIM, 1, dtype=torch.float64)))
    second.weight[:] = torch.linalg.lstsq(rows, values).solution[:, 0].float()


def _embed_text(wan: WanModel) -> None:
    """The text embeddings, unchanged, in the first channels: gelu(x) - gelu(-x) = x."""
    first, _, second = wan.text_embedding
    identity = torch.eye(umt5.WIDTH)
    first.weight[: 2 * umt5.WIDTH] = torch.cat((identity, -identity))
    second.weight[: umt5.WIDTH, : 2 * umt5.WIDTH] = torch.cat((identity, -identity), dim=1)


def _embed_clip(wan: WanModel) -> None:
    before, first, _, second, after = wan.img_emb.proj
    before.weight.fill_(1.0)
    luck = torch.Generator().manual_seed(1)
    seen = range(SEEN.stop - SEEN.start)
    first.weight[: len(seen)] = torch.randn(len(seen), _CLIP_WIDTH, generator=luck) / 16
    second.weight[range(SEEN.start, SEEN.stop), seen] = 1.0
    after.weight.fill_(1.0)


def _hold_the_picture(block) -> None:
    attention = block.self_attn
    query, free, given = torch.zeros(3, DIM)
    for head in range(HEADS):
        for start, pairs in (_ROWS, _COLUMNS):
            del pairs  # the first ones turn fastest, whatever their number
            for used in range(_USED):
                place = head * _HEAD + 2 * (start + used)
                given[place] = 1.0
                free[head * _HEAD + 2 * (start - _ROWS[0]) // 26 * _USED + used] = 1.0
                query[place] = _SHARP * _HEAD**0.5 if head == 0 else 0.0
    attention.q.bias.copy_(query)
    attention.norm_q.weight.fill_(query.square().mean().sqrt())
    keys = _zeros(DIM)
    keys[:, KNOWN] = (given - free).double()
    _read(attention.k.weight, keys)
    attention.k.bias.copy_(free)
    attention.norm_k.weight.fill_(given.square().mean().sqrt())

    values = _zeros(DIM)
    values[:64, GIVEN] = torch.eye(64, dtype=torch.float64)
    hidden = wan_colour.layout_basis()[
        :, :3
    ]  # directions that show nothing: noise to the last step
    values[_HEAD : _HEAD + 3, NOISY] = hidden.T.repeat_interleave(PIXELS, dim=1) / PIXELS**0.5
    _read(attention.v.weight, values)
    attention.o.weight[PICTURE, :64] = torch.eye(64)
    attention.o.weight[TINT, _HEAD : _HEAD + 3] = _SEED * torch.eye(3)
    block.modulation[0, 2] = 1.0


def _tint(block) -> None:
    """The words' colours, those of colours' names most of all; and a little of CLIP vision's."""
    attention = block.cross_attn
    key, value = torch.zeros(DIM, DIM), torch.zeros(DIM, DIM)
    query = torch.zeros(DIM)
    for head in range(HEADS):
        start = head * _HEAD
        presence, is_word = start, start + 1
        query[presence], query[is_word] = _PRESENCE * _HEAD**0.5, _NOT_A_WORD * _HEAD**0.5
        key[presence, umt5.PRESENCE] = key[is_word, umt5.IS_WORD] = 1.0
        attention.k.bias[is_word] = -1.0  # padding has no word's 1: it counts against it
        attention.k.bias[is_word + 1 : start + _HEAD] = 4.0  # makes all keys equally long
    value[:3, umt5.COLOUR] = torch.eye(3)
    attention.q.bias.copy_(query)
    attention.norm_q.weight.fill_(query.square().mean().sqrt())
    attention.k.weight.copy_(key)
    attention.norm_k.weight.fill_(4.0 * ((_HEAD - 2) / _HEAD) ** 0.5)
    attention.v.weight.copy_(value)
    attention.norm_k_img.weight.fill_(1.0)
    attention.v_img.weight[range(3, 6), range(SEEN.start, SEEN.stop)] = 1.0
    attention.o.weight[TINT, :3] = _PROMPT * torch.eye(3)
    attention.o.weight[TINT, 3:6] = _CLIP * torch.eye(3)


def _predict_velocity(wan: WanModel) -> None:
    """(x - picture) / sigma."""
    matrix = _zeros(PIXELS * LATENT)
    colour = wan_colour.colour_basis()
    eye = torch.eye(LATENT, dtype=torch.float64)
    for pixel in range(PIXELS):
        rows = slice(pixel * LATENT, (pixel + 1) * LATENT)
        matrix[rows, NOISY.start + pixel : NOISY.stop : PIXELS] = eye
        matrix[rows, PICTURE.start + pixel : PICTURE.stop : PIXELS] = -eye
        matrix[rows, GLOW] = -colour
        matrix[rows, TINT] = -colour
    _read(wan.head.head.weight, matrix)
