"""LoRAs: any number in one node, and one whose strength is a parameter."""

from typing import Any

import folder_paths
import nodes as comfyui
from comfy_api.latest import io

from ..ops import lora

CATEGORY = "callsheet/models"
FOLDER = "loras"

# Files in memory: node id → path → ComfyUI's own loader, which keeps the last file it read.
# A V3 node has no instance that could hold it.
held: dict[str, dict[str, Any]] = {}


class LoraStack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetLoraStack",
            display_name="LoRA stack",
            category=CATEGORY,
            description="Applies any number of LoRAs, in order. A row that is off or at strength "
            "0 is not loaded, and its file may be absent.",
            search_aliases=["callsheet", "lora", "load lora", "power lora", "lora loader", "multi"],
            inputs=[
                io.Model.Input("model", tooltip="The model that the LoRAs change."),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="Its text encoder, changed with the same strengths; may stay unlinked.",
                ),
                io.String.Input(
                    "rows",
                    multiline=True,
                    default="[]",
                    tooltip="The LoRAs, as JSON: " + lora.SHAPE + ". strength is 1.0 and on is "
                    "true where a row does not say. Strength: -100 to 100, 1 is as trained.",
                    extra_dict={"columns": columns()},
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with the LoRAs."),
                io.Clip.Output(
                    display_name="clip",
                    tooltip="The text encoder with the LoRAs; nothing if none is linked.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, rows) -> bool | str:
        if rows is None:  # linked: known in execution only
            return True
        found, problems = lora.parse(rows)
        problems += missing([row.lora for row in found])
        return "rows: " + "; ".join(problems) if problems else True

    @classmethod
    def execute(cls, model, rows, clip=None) -> io.NodeOutput:
        problem = cls.validate_inputs(rows)
        if problem is not True:
            raise ValueError(problem)
        found, _ = lora.parse(rows)
        return io.NodeOutput(*applied(model, clip, found, hidden=cls.hidden))


class Lora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetLora",
            display_name="LoRA by strength",
            category=CATEGORY,
            description="Applies one LoRA at a strength that may be a parameter. At 0 nothing is "
            "loaded, and its file may be absent.",
            search_aliases=["callsheet", "lora", "load lora", "lora loader", "model only"],
            inputs=[
                io.Model.Input(
                    "model",
                    # Asked for after the file was looked for: a missing one is named before
                    # tens of GB are loaded.
                    lazy=True,
                    tooltip="The model that the LoRA changes.",
                ),
                io.Combo.Input(
                    "lora_name",
                    options=folder_paths.get_filename_list(FOLDER),
                    tooltip="A file in models/loras; a Choice may be linked.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-lora.STRONGEST,
                    max=lora.STRONGEST,
                    step=0.01,
                    tooltip="How strongly: 1 is as trained, 0 leaves the model as it is.",
                ),
                io.String.Input(
                    "also",
                    multiline=True,
                    default="",
                    socketless=True,
                    advanced=True,
                    tooltip="Other names of the file, one per line: the first one that exists is "
                    "used. `name = file` counts only when lora_name is that name.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the LoRA.")],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, lora_name, strength, also) -> bool | str:
        # None: linked. A strength that may turn out to be 0 must not be refused yet.
        if lora_name is None or not strength:
            return True
        if abs(strength) > lora.STRONGEST:
            most = lora.STRONGEST
            return f"strength: {strength:g} is not between {-most:g} and {most:g}"
        names = lora.names(lora_name, also)
        return True if existing(names) else "lora_name: " + nowhere(names)

    @classmethod
    def check_lazy_status(cls, lora_name, strength, also, model=None) -> list[str]:
        problem = cls.validate_inputs(lora_name, strength, also)
        if problem is not True:
            raise ValueError(problem)
        return ["model"] if model is None else []

    @classmethod
    def execute(cls, model, lora_name, strength, also) -> io.NodeOutput:
        rows = [lora.Row(existing(lora.names(lora_name, also)), strength)] if strength else []
        return io.NodeOutput(applied(model, None, rows, hidden=cls.hidden)[0])


def columns() -> list[dict[str, Any]]:
    """Of the list editor; without it, the rows are JSON in a text area."""
    most = lora.STRONGEST
    return [
        {"name": "on", "type": "boolean", "default": True, "tooltip": "Off: it is not loaded."},
        {"name": "lora", "label": "LoRA", "type": "choice",
         "choices": folder_paths.get_filename_list(FOLDER), "none": f"models/{FOLDER} is empty",
         "tooltip": f"A file in models/{FOLDER}."},
        {"name": "strength", "type": "number", "default": 1.0, "min": -most, "max": most,
         "step": 0.05, "tooltip": "1 is as trained, 0 is off, below 0 the opposite. Empty: 1."},
    ]  # fmt: skip


def applied(model: Any, clip: Any, rows: list[lora.Row], *, hidden: Any) -> tuple[Any, Any]:
    """(model, clip) after ComfyUI's own loader, once for each row."""
    loaders = loaders_of(hidden.unique_id, [row.lora for row in rows], prompt=hidden.prompt)
    for row in rows:
        strength_clip = 0 if clip is None else row.strength
        loader = loaders[row.lora]
        model, clip = loader.load_lora(model, clip, row.lora, row.strength, strength_clip)
    return model, clip


def loaders_of(node_id: str, names: list[str], *, prompt: Any) -> dict[str, Any]:
    """One loader for each file. What this node no longer names, or no node holds, is let go."""
    for gone in [other for other in held if other not in (prompt or {})]:
        del held[gone]
    before = held.get(node_id, {})
    loaders = {name: before.get(name) or comfyui.LoraLoader() for name in names}
    held[node_id] = loaders
    return loaders


def missing(names: list[str]) -> list[str]:
    return [nowhere([name]) for name in dict.fromkeys(names) if not existing([name])]


def existing(names: list[str]) -> str | None:
    """The first of them that is a file."""
    return next((name for name in names if folder_paths.get_full_path(FOLDER, name)), None)


def nowhere(names: list[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} is not in models/{FOLDER}"
    return f"none of {', '.join(names)} is in models/{FOLDER}"
