# pyright: basic, reportMissingImports=false
"""A video VAE for LTX-2 that is a colour codec, in closed form.

Encoding takes means: brightness of 4 x 4 pixels, colour of 8 x 8, over 8 frames. Decoding puts them
back and interpolates linearly in space and in time, so that frame 8k is latent frame k: a keyframe
there is seen as it is. Beside the colours runs a large constant: the norm before the last layer
then divides by the same number everywhere, and the SiLU sees numbers so small that it halves them.
"""

from typing import Any

import torch
from comfy.ldm.lightricks.vae.causal_video_autoencoder import VideoVAE

from runner.rehearsal.weights import ltx2_layout as layout

_BASE = 4  # channels at 4 pixels: Y, B - Y, R - Y and the constant
_CONSTANT = 1000.0
_PATCH = 4  # pixels; patches are 16 channels each, column by column
_TIME = [["compress_time", {"multiplier": 1}]] * 3

CONFIG: dict[str, Any] = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": layout.CHANNELS,
    "encoder_base_channels": _BASE,  # real: 128
    "decoder_base_channels": _BASE,
    "encoder_blocks": [["compress_time_res", {"multiplier": 1}]] * 3
    + [["compress_space_res", {"multiplier": 4}]] * 3,
    # Listed from the last to the first. 96 channels at 32 pixels, 24 at 16, 8 at 8, 4 at 4; time
    # last, where the channels are few. ComfyUI knows the VAE by the res_x at the beginning.
    "decoder_blocks": _TIME
    + [["compress_space", {"multiplier": factor}] for factor in (2, 3, 4)]
    + [["res_x", {"num_layers": 1}]],
    "scaling_factor": 1.0,
    "norm_layer": "pixel_norm",
    "patch_size": _PATCH,
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "causal_decoder": False,
    "timestep_conditioning": False,
    "spatial_padding_mode": "replicate",
}


def build() -> dict[str, torch.Tensor]:
    vae = VideoVAE(config=CONFIG).requires_grad_(False)
    for parameter in vae.parameters():
        parameter.zero_()
    _encode(vae.encoder)
    _decode(vae.decoder)
    vae.per_channel_statistics.get_buffer("mean-of-means").fill_(0.0)
    vae.per_channel_statistics.get_buffer("std-of-means").fill_(1.0)
    return vae.state_dict()


def _encode(encoder) -> None:
    """The layers between pass on what they get, by their shortcuts, taken apart or averaged."""
    patch = _PATCH**2
    first, last = encoder.conv_in.conv, encoder.conv_out.conv
    # A causal convolution's last tap in time is the frame itself.
    weights = layout.from_rgb().float()[:, :, None].expand(3, 3, patch) / patch
    first.weight[:3, :, 2, 1, 1] = weights.reshape(3, 3 * patch)
    first.bias[3] = _CONSTANT
    parts = torch.zeros(layout.PICTURE, last.weight.shape[1])
    # The norm sees the constant in a quarter of the channels, the SiLU halves.
    parts[layout.LUMA, :64] = torch.eye(64) * _CONSTANT
    for plane, channels in enumerate(layout.CHROMA, start=1):
        for place in range(4):  # within 8 pixels
            start = 64 * plane + 16 * place
            parts[channels, start : start + 16] = torch.eye(16) * _CONSTANT / 4
    last.weight[: layout.PICTURE, :, 2, 1, 1] = layout.basis() @ parts


def _decode(decoder) -> None:
    _here(decoder.conv_in.conv)[:, : layout.PICTURE] = layout.basis().T
    wide, narrow, finest = (b.conv.conv for b in decoder.up_blocks if _stride(b) == (1, 2, 2))
    _here(wide)[:] = torch.eye(96)
    _here(narrow)[:24] = torch.eye(24)
    _here(finest)[:4, :4] = torch.eye(4)  # Y at its four places
    for plane in (1, 2):
        for place in range(4):
            kernel = _linear(2, place // 2)[:, None] * _linear(2, place % 2)
            finest.weight[4 * plane + place, 3 + plane, 1] = kernel
    finest.bias[12:16] = _CONSTANT
    for block in decoder.up_blocks:
        if _stride(block) == (2, 1, 1):
            _double_time(block.conv.conv)
    # The norm sees the constant in one of four channels, the SiLU halves.
    to_rgb = layout.to_rgb().float() * _CONSTANT
    for column in range(_PATCH):
        for row in range(_PATCH):
            kernel = _linear(_PATCH, row)[:, None] * _linear(_PATCH, column)
            channels = slice(column * _PATCH + row, None, _PATCH**2)
            decoder.conv_out.conv.weight[channels, :3, 1] = to_rgb[:, :, None, None] * kernel


def _stride(block) -> tuple[int, ...] | None:
    return getattr(block, "stride", None)


def _here(conv) -> torch.Tensor:
    """(out, in): the weights at the centre."""
    return conv.weight[:, :, 1, 1, 1]


def _double_time(conv) -> None:
    """Latent frame t -> the frame half-way from the one before, and itself."""
    for channel in range(_BASE):
        between, itself = conv.weight[2 * channel : 2 * channel + 2, channel, :, 1, 1]
        between[:2] = 0.5
        itself[1] = 1.0


def _linear(parts: int, part: int) -> torch.Tensor:
    """(3,): linear interpolation in the middle of one of `parts` of a cell."""
    offset = (part + 0.5) / parts - 0.5
    return torch.tensor([max(-offset, 0.0), 1 - abs(offset), max(offset, 0.0)])
