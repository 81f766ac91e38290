"""Which stand-in files an API prompt needs. Pure: no disk, no torch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, cast

from runner.errors import WorkflowError
from runner.rehearsal import ltx2, mochi, multitalk, wan
from runner.rehearsal.family import Family, Rule, StandIn
from runner.shape import mapping, sequence

FAMILIES: tuple[Family, ...] = (wan.FAMILY, mochi.FAMILY, ltx2.FAMILY, multitalk.FAMILY)

# What ComfyUI lists in its model folders, and what well-known packs add (gguf, onnx).
_SAFETENSORS = (".safetensors", ".sft")
_WEIGHTS = (*_SAFETENSORS, *[".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".onnx"])

# Parameter nodes of the pack whose value may be the name of a file.
_CHOICE = "CallsheetChoice"
_PARAMETERS = (_CHOICE, "CallsheetText")
_LORA = "CallsheetLora"

Prompt = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class _Wanted:
    """A model file that a node names."""

    node: str
    title: str
    class_type: str
    input: str
    file: str
    type: str  # the input of that name: the family that a text encoder is loaded for


def plan(
    prompt: Prompt, *, families: Sequence[Family] = FAMILIES, choices: bool = False
) -> tuple[StandIn, ...]:
    """The stand-ins for every model file that `prompt` names, each once, in a stable order.

    `prompt` is ComfyUI's API format: node id -> {class_type, inputs}. Of a file name that arrives
    by link, only one from a parameter node is seen. With `choices`, those of other choices that
    callers may make come along, as far as they are known. Raises WorkflowError naming every file
    that has no stand-in.
    """
    found = _found(prompt, families)
    problems = [_problem(wanted) for wanted, stand_in in found.items() if stand_in is None]
    if problems:
        raise WorkflowError(
            "cannot rehearse, there are no stand-in weights for:\n"
            + "\n".join(
                f"  node {p['node']} {p['title']!r}: {p['file']} ({p['why']})" for p in problems
            ),
            details={"models": problems},
        )
    stand_ins = {stand_in for stand_in in found.values() if stand_in is not None}
    for other in _other_choices(prompt) if choices else ():
        stand_ins |= {stand_in for stand_in in _found(other, families).values() if stand_in}
    return tuple(sorted(stand_ins, key=lambda s: (s.folder, s.name)))


def _found(prompt: Prompt, families: Sequence[Family]) -> dict[_Wanted, StandIn | None]:
    return {wanted: _stand_in(wanted, prompt, families) for wanted in _wanted(prompt)}


def _other_choices(prompt: Prompt) -> Iterator[Prompt]:
    """The prompt once for each line of each Choice."""
    for node_id, node in prompt.items():
        if node["class_type"] == _CHOICE:
            for line in str(_inputs(node).get("choices") or "").splitlines():
                yield {**prompt, node_id: {**node, "inputs": {"value": line.strip()}}}


def _wanted(prompt: Prompt) -> Iterator[_Wanted]:
    for node_id, node in prompt.items():
        class_type = str(node["class_type"])
        title = str(node.get("_meta", {}).get("title") or class_type)
        if class_type in _PARAMETERS:
            continue  # what takes the value is a loader, or not
        if class_type == _LORA and _inputs(node).get("strength") == 0:
            continue  # it is not loaded
        for name, value in _inputs(node).items():
            if (class_type, name) == (_LORA, "also"):
                continue  # names that the same file may have elsewhere; none of them need be there
            meant = _literal(value, prompt)
            if (class_type, name) == (_LORA, "lora_name"):
                meant = _spelled_out(meant, also=_inputs(node).get("also"))
            for file in _files(meant):
                kind = _literal(_inputs(node).get("type"), prompt)
                yield _Wanted(node_id, title, class_type, name, file, str(kind or ""))


def _literal(value: Any, prompt: Prompt) -> Any:
    """The value itself, or that of the parameter node it is linked to."""
    node = prompt.get(_source(value) or "", {})
    return _inputs(node).get("value") if node.get("class_type") in _PARAMETERS else value


def _spelled_out(name: Any, *, also: Any) -> Any:
    """The file of a line `name = file` in `also`; the name itself if there is none."""
    for line in str(also or "").splitlines():
        left, _, file = (part.strip() for part in line.partition(" = "))
        if file and left == name:
            return file
    return name


def _files(value: Any) -> Iterator[str]:
    """The weights that an input names: one file, or rows as JSON text, of which those that count."""
    if not isinstance(value, str):
        return
    if value.lower().endswith(_WEIGHTS):
        yield value
    elif value.lstrip().startswith("["):
        try:
            rows: Any = json.loads(value)
        except ValueError:
            return  # not rows
        for row in sequence(rows):
            if mapping(row).get("on", True) and mapping(row).get("strength") != 0:
                for cell in mapping(row).values():
                    yield from _files(cell)


def _stand_in(wanted: _Wanted, prompt: Prompt, families: Sequence[Family]) -> StandIn | None:
    if _unsafe(wanted.file) or not wanted.file.lower().endswith(_SAFETENSORS):
        return None
    for family in families:
        rule = _match(wanted, family.rules)
        if rule is None and (rule := _match(wanted, family.lora)):
            rule = rule if _applied_to(wanted.node, prompt, family) else None
        if rule:
            return StandIn(family.name, rule.kind, rule.folder, wanted.file)
    return None


def _match(wanted: _Wanted, rules: Sequence[Rule]) -> Rule | None:
    return next(
        (
            rule
            for rule in rules
            if (rule.class_type, rule.input) == (wanted.class_type, wanted.input)
            and rule.type in ("", wanted.type)
            and rule.pattern.search(wanted.file)
        ),
        None,
    )


def _applied_to(node_id: str, prompt: Prompt, family: Family) -> bool:
    """Whether a model of `family` flows into the node, through whatever stands between."""
    models = tuple(rule for rule in family.rules if rule.kind == family.model)
    above = _above(node_id, prompt)
    return any(_match(w, models) for w in _wanted(prompt) if w.node in above)


def _above(node_id: str, prompt: Prompt) -> set[str]:
    """The nodes whose outputs reach the node."""
    seen: set[str] = set()
    waiting = [node_id]
    while waiting:
        for value in _inputs(prompt.get(waiting.pop(), {})).values():
            source = _source(value)
            if source is not None and source not in seen:
                seen.add(source)
                waiting.append(source)
    return seen


def _source(value: Any) -> str | None:
    """The node id of a link `[node id, output index]`; None for a literal."""
    if not isinstance(value, list | tuple):
        return None
    link = cast("Sequence[Any]", value)
    return str(link[0]) if len(link) == 2 and isinstance(link[1], int) else None


def _inputs(node: Mapping[str, Any]) -> Mapping[str, Any]:
    return node.get("inputs") or {}


def _unsafe(name: str) -> bool:
    """Whether the name could lead out of the model folder."""
    path = PurePosixPath(name)
    return (
        path.is_absolute()
        or bool(PureWindowsPath(name).drive)
        or "\\" in name
        or not name.isprintable()
        or any(part.startswith(".") for part in path.parts)
    )


def _problem(wanted: _Wanted) -> dict[str, str]:
    if _unsafe(wanted.file):
        why = "the name must be a relative path inside the model folder"
    elif not wanted.file.lower().endswith(_SAFETENSORS):
        why = "stand-ins are .safetensors files"
    else:
        why = f"{wanted.class_type}.{wanted.input} with this name belongs to no known model family"
    return {
        "node": wanted.node,
        "title": wanted.title,
        "input": f"{wanted.class_type}.{wanted.input}",
        "file": wanted.file,
        "why": why,
    }
