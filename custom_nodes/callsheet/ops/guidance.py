"""Guidance by prompt and by speech: which predictions are needed, and their sum. Pure.

MultiTalk's own: uncond + text · (cond - drop_text) + audio · (drop_text - uncond), and at text 1
drop_audio + audio · (cond - drop_audio). What falls out of the sum is not predicted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

COND = "cond"  # prompt and speech
DROP_TEXT = "drop_text"  # negative prompt and speech
DROP_AUDIO = "drop_audio"  # prompt and no speech
UNCOND = "uncond"  # negative prompt and no speech
SILENT = (DROP_AUDIO, UNCOND)

# (prediction, the one it leads away from, scale) → their sum
Guide = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def passes(*, text: float, audio: float) -> tuple[str, ...]:
    """The predictions that a step needs: one to three."""
    if math.isclose(text, 1):
        return (COND,) if math.isclose(audio, 1) else (COND, DROP_AUDIO)
    if math.isclose(audio, 1):
        return (COND, DROP_TEXT)
    if math.isclose(audio, text):
        return (COND, UNCOND)
    return (COND, DROP_TEXT, UNCOND)


def combined(
    predicted: dict[str, torch.Tensor], *, text: float, audio: float, guide: Guide
) -> torch.Tensor:
    """`predicted` has what `passes` names; `guide` is plain guidance between two of them."""
    cond = predicted[COND]
    match tuple(predicted):
        case (_,):
            return guide(cond, cond, 1.0)
        case (_, "drop_audio"):
            return guide(cond, predicted[DROP_AUDIO], audio)
        case (_, other):
            return guide(cond, predicted[other], text)
        case _:
            drop_text = predicted[DROP_TEXT]
            return guide(drop_text, predicted[UNCOND], audio) + text * (cond - drop_text)


def check_scales(*, text: float, audio: float) -> None:
    for name, value in (("text_guide_scale", text), ("audio_guide_scale", audio)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name}: {value} is not 0 or more; 1 leaves this guidance out")
