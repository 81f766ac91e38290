"""Small graph editor files for unit tests of the conversion, and the server that knows their nodes."""

import copy
import json
from pathlib import Path
from typing import Any

from runner.graph import to_api

DATA = Path(__file__).parents[1] / "data" / "graph"

IMAGE = ["IMAGE"]


def _type(
    required: dict[str, Any] | None = None,
    *outputs: Any,
    optional: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        "input": {"required": required or {}, "optional": optional or {}},
        "output": list(outputs),
        **more,
    }


SIZE = ["INT", {"default": 512, "min": 16, "max": 4096}]
CODEC = [
    "COMFY_DYNAMICCOMBO_V3",
    {
        "default": "lossy",
        "options": [
            {"key": "auto", "inputs": {}},
            {
                "key": "lossy",
                "inputs": {
                    "required": {"quality": ["INT", {"default": 75}]},
                    "optional": {"note": ["STRING", {"dynamicPrompts": True}]},
                },
            },
            {
                "key": "frames",
                "inputs": {
                    "required": {
                        "images": [
                            "COMFY_AUTOGROW_V3",
                            {
                                "template": {
                                    "input": {"required": {"image": IMAGE}},
                                    "prefix": "image",
                                    "min": 0,
                                    "max": 3,
                                }
                            },
                        ]
                    }
                },
            },
        ],
    },
]
GROUP = [
    "COMFY_AUTOGROW_V3",
    {"template": {"input": {"required": {"image": IMAGE}}, "names": ["a", "b", "c"], "min": 1}},
]

SERVER: dict[str, Any] = {
    "Source": _type({"width": SIZE}, "IMAGE", "MASK", display_name="A Source"),
    "Filter": _type({"image": IMAGE, "mask": ["MASK"], "amount": ["FLOAT", {}]}, "IMAGE", "MASK"),
    "Encode": _type(
        {"clip": ["CLIP"], "text": ["STRING", {"multiline": True, "dynamicPrompts": True}]},
        "CONDITIONING",
    ),
    "Sample": _type(
        {
            "positive": ["CONDITIONING"],
            "seed": ["INT", {"control_after_generate": True}],
            "steps": ["INT", {"default": 20}],
            "sampler": [["euler", "heun"], {}],
        },
        "IMAGE",
        optional={"image": IMAGE},
    ),
    "Seeds": _type({"seed": ["INT"], "noise_seed": ["INT", {"control_after_generate": False}]}),
    "Save": _type({"images": IMAGE, "codec": CODEC}),
    "SaveImage": _type({"images": IMAGE, "filename_prefix": ["STRING", {"default": "ComfyUI"}]}),
    "Batch": _type({"images": GROUP}, "IMAGE"),
    "Any": _type({"source": ["*"]}, "*"),
    "Old": _type({"negative": ["STRING", {"forceInput": True}], "strength": ["FLOAT"]}),
    "LoadImage": _type({"image": [["example.png"], {"image_upload": True}]}, "IMAGE", "MASK"),
    "LoadAudio": _type({"audio": ["COMBO", {"options": [], "audio_upload": True}]}, "AUDIO"),
    "ImageCompare": _type(
        {"compare_view": ["IMAGECOMPARE", {"socketless": True}]}, optional={"image_a": IMAGE}
    ),
    "ImageCrop": _type({"image": IMAGE, "region": ["BOUNDING_BOX", {"socketless": True}]}, "IMAGE"),
    "Curve": _type({"curve": ["CURVE", {"socketless": True}]}),
    "Load3D": _type({"model_file": ["COMBO", {"options": ["none"]}], "image": ["LOAD_3D", {}]}),
    "RecordAudio": _type({"audio": ["AUDIO_RECORD", {}]}, "AUDIO"),
    "Painter": _type({"mask": ["STRING", {"widgetType": "PAINTER"}]}, optional={"image": IMAGE}),
    "CustomCombo": _type({"choice": ["COMBO", {"options": []}]}, "STRING", "INT"),
    "KSampler": _type({"sampler_name": [["euler"]]}, "LATENT"),
}


def node(node_id: int | str, kind: str, *values: Any, **more: Any) -> dict[str, Any]:
    """A node; `inputs` are name=link, `outputs` are (type, *links)."""
    inputs = more.pop("inputs", {})
    outputs = more.pop("outputs", ())
    return {
        "id": node_id,
        "type": kind,
        "widgets_values": list(values),
        "inputs": [{"name": n, "type": "*", "link": link} for n, link in inputs.items()],
        "outputs": [{"name": "", "type": t, "links": list(links)} for t, *links in outputs],
        **more,
    }


def links(*ends: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Links of a subgraph: (id, origin, origin slot, target, target slot)."""
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
    return [dict(zip(keys, end, strict=True)) for end in ends]


def file(
    *nodes: dict[str, Any], wires: tuple[tuple[Any, ...], ...] = (), **more: Any
) -> dict[str, Any]:
    """A file of version 0.4; `wires` are (id, origin, origin slot, target, target slot)."""
    subgraphs = more.pop("subgraphs", ())
    return {
        "version": 0.4,
        "last_node_id": 0,
        "nodes": list(nodes),
        "links": [[*wire, "*"] for wire in wires],
        "definitions": {"subgraphs": list(subgraphs)},
        **more,
    }


def subgraph(name: str, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A definition; `inputs` and `outputs` are name=[inner links]."""
    ports = {
        side: [{"name": n, "type": "*", "linkIds": ids} for n, ids in more.pop(side, {}).items()]
        for side in ("inputs", "outputs")
    }
    wires = more.pop("wires", ())
    return {"id": name, "name": name, "nodes": list(nodes), "links": links(*wires), **ports, **more}


def prompt(*args: Any, **options: Any) -> dict[str, Any]:
    """The prompt of a file made of these nodes."""
    given = {key: options.pop(key) for key in ("rng", "now", "unknown") if key in options}
    return to_api(file(*args, **options), SERVER, **given)


def inputs_of(node_id: str, *args: Any, **options: Any) -> dict[str, Any]:
    """What one node of the prompt gets."""
    return prompt(*args, **options)[node_id]["inputs"]


def templates() -> dict[str, Any]:
    """Official templates, cut down, and the prompts that the official frontend made of them."""
    return json.loads((DATA / "templates.json").read_text())


def template_server() -> dict[str, Any]:
    return json.loads((DATA / "object_info.json").read_text())


def copied(value: Any) -> Any:
    return copy.deepcopy(value)
