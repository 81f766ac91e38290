"""The values in which a model family says what it stands in for."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StandIn:
    """One file to be made, `<models_dir>/<folder>/<name>`."""

    family: str
    kind: str  # what the file holds, in the family's own words: unet, vae, …
    folder: str  # ComfyUI's model folder: diffusion_models, text_encoders, …
    name: str  # as the loader node asks for it; may hold sub-folders


@dataclass(frozen=True)
class Rule:
    """A file that a family can stand in for: which loader asks for it, and under which name."""

    class_type: str
    input: str
    pattern: re.Pattern[str]  # searched in the file name
    kind: str
    folder: str
    type: str = ""  # what the loader's input `type` must say; empty: anything


@dataclass(frozen=True)
class Weights:
    """What goes into one safetensors file."""

    tensors: Mapping[str, Any]  # name -> torch.Tensor
    metadata: Mapping[str, str]  # what ComfyUI itself reads, such as "config"
    model_options: Mapping[str, Any]  # for the rehearsal pack to hand to ComfyUI's loaders


@dataclass(frozen=True)
class Family:
    """A model family: what it recognises, and how its files are built.

    A LoRA has no name of its own to be known by: `lora` stands in for every LoRA that is applied
    to a model of this family.
    """

    name: str
    rules: tuple[Rule, ...]
    lora: tuple[Rule, ...]
    model: str  # the kind of file a LoRA is applied to
    build: Callable[[StandIn], Weights]  # runs in the build process, where torch and comfy are
