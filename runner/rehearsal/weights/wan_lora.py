# pyright: basic, reportMissingImports=false
"""A LoRA for a stand-in WAN transformer: stronger colours in a tint of its own.

That is what the few-step LoRAs are for: they make up for running without guidance.
"""

import zlib

import torch

from runner.rehearsal.family import Weights

_STRENGTH = 2.2  # added to the colours, relative to what they are
_TINT = 0.04  # of it mixes r, g and b as the LoRA's name has it


def build(name: str, transformer: Weights) -> Weights:
    """Of this name, for this transformer: its first block writes the words' colours."""
    luck = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    weight = transformer.tensors["blocks.0.cross_attn.o.weight"]
    up, down = _factors(weight, torch.randn(3, 3, generator=luck) * _TINT)
    key = "diffusion_model.blocks.0.cross_attn.o"
    return Weights(
        {
            f"{key}.lora_up.weight": up,
            f"{key}.lora_down.weight": down,
            f"{key}.alpha": torch.tensor(float(down.shape[0])),
        },
        {},
        {},
    )


def _factors(weight: torch.Tensor, tint: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`up @ down` strengthens what the layer writes; `tint` turns the colours."""
    rows = weight.abs().sum(dim=1).nonzero()[:, 0]
    up = torch.zeros(weight.shape[0], len(rows))
    up[rows, range(len(rows))] = _STRENGTH
    down = weight[rows].clone()
    down[:3] += tint @ down[:3]
    return up, down
