# pyright: basic, reportMissingImports=false
"""An LTX-2 transformer that holds the pictures it is given, in closed form.

It asks in every step for the same clean video, so any number of steps ends in one. Each token of the
video shows what the given picture (first frame or keyframe) nearest in time shows at its place:

- block 1: self-attention finds the largest timestep, which is the step's sigma; the MLP says how
  clean each token is, compared with it. In the sound's tokens, self-attention averages the noise of
  silent channels over time: two slow fields, how loud the low and the high tones are.
- block 2: self-attention looks, by rotary positions alone, at the clean token in the same place and
  nearest in time, and takes off what it shows. Loudness, from the sound's token at the same time,
  makes the picture brighter. Cross-attention tints it with the colours that the prompt names.
- what is left is x - picture; the velocity is that / sigma. The time embedding supplies 1 / sigma.
"""

import math
from collections.abc import Callable
from typing import Any

import comfy.ops
import torch
from comfy.ldm.lightricks.av_model import LTXAVModel
from comfy.ldm.lightricks.model import get_timestep_embedding

from runner.rehearsal.weights import ltx2_gemma
from runner.rehearsal.weights import ltx2_layout as layout

DIM = 160  # of pictures and of sound, in one head (real: 32 x 128 and 32 x 64)

CONFIG: dict[str, Any] = {
    "_class_name": "AVTransformer3DModel",
    "num_layers": 2,  # real: 48
    "num_attention_heads": 1,
    "attention_head_dim": DIM,
    "cross_attention_dim": DIM,
    "audio_num_attention_heads": 1,
    "audio_attention_head_dim": DIM,
    "audio_cross_attention_dim": DIM,
    "caption_channels": ltx2_gemma.WIDTH,  # real: 3840
    "connector_num_attention_heads": 1,
    "connector_attention_head_dim": ltx2_gemma.WIDTH,
    "connector_num_layers": 1,
    "in_channels": layout.CHANNELS,
    "out_channels": layout.CHANNELS,
    "audio_out_channels": layout.CHANNELS,
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "audio_positional_embedding_max_pos": [20],
    "timestep_scale_multiplier": 1000,
    "av_ca_timestep_scale_multiplier": 1000.0,
    "causal_temporal_positioning": True,
    "use_middle_indices_grid": True,
    "rope_type": "split",
    "frequencies_precision": "float64",
}

# What the channels of both residual streams hold.
_X = slice(0, layout.CHANNELS)  # the noisy latent itself, later less the picture
_ONE = 128  # 1 x _BIG
_MINUS_ONE = 129  # its counterweight: a token's mean stays near 0
_ZERO = 130  # nothing: what the last LayerNorm shows here is the mean it took off
_SIGMA = 131  # log of the step's sigma
_CLEAN = 132  # 0 for noise to 1 for a given picture
_LOUDNESS = 133  # of the sound, as it will be
_TIME = 134  # nothing, but the modulation adds log of the token's timestep
# Of the time embedding only. It also scales the output, hence the places that the output ignores.
_SLOW = 156  # 1 / timestep
_FADE_FINE = 157  # the same as _FADE, for details
_FADE = 158  # how much of its content a token shows in block 2
_LOG = 159  # log timestep

VALUE_ONE = 150  # of the values in block 2, always 1: for LoRAs

# So large that every norm divides by the same number, whatever the token holds.
_BIG = 256.0
_NORM = _BIG * (2 / DIM) ** 0.5  # that number
_FILL = 10.0  # as much for the keys of an attention

# Split rotary embedding: channel d turns with d + DIM/2. The first pairs do not turn; then come
# DIM/6 speeds, and for each speed a pair for time, rows and columns. With one axis DIM/2 speeds.
_HALF = DIM // 2
_SPEEDS = DIM // 6
_STILL = _HALF - 3 * _SPEEDS
_USED = 14  # speeds
_SECOND, _CELL = 1 / 10, 1 / 32  # turned, in units of a speed

# Attention logits. Farther away by d costs sharpness x sqrt(d), in seconds or cells.
_SHARP_IN_TIME, _SHARP_IN_SPACE = 16.0, 10.0
_CLEAN_LOGIT = 140.0  # more than any way costs
# seconds. A latent frame's position is the middle of its 8 frames, which it shows at their end.
_AHEAD = 0.07
_LARGEST = 10.0  # for the largest timestep, per unit of its log
_NAMED, _NO_WORD = 6.0, -40.0  # of a word that has a colour; of where the prompt has ended
_RISE = 10.0  # how steep the MLP's edges are

