# pyright: basic, reportMissingImports=false
"""A CLIP vision H of the real width, two thin layers deep, with random weights.

ComfyUI takes this model at one size only (632 million parameters): the file says which one it has
got, and the rehearsal pack builds that.
"""

import json
from pathlib import Path

import comfy.clip_model
import comfy.ops
import torch

from runner.rehearsal.family import Weights

KEY = "callsheet_rehearsal.config"  # the tensor that holds the configuration, as bytes

_SIZES = {"num_hidden_layers": 2, "intermediate_size": 64, "num_attention_heads": 2}


def build() -> Weights:
    path = Path(comfy.clip_model.__file__).with_name("clip_vision_config_h.json")
    config = {**json.loads(path.read_text(encoding="utf-8")), **_SIZES, "image_size": 56}
    model = comfy.clip_model.CLIPVisionModelProjection(
        config, torch.float32, "cpu", comfy.ops.disable_weight_init
    ).requires_grad_(False)
    luck = torch.Generator().manual_seed(1)
    tensors = {
        name: _fresh(name, tensor, luck).half() for name, tensor in model.state_dict().items()
    }
    text = torch.frombuffer(bytearray(json.dumps(config).encode()), dtype=torch.uint8)
    return Weights({**tensors, KEY: text}, {}, {})


def _fresh(name: str, tensor: torch.Tensor, luck: torch.Generator) -> torch.Tensor:
    if name.endswith("bias"):
        return torch.zeros_like(tensor)
    if tensor.ndim == 1 and "norm" in name:
        return torch.ones_like(tensor)
    if not tensor.is_floating_point():
        return tensor
    spread = max(1, tensor[0].numel()) ** -0.5 if tensor.ndim > 1 else 1.0
    return torch.randn(tensor.shape, generator=luck) * spread
