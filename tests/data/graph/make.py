#!/usr/bin/env python3
"""Makes templates.json and object_info.json: official templates that between them show every rule.

usage: make.py TEMPLATES_DIR TRUTH_DIR OBJECT_INFO

A template is cut down to what a conversion reads; its prompt is what the official frontend made.
"""

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHOSEN = (
    "04_hunyuan_3d_2.1_subgraphed",  # proxyWidgets with "-1", values of hosts
    "api_sync_so_lip_sync_video",  # audio players, dynamic combos, bypass
    "gsl_starter_1_3",  # nested and bypassed subgraphs
    "hidream_e1_full",  # reroutes
    "hunyuan_video_text_to_video",  # muted nodes, video output
    "utility_interpolation_image_upscale",  # image compare
    "video_kandinsky5_i2v",  # duplicate node ids
)
NODE_KEYS = ("id", "type", "title", "mode", "widgets_values", "inputs", "outputs", "properties")
SLOT_KEYS = ("name", "type", "link", "links", "widget")
PROPERTIES = ("proxyWidgets", "proxyWidgetErrorQuarantine", "Node name for S&R")
OPTIONS_DROPPED = ("tooltip", "placeholder", "display", "advanced", "gradient_stops")
CHOICES_KEPT = 2


def node(raw: dict[str, Any]) -> dict[str, Any]:
    kept = {key: raw[key] for key in NODE_KEYS if key in raw}
    for side in ("inputs", "outputs"):
        kept[side] = [{k: s[k] for k in SLOT_KEYS if k in s} for s in raw.get(side) or []]
    kept["properties"] = {k: v for k, v in raw.get("properties", {}).items() if k in PROPERTIES}
    if raw["type"] in ("Note", "MarkdownNote"):
        kept["widgets_values"] = [""]
    return kept


def graph(raw: dict[str, Any]) -> dict[str, Any]:
    ends = ("name", "type", "linkIds")
    kept = {"nodes": [node(n) for n in raw["nodes"]], "links": raw.get("links", [])}
    for key in ("id", "name", "version", "last_node_id"):
        if key in raw:
            kept[key] = raw[key]
    for side in ("inputs", "outputs"):
        if side in raw:
            kept[side] = [{k: p[k] for k in ends if k in p} for p in raw[side]]
    subgraphs = raw.get("definitions", {}).get("subgraphs", [])
    return kept | (
        {"definitions": {"subgraphs": [graph(g) for g in subgraphs]}} if subgraphs else {}
    )


def spec(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {
            key: value[:CHOICES_KEPT] if key == "options" and is_choices(value) else spec(value)
            for key, value in raw.items()
            if key not in OPTIONS_DROPPED
        }
    if isinstance(raw, list) and raw and isinstance(raw[0], list):
        return [raw[0][:CHOICES_KEPT], *map(spec, raw[1:])]
    return [spec(item) for item in raw] if isinstance(raw, list) else raw


def is_choices(value: Any) -> bool:
    return isinstance(value, list) and all(not isinstance(item, dict) for item in value)


def definition(raw: dict[str, Any]) -> dict[str, Any]:
    kept = {key: raw[key] for key in ("display_name", "input_order", "output") if key in raw}
    return kept | {"input": {k: spec(v) for k, v in raw["input"].items() if k != "hidden"}}


def main(templates: Path, truth: Path, object_info: Path) -> None:
    definitions = json.loads(object_info.read_text())
    cases = {
        name: {
            "workflow": graph(json.loads((templates / f"{name}.json").read_text())),
            "prompt": json.loads((truth / f"{name}.api.json").read_text()),
        }
        for name in CHOSEN
    }
    types = {n["class_type"] for case in cases.values() for n in case["prompt"].values()}
    types |= {n["type"] for c in cases.values() for g in graphs(c["workflow"]) for n in g["nodes"]}
    used = {name: definition(definitions[name]) for name in sorted(types & definitions.keys())}
    for name, content in (("templates", cases), ("object_info", used)):
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (HERE / f"{name}.json").write_text(text + "\n")


def graphs(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [workflow, *workflow.get("definitions", {}).get("subgraphs", [])]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