_SOUND_REACH = 0.12  # seconds: the averaging Gaussian of the sound
_SOUND_SWING = 0.8  # deviation of a generated sound's loudness, in latent units
_GLOW = 0.05  # brightness per latent unit of loudness
_TINT = 0.06  # of the colours that the prompt names; guidance makes more of it
_LEAST = 0.008  # timestep that the time embedding tells from 0
_KEPT = 0.03  # timestep up to which a sound counts as given


def build() -> dict[str, torch.Tensor]:
    dit = LTXAVModel(
        **CONFIG, dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init
    ).requires_grad_(False)
    for name, parameter in dit.named_parameters():
        parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    for patchify in (dit.patchify_proj, dit.audio_patchify_proj):
        patchify.weight[_X] = torch.eye(layout.CHANNELS)
        patchify.bias[_ONE], patchify.bias[_MINUS_ONE] = _BIG, -_BIG
    _embed_times(dit)
    first, second = dit.transformer_blocks
    for block in (first, second):
        block.scale_shift_table[_GATE_ATTENTION] = block.scale_shift_table[_GATE_MLP] = 1.0
        block.audio_scale_shift_table[_GATE_ATTENTION] = 1.0
        block.scale_shift_table_a2v_ca_video[4] = 1.0  # its gate
    _find_sigma(first.attn1)
    _find_clean(first.ff)
    _compose_sound(first.audio_attn1)
    _hold_pictures(second.attn1)
    _glow(second.audio_to_video_attn)
    _embed_text(dit)
    _tint(second.attn2)
    for project in (dit.proj_out, dit.audio_proj_out):
        # The norm took the mean off all channels; the one that held nothing tells how much. It
        # cancels the shift as well, which the time embedding makes the same for all channels.
        project.weight[:, _X] = torch.eye(layout.CHANNELS) * _NORM
        project.weight[:, _ZERO] = -_NORM
    return dit.state_dict()


# The rows of a modulation: for the attention, then for the MLP.
_SHIFT_ATTENTION, _SCALE_ATTENTION, _GATE_ATTENTION, _SHIFT_MLP, _, _GATE_MLP = range(6)
_LIFT = 20.0  # a SiLU comes before the modulation: lifted by this it does no harm


def _embed_times(dit) -> None:
    video, sound = dit.adaln_single, dit.audio_adaln_single
    functions = ((_SLOW, _slow), (_FADE, _fade), (_FADE_FINE, _fade_fine), (_LOG, torch.log))
    for adaln in (video, sound):
        second, fit = _ramps(adaln)
        second.weight[:_SLOW] = fit(lambda t: 1 / t - 1)
        for place, function in functions:
            second.weight[place] = fit(function)
            second.bias[place] = _LIFT
    for row in (_SHIFT_ATTENTION, _SHIFT_MLP):
        _modulate(video, row, slice(_TIME, _TIME + 1), _LOG, offset=0.0)
    _modulate(video, _SCALE_ATTENTION, _X, _FADE_FINE, offset=-1.0)
    for coarse in layout.COARSE:
        _modulate(video, _SCALE_ATTENTION, coarse, _FADE, offset=-1.0)
    _modulate(sound, _SCALE_ATTENTION, _X, _SLOW, offset=-1.0)
    kept = dit.av_ca_audio_scale_shift_adaln_single
    second, fit = _ramps(kept)
    second.weight[_FADE], second.bias[_FADE] = fit(_keep), _LIFT
    _modulate(kept, 0, _X, _FADE, offset=-1.0)


def _modulate(adaln, row: int, channels: slice, source: int, *, offset: float) -> None:
    """Let some of one row of the modulation be a channel of the time embedding, and an offset."""
    rows = slice(row * DIM + channels.start, row * DIM + channels.stop)
    adaln.linear.weight[rows] = 0.0
    adaln.linear.weight[rows, source] = 1.0
    adaln.linear.bias[rows] = offset - _LIFT


def _slow(timestep: torch.Tensor) -> torch.Tensor:
    return 1 / timestep


