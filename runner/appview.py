"""App-view inputs of a workflow without parameter nodes, read as its parameters. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.graph.editing import Setting, settings_of
from runner.graph.specs import Spec
from runner.parameters import SEED_MAX, Parameter
from runner.shape import mapping, sequence
from runner.workflow import Document, linear_data

_MEDIA = {"image_upload": "image", "audio_upload": "audio", "video_upload": "video"}
_KINDS = {"INT": "integer", "FLOAT": "number", "STRING": "text", "BOOLEAN": "boolean"}
_GRAPH_ID = re.compile(r"[0-9a-f-]{36}:")


def read(document: Document, object_info: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The App view's inputs as parameters, in its order.

    Types, limits, choices and descriptions come from the node definitions, names from the labels
    of the widgets. What the App view cannot show (a linked widget, a stale entry) is left out.
    Raises WorkflowError if the file is broken.
    """
    settings = settings_of(document, object_info)
    found = [_setting(entry, settings) for entry in _entries(document)]
    chosen = list({(s.node_id, s.widget): s for s in found if s is not None}.values())
    names = _unique([_name(_label(document, s)) for s in chosen])
    return tuple(
        _parameter(setting, name, _label(document, setting))
        for setting, name in zip(chosen, names, strict=True)
    )


def parameter_of(setting: Setting, name: str) -> Parameter:
    """Any single widget as a parameter, to check a value for it."""
    return _parameter(setting, name, setting.widget)


def _entries(document: Document) -> Iterator[tuple[str, str]]:
    """(node id, widget), from `[5, "text"]` as from the App builder's `["<graph>:5:text"]`."""
    for entry in map(sequence, sequence(linear_data(document).get("inputs"))):
        if not entry:
            continue
        node_id = str(entry[0])
        if _GRAPH_ID.match(node_id):
            _, _, node_id = node_id.partition(":")
            node_id, _, widget = node_id.rpartition(":")
            yield node_id, widget
        elif len(entry) > 1:
            yield node_id, str(entry[1])


def _setting(entry: tuple[str, str], settings: Sequence[Setting]) -> Setting | None:
    """A root widget; or the host's input that stands for an inner one, as older files say it."""
    root = [s for s in settings if ":" not in s.node_id]
    here = (s for s in root if (s.node_id, s.widget) == entry)
    inside = (s for s in root if entry in s.shows)
    return next(here, None) or next(inside, None)


def _label(document: Document, setting: Setting) -> str:
    for node in map(mapping, sequence(document.get("nodes"))):
        if str(node.get("id")) == setting.node_id:
            for slot in map(mapping, sequence(node.get("inputs"))):
                named = mapping(slot.get("widget")).get("name") or slot.get("name")
                if named == setting.widget and slot.get("label"):
                    return str(slot["label"])
    return setting.widget


def _name(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "input"


def _unique(names: Sequence[str]) -> list[str]:
    """`text`, `text_2`, …: in order, and never a name that another has already."""
    ordered: list[str] = []
    for name in names:
        number, unique = 1, name
        while unique in ordered:
            number += 1
            unique = f"{name}_{number}"
        ordered.append(unique)
    return ordered


def _parameter(setting: Setting, name: str, label: str) -> Parameter:
    spec = setting.spec
    kind = _kind(setting, spec)
    return Parameter(
        name=name,
        kind=kind,
        node_id=setting.node_id,
        title=label,
        description=str(spec.options.get("tooltip") or "") if spec else "",
        required=False,
        value=setting.value,
        widgets=_limits(kind, spec, draws=setting.draws),
        widget=setting.widget,
    )


def _kind(setting: Setting, spec: Spec | None) -> str:
    if spec is None:
        return "text"  # nobody knows what
    if spec.uploads:
        flags = (kind for flag, kind in _MEDIA.items() if spec.options.get(flag))
        return next(flags, "text")  # of another file, its name
    if setting.draws:
        return "seed"
    if spec.type == "COMFY_DYNAMICCOMBO_V3" or spec.offered is not None:
        return "choice"
    return _KINDS.get(spec.type.partition(",")[0], "text")


def _limits(kind: str, spec: Spec | None, *, draws: bool) -> Mapping[str, Any]:
    options = spec.options if spec else mapping(None)
    if kind in ("integer", "number"):
        # A FLOAT's step is how the editor's arrows move; an INT's is what the editor rounds to.
        step = options.get("step", 1) if kind == "integer" else 0
        low, high = options.get("min", -SEED_MAX), options.get("max", SEED_MAX)
        return {"min": low, "max": high, "step": step}
    if kind == "choice" and spec is not None:
        offered = spec.offered
        if offered is None:
            offered = tuple(mapping(o).get("key") for o in sequence(options.get("options")))
        return {"choices": "\n".join(str(o) for o in offered)}
    if kind == "seed":
        return {"control_after_generate": "randomize" if draws else "fixed"}
    return {"min_length": 0, "max_length": 0}
