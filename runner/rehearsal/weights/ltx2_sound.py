# pyright: basic, reportMissingImports=false
"""A sound VAE and a vocoder for LTX-2, in closed form.

The VAE keeps how loud each of 16 bands is, left and right, 25 times a second: means of the log mel
spectrum one way, held the other way. The vocoder hums: a low tone as loud as the low bands, a
higher one as loud as the high bands. As in the video VAE, a large constant makes the last norm
divide by the same number everywhere, and the SiLU see small numbers, which it halves.
"""

import json
from typing import Any

import torch
from comfy.ldm.lightricks.vae.audio_vae import AudioVAE

from runner.rehearsal.weights import ltx2_layout as layout

_CHANNELS = 8  # real: 128
_SIDES = range(2)  # left and right are channels 0 and 1 everywhere
_K = 2  # the channel of the constant
_CONSTANT = 1000.0
_BINS = 64  # of the mel spectrum, on either side
_RATES = (6, 5, 8)  # 240 samples for each of 100 mel frames a second (real: 6, 5, 2, 2, 2)
_WAVES = 32  # channels of the vocoder (real: 1024)

_VAE: dict[str, Any] = {
    "model": {
        "params": {
            "ddconfig": {
                "double_z": True,
                "mel_bins": _BINS,
                "z_channels": 8,
                "resolution": 256,
                "downsample_time": False,
                "in_channels": 2,
                "out_ch": 2,
                "ch": _CHANNELS,
                "ch_mult": [1, 2, 4],
                "num_res_blocks": 1,  # real: 2
                "attn_resolutions": [],
                "dropout": 0.0,
                "mid_block_add_attention": False,
                "norm_type": "pixel",
                "causality_axis": "height",
            },
            "sampling_rate": 16000,
        }
    },
    "preprocessing": {"stft": {"filter_length": 1024, "hop_length": 160}},
}
_VOCODER: dict[str, Any] = {
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
    "resblock": "1",
    "upsample_rates": list(_RATES),
    "upsample_kernel_sizes": list(_RATES),
    "upsample_initial_channel": _WAVES,
    "stereo": True,
    "output_sample_rate": 24000,
}
CONFIG = {"audio_vae": _VAE, "vocoder": _VOCODER}

# One period of the low and the high tone, in sixths of a mel frame: 100 and 200 Hz.
_LOW_TONE = (0.5, 0.93, 0.93, 0.5, 0.07, 0.07)
_HIGH_TONE = (0.9, 0.5, 0.1, 0.9, 0.5, 0.1)
_AUDIBLE = 3.0  # log mel above silence
_LOUD = 9.0  # the same, of a tone at full strength
_STRENGTH = 0.35


def build() -> dict[str, torch.Tensor]:
    """Under the names that they have in a checkpoint."""
    vae = AudioVAE({"config": json.dumps(CONFIG)}).requires_grad_(False)
    for parameter in vae.parameters():
        parameter.zero_()
    _encode(vae.autoencoder.encoder)
    _decode(vae.autoencoder.decoder)
    _hum(vae.vocoder)
    statistics = vae.autoencoder.per_channel_statistics
    statistics.get_buffer("mean-of-means").fill_(layout.MEAN)
    statistics.get_buffer("std-of-means").fill_(layout.DEVIATION)
    # Zero is the mean of channels that hold nothing.
    statistics.get_buffer("mean-of-means")[layout.RIGHT.stop :] = 0.0
    statistics.get_buffer("std-of-means")[layout.RIGHT.stop :] = 1.0
    parts = (("audio_vae.", vae.autoencoder), ("vocoder.", vae.vocoder))
    return {
        prefix + name: tensor
        for prefix, part in parts
        for name, tensor in part.state_dict().items()
    }


def _encode(encoder) -> None:
    # Causal in time: the last tap is the frame itself. Padding is 0: silence is made 0, too.
    _same(encoder.conv_in.conv.weight[:, :, 2, 1])
    encoder.conv_in.conv.bias[:2] = -layout.SILENCE
    for level in encoder.down:
        _pass_on(level.block)
        if hasattr(level, "downsample"):
            for side in _SIDES:
                level.downsample.conv.weight[side, side, 1:, :2] = 0.25
    encoder.down[-1].block[0].nin_shortcut.conv.bias[_K] = _CONSTANT
    _read(encoder.conv_out, encoder.conv_out.conv.weight.shape[1])


def _decode(decoder) -> None:
    _same(decoder.conv_in.conv.weight[:, :, 2, 1])
    for level in decoder.up:
        _pass_on(level.block)
        if hasattr(level, "upsample"):
            _same(level.upsample.conv.conv.weight[:, :, 2, 1])
    decoder.up[0].block[0].nin_shortcut.conv.bias[_K] = _CONSTANT
    _read(decoder.conv_out, decoder.conv_out.conv.weight.shape[1])
    decoder.conv_out.conv.bias[:2] = layout.SILENCE


def _same(weight: torch.Tensor) -> None:
    weight[_SIDES, _SIDES] = 1.0


def _pass_on(blocks) -> None:
    """A residual block passes on its input; where the number of channels changes, two of it."""
    for block in blocks:
        if hasattr(block, "nin_shortcut"):
            _same(block.nin_shortcut.conv.weight[:, :, 0, 0])


def _read(layer, channels: int) -> None:
    """Undo the norm over `channels`, one of them the constant, and the SiLU, which halves."""
    layer.conv.weight[_SIDES, _SIDES, 2, 1] = 2 * _CONSTANT / channels**0.5


def _hum(vocoder) -> None:
    """Channels 0 and 1 carry the two sides' sound, 2 and 3 their mean, to be taken off."""
    half = _BINS // 2
    for side in _SIDES:
        for tone in range(2):
            start = side * _BINS + tone * half
            vocoder.conv_pre.weight[2 * side + tone, start : start + half, 3] = 1 / half
    # Positive while audible: the leaky ReLUs between change nothing then.
    vocoder.conv_pre.bias[:4] = -layout.SILENCE - _AUDIBLE
    first, *others = vocoder.ups
    for side in _SIDES:
        for tone, wave in enumerate((_LOW_TONE, _HIGH_TONE)):
            first.weight[2 * side + tone, side] = torch.tensor(wave)
            first.weight[2 * side + tone, 2 + side] = sum(wave) / len(wave)
    for layer in others:
        layer.weight[range(4), range(4)] = 1.0
    strength = _STRENGTH / (_LOUD - _AUDIBLE)
    for side in _SIDES:
        # A short mean: without it every step of the wave would click.
        vocoder.conv_post.weight[side, side] = strength / 7
        vocoder.conv_post.weight[side, 2 + side] = -strength / 7
