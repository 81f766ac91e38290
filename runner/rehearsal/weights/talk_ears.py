# pyright: basic, reportMissingImports=false
"""A wav2vec2-base that hears how loud it is, in closed form, and says so in every layer.

ComfyUI takes this encoder at one size only (94 million parameters); see `compact`.
"""

import comfy.ops
import torch
from comfy.audio_encoders.wav2vec2 import Wav2Vec2Model

from runner.rehearsal.family import Weights
from runner.rehearsal.weights.compact import compact
from runner.rehearsal.weights.talk_layout import LOUDNESS

_WIDTH = 768
_GAIN = 8.0  # gelu is nearly max(0, x) of a sound this loud
_STEADY = 100.0  # a channel so large that LayerNorms hardly see the loudness
_ANCHOR = 50.0  # the same for the transformer's layers, which take the mean off, too
_FULL = 0.25  # makes a sound of average loudness about 0.2


def build() -> Weights:
    # As comfy/audio_encoders/audio_encoders.py builds it for 768 channels.
    model = Wav2Vec2Model(
        embed_dim=_WIDTH, num_heads=12, num_layers=12, conv_norm=False, conv_bias=False,
        do_normalize=False, do_stable_layer_norm=False, dtype=torch.float32, device="cpu",
        operations=comfy.ops.disable_weight_init,
    ).requires_grad_(False)  # fmt: skip
    for parameter in model.parameters():
        parameter.zero_()
    _envelope(model.feature_extractor.conv_layers)
    _embed(model.feature_projection)
    _pass_on(model.encoder)
    tensors = {f"wav2vec2.{name}": tensor for name, tensor in model.state_dict().items()}
    return Weights(compact(tensors), {}, {})


def _envelope(layers) -> None:
    """Rectified, then averaged over 25 ms; the group norm has made every sound equally loud."""
    first, *rest = layers
    first.conv.weight[0, 0, 0] = 1.0
    first.layer_norm.weight[0] = _GAIN
    first.layer_norm.bias[1] = _STEADY
    for layer in rest:
        length = layer.conv.weight.shape[-1]
        for channel in (0, 1):
            layer.conv.weight[channel, channel] = 1 / length


def _embed(projection) -> None:
    width = projection.layer_norm.weight.shape[0]
    projection.layer_norm.weight.fill_(_STEADY / width**0.5)  # undoes the norm
    projection.projection.weight[LOUDNESS, 0] = _FULL
    projection.projection.bias[LOUDNESS + 1] = _ANCHOR
    projection.projection.bias[LOUDNESS + 2] = -_ANCHOR


def _pass_on(encoder) -> None:
    # The direction of the zero-long position kernel must exist: weight_norm divides by its length.
    encoder.pos_conv_embed.conv.parametrizations.weight.original1.fill_(1.0)
    undone = _ANCHOR * (2 / _WIDTH) ** 0.5
    encoder.layer_norm.weight.fill_(undone)
    for layer in encoder.layers:
        layer.layer_norm.weight.fill_(undone)
        layer.final_layer_norm.weight.fill_(undone)
