# pyright: basic, reportMissingImports=false
"""A LoRA for the stand-in LTX-2 transformer: a light tint, of a colour that its name decides."""

import math
import zlib

import torch

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import ltx2_layout as layout
from runner.rehearsal.weights import ltx2_transformer

_TINT = 0.04  # at strength 1, of colours in -1..1


def build(name: str) -> Weights:
    luck = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    hue = float(torch.rand(1, generator=luck)) * 2 * math.pi
    down, up = torch.zeros(1, ltx2_transformer.DIM), torch.zeros(ltx2_transformer.DIM, 1)
    down[0, ltx2_transformer.VALUE_ONE] = 1.0
    for channels, share in zip(layout.CHROMA, (math.cos(hue), math.sin(hue)), strict=True):
        up[: layout.PICTURE, 0] -= (
            _TINT * share * layout.flat(channels)
        )  # the picture is taken off what is left to predict
    key = "diffusion_model.transformer_blocks.1.attn1.to_out.0"
    # ComfyUI reads how much smaller than the video an IC-LoRA's reference is.
    metadata = {"reference_downscale_factor": "1"} if "ic-lora" in name else {}
    return Weights({f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}, metadata, {})
