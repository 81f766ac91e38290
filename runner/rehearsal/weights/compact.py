# pyright: basic, reportMissingImports=false
"""Tensors of one value, written as a line of text; the rehearsal pack makes them whole again.

Some models have one size for everybody. A stand-in of theirs has the full shapes, but nearly all of
its tensors hold one number throughout.
"""

import json
from collections.abc import Mapping

import torch

KEY = "callsheet_rehearsal.constants"  # the tensor that holds the text, as bytes


def compact(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same state with every tensor of one value told in `KEY`: name → [shape, value]."""
    constants = {
        name: [list(tensor.shape), float(tensor.flatten()[0])]
        for name, tensor in tensors.items()
        if tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all())
    }
    text = json.dumps(constants).encode()
    kept = {name: tensor for name, tensor in tensors.items() if name not in constants}
    return {**kept, KEY: torch.frombuffer(bytearray(text), dtype=torch.uint8)}
