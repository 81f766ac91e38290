"""The kinds of parameters: their nodes' widgets, which of them name files, which are lists of rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

# The widgets of each parameter node in the order in which the editor stores their values.
# tests/comfy holds this against the pack's own node definitions.
_COMMON = ("name", "description", "required")
WIDGETS: Mapping[str, tuple[str, ...]] = {
    "CallsheetText": ("value", *_COMMON, "min_length", "max_length"),
    "CallsheetInteger": ("value", *_COMMON, "min", "max", "step", "choices"),
    "CallsheetNumber": ("value", *_COMMON, "min", "max", "step"),
    "CallsheetBoolean": ("value", *_COMMON),
    "CallsheetChoice": ("value", *_COMMON, "choices"),
    "CallsheetSeed": ("value", "control_after_generate", *_COMMON),
    "CallsheetImage": ("value", *_COMMON),
    "CallsheetAudio": ("value", *_COMMON, "max_duration"),
    "CallsheetVideo": ("value", *_COMMON),
    "CallsheetKeyframes": ("value", *_COMMON, "min_rows", "max_rows"),
    "CallsheetSpeakers": ("value", *_COMMON, "min_rows", "max_rows", "max_duration"),
}
# The last widgets that files and prompts may lack, and what they are then.
OPTIONAL: Mapping[str, Mapping[str, Any]] = {"CallsheetInteger": {"choices": ""}}
MEDIA = ("image", "audio", "video")


@dataclass(frozen=True)
class Cell:
    """What a key of a row holds."""

    column: str  # what the rows of the parameter node call it
    media: str = ""  # the kind of file that it names
    required: bool = False


@dataclass(frozen=True)
class RowKind:
    """A list of rows: one of them in words, and its cells by the keys that callers write."""

    noun: str
    cells: Mapping[str, Cell]
    shape: str  # how a list of them is written
    why_most: str = ""  # why there can be no more of them
    once: str = ""  # the key whose value no two rows may share


ROWS: Mapping[str, RowKind] = {
    "keyframes": RowKind(
        "keyframe",
        {
            "image_url": Cell("image", media="image", required=True),
            "frame_position": Cell("position"),
            "strength": Cell("strength"),
        },
        shape='[{"image_url": "a.png", "frame_position": "first"}, {"image_url": "b.png"}]',
        once="frame_position",
    ),
    "speakers": RowKind(
        "speaker",
        {
            "audio_url": Cell("audio", media="audio", required=True),
            "bbox": Cell("bbox"),
            "mask_url": Cell("mask", media="image"),
        },
        shape='[{"audio_url": "a.wav"}, {"audio_url": "b.wav"}]',
        why_most="the weights tell two people apart, no more",
    ),
}


SEED_MAX = 2**53 - 1  # the largest whole number that survives JSON in a browser