def _fade(timestep: torch.Tensor) -> torch.Tensor:
    """Even a picture of strength 0.7 is clean enough; noise alone shows nothing."""
    return (1 - (timestep - 0.32) / 0.09).clamp(0, 1)


def _fade_fine(timestep: torch.Tensor) -> torch.Tensor:
    """The noise of a picture of strength 0.8 or less shows in its details to the last step."""
    return (1 - (timestep - 0.045) / 0.03).clamp(0, 1)


def _keep(timestep: torch.Tensor) -> torch.Tensor:
    return (1 - (timestep - _KEPT) / _KEPT).clamp(0, 1)


Fit = Callable[[Callable[[torch.Tensor], torch.Tensor]], torch.Tensor]


def _ramps(adaln) -> tuple[Any, Fit]:
    """The second layer of a time embedding, and how to fit functions of the timestep to it."""
    embedder = adaln.emb.timestep_embedder
    first, second = embedder.linear_1, embedder.linear_2
    knots = torch.logspace(math.log10(0.004), math.log10(1.05), DIM - 1, dtype=torch.float64)
    # The slowest of the sinusoids, sin(0.107 t), is as good as linear in t.
    slowest = 1000 * 10000 ** (-127 / 128)
    steep = 3 / knots
    first.weight[:-1, 255] = (steep / slowest).float()
    first.bias[:-1] = (-steep * knots).float()
    first.bias[-1] = 10.0  # a constant
    timestep = torch.logspace(math.log10(_LEAST), math.log10(1.05), 2000, dtype=torch.float64)
    # What is given has timestep 0: there the functions are to be as at the least.
    timestep = torch.cat((torch.linspace(0, _LEAST, 20, dtype=torch.float64), timestep))
    waves = get_timestep_embedding(
        1000 * timestep.float(), 256, flip_sin_to_cos=True, downscale_freq_shift=0
    )
    ramps = torch.nn.functional.silu(first(waves)).double()

    def fit(function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        wanted = function(timestep.clamp(min=_LEAST))
        scale = wanted.abs().clamp(min=0.05)[:, None]  # what counts is the relative error
        ridge = 1e-6 * torch.eye(DIM, dtype=torch.float64)
        rows = torch.cat((ramps / scale, ridge))
        values = torch.cat((wanted[:, None] / scale, torch.zeros(DIM, 1, dtype=torch.float64)))
        return torch.linalg.lstsq(rows, values).solution[:, 0].float()

    return second, fit


def _ask(attention, logits: dict[int, float]) -> None:
    """Queries that are always the same: `logits` of keys that are 1, by channel."""
    query = torch.zeros(DIM)
    for channel, logit in logits.items():
        query[channel] = logit * DIM**0.5  # the attention divides by it
    attention.to_q.bias.copy_(query)
    attention.q_norm.weight.fill_(query.square().mean().sqrt())


def _answer(attention, ones: list[int], *, used: int) -> None:
    """Keys that are 1 in the channels `ones`, and equally long. The first `used` pairs matter."""
    attention.to_k.bias[ones] = 1.0
    filled = [*range(used, _HALF), *range(_HALF + used, DIM)]
    attention.to_k.bias[filled] = _FILL
    attention.k_norm.weight.fill_(attention.to_k.bias.square().mean().sqrt())


def _find_sigma(attention) -> None:
    _ask(attention, {0: _LARGEST})
    _answer(attention, [], used=1)
    attention.to_k.weight[0, _TIME] = attention.to_v.weight[0, _TIME] = 1.0
    attention.to_out[0].weight[_SIGMA, 0] = 1.0


def _find_clean(mlp) -> None:
    """How far, on a log scale, a token's timestep is below sigma: from 0 at 1 to 1 at 1 / e."""
    # gelu(x) - gelu(x - rise) rises from 0 to `rise` and stays there
    rise = mlp.net[0].proj
    rise.weight[:2, _SIGMA], rise.weight[:2, _TIME] = _RISE * _NORM, -_RISE
    rise.bias[1] = -_RISE
    mlp.net[2].weight[_CLEAN, :2] = torch.tensor([1.0, -1.0]) / _RISE


def _hold_pictures(attention) -> None:
    logits = {0: _CLEAN_LOGIT}
    for axis, (sharp, unit) in enumerate(
        ((_SHARP_IN_TIME, _SECOND), (_SHARP_IN_SPACE, _CELL), (_SHARP_IN_SPACE, _CELL))
    ):
        for index, speed in enumerate(_speeds(_SPEEDS)[:_USED]):
            # The sum of 1 - cos(speed d) over a geometric series of speeds, so weighted, is
            # proportional to sqrt(d).
            ratio = math.log(10000) / (_SPEEDS - 1)
            weight = sharp * ratio / (2 * math.pi) ** 0.5
            logit = weight * (speed * unit) ** -0.5
            angle = speed * unit * _AHEAD if axis == 0 else 0.0
            pair = _STILL + 3 * index + axis
            logits[pair], logits[pair + _HALF] = logit * math.cos(angle), logit * math.sin(angle)
    _ask(attention, logits)
    _answer(attention, [place for place in logits if 0 < place < _HALF], used=_STILL + 3 * _USED)
    attention.to_k.weight[0, _CLEAN] = _NORM
    attention.to_v.weight[_X, _X] = torch.eye(layout.CHANNELS) * _NORM
    attention.to_v.bias[VALUE_ONE] = 1.0
    attention.to_out[0].weight[_X, _X] = -torch.eye(layout.CHANNELS)


def _speeds(count: int) -> list[float]:
    return [math.pi / 2 * 10000 ** (index / (count - 1)) for index in range(count)]


def _look_at_the_same_time(attention) -> None:
    speed = _speeds(_HALF)[0] * _SECOND
    # exp(a cos(speed d)) is a Gaussian of that reach around d = 0
    _ask(attention, {0: 1 / (_SOUND_REACH * speed) ** 2})
    _answer(attention, [0], used=1)


def _compose_sound(attention) -> None:
    _look_at_the_same_time(attention)
    # Unit noise of 16 bands, averaged over its tokens, 25 a second
    tokens = 2 * math.pi**0.5 * _SOUND_REACH * 25
    strength = _SOUND_SWING * tokens**0.5 / layout.BANDS**0.5
    half = layout.BANDS // 2
    for field, noise in enumerate((layout.LOW_NOISE, layout.HIGH_NOISE)):
        attention.to_v.weight[field, noise] = strength * _NORM
        for side in (layout.LEFT, layout.RIGHT):
            start = side.start + field * half
            attention.to_out[0].weight[start : start + half, field] = -1.0
        attention.to_out[0].weight[_LOUDNESS, field] = 0.5


def _glow(attention) -> None:
    _look_at_the_same_time(attention)
    loudness = attention.to_v.weight[0]
    loudness[layout.LEFT] = loudness[layout.RIGHT] = _NORM / (2 * layout.BANDS)
    loudness[_LOUDNESS] = _NORM
    attention.to_v.bias[0] = layout.MEAN / layout.DEVIATION  # above silence
    attention.to_out[0].weight[: layout.PICTURE, 0] = -_GLOW * layout.flat(layout.LUMA)


def _embed_text(dit) -> None:
    """The text's channels unchanged, as they were before the connector's norm took their scale."""
    connector, projection = dit.video_embeddings_connector, dit.caption_projection
    connector.learnable_registers.copy_(ltx2_gemma.after_the_end().expand(128, -1))
    scale = ltx2_gemma.BIG / ltx2_gemma.WIDTH**0.5
    identity = torch.eye(ltx2_gemma.WIDTH)
    # gelu(x) - gelu(-x) = x
    projection.linear_1.weight[: 2 * ltx2_gemma.WIDTH] = torch.cat((identity, -identity)) * scale
    projection.linear_2.weight[: ltx2_gemma.WIDTH, : 2 * ltx2_gemma.WIDTH] = torch.cat(
        (identity, -identity), dim=1
    )


def _tint(attention) -> None:
    _ask(attention, {0: _NAMED, 1: _NO_WORD})
    _answer(attention, [], used=2)
    attention.to_k.weight[0, ltx2_gemma.PRESENCE] = 1.0
    attention.to_k.weight[1, ltx2_gemma.NO_WORD] = 1.0
    attention.to_v.weight[:3, ltx2_gemma.COLOUR] = torch.eye(3)
    for plane, channels in enumerate(layout.CHROMA, start=1):
        share = torch.outer(layout.flat(channels), layout.from_rgb()[plane].float())
        attention.to_out[0].weight[: layout.PICTURE, :3] -= _TINT * share
