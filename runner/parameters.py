"""Parameter nodes: read from a workflow, turned into a JSON Schema, validated, filled. Pure."""

import copy
import difflib
import itertools
import json
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from runner.errors import InvalidParameters, Problem, WorkflowError
from runner.graph import is_api_format
from runner.shape import mapping, sequence
from runner.workflow import Document, linear_data, nodes, title

if TYPE_CHECKING:  # importing it takes longer than completing a line
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

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
_OPTIONAL: Mapping[str, Mapping[str, Any]] = {"CallsheetInteger": {"choices": ""}}
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
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_LIMIT_WIDGETS = {
    "min",
    "max",
    "step",
    "min_length",
    "max_length",
    "max_duration",
    "min_rows",
    "max_rows",
}
SEED_MAX = 2**53 - 1  # the largest whole number that survives JSON in a browser


@dataclass(frozen=True)
class Parameter:
    """A knob of a workflow, as its node declares it."""

    name: str
    kind: str  # text, integer, number, boolean, choice, seed, one of MEDIA or of ROWS
    node_id: str
    title: str
    description: str
    required: bool
    value: Any  # what the file holds: the default, unless `optional` says it stands for nothing
    widgets: Mapping[str, Any]
    widget: str = "value"  # the widget that holds the value

    @property
    def limits(self) -> Mapping[str, Any]:
        """The schema keywords of this parameter's own limits."""
        return _LIMITS[self.kind](self.widgets)

    @property
    def choices(self) -> tuple[str, ...]:
        return _whole_choices(self.widgets) if self.kind == "integer" else _choices(self.widgets)

    @property
    def optional(self) -> bool:
        """Whether leaving it out means "not given", rather than the file's own value.

        The file says so with a 0 outside the limits, with an empty text, no file or no rows.
        """
        if self.required:
            return False
        if self.kind == "text":
            return self.value == ""
        if self.kind in MEDIA:
            return not self.value
        if self.kind in ROWS:
            return _rows(self.value, ROWS[self.kind]) == []
        return (
            self.kind in ("integer", "number") and self.value == 0 and not _allows(self.limits, 0)
        )

    @property
    def default(self) -> Any:
        """What the workflow runs with when the caller says nothing; None if nobody knows before."""
        if self.optional or self.draws:
            return None
        return _rows(self.value, ROWS[self.kind]) if self.kind in ROWS else self.value

    @property
    def draws(self) -> bool:
        """A seed that the runner draws anew for each job that gives none."""
        return self.kind == "seed" and self.widgets.get("control_after_generate") != "fixed"

    @property
    def schema(self) -> Schema:
        schema: Schema = {"title": self.title, "description": self.description, **self.limits}
        if self.required:
            example = _rows(self.value, ROWS[self.kind]) if self.kind in ROWS else self.value
            return {**schema, "examples": [example]} if example not in ("", None, []) else schema
        if self.default is None:
            enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
            return {**schema, "type": [schema["type"], "null"], **enum}
        return {**schema, "default": self.default}


def read(document: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The workflow's parameters in the order of its App view, then of the file.

    An API prompt that was made from such a workflow has them as well. Raises WorkflowError with
    everything that is wrong with them: names, limits that are no numbers, values that a link feeds.
    """
    if is_api_format(document):
        found = [p for i, node in document.items() if (p := from_prompt(str(i), mapping(node)))]
    else:
        found = [_parameter(node) for node in nodes(document) if str(node.get("type")) in WIDGETS]
    names = [parameter.name for parameter in found]
    wrong = [problem for p in found for problem in _broken(p)]
    wrong += [f"{n!r} is the name of {names.count(n)} parameters" for n in sorted({*names}) if n and
              names.count(n) > 1]  # fmt: skip
    wrong += [] if is_api_format(document) else list(_without_effect(nodes(document)))
    if wrong:
        raise WorkflowError("; ".join(wrong))
    order = {node_id: index for index, node_id in enumerate(_app_view_order(document))}
    return tuple(sorted(found, key=lambda p: order.get(p.node_id, len(order))))


def _broken(parameter: Parameter) -> Iterator[str]:
    where = f"{parameter.title} (node {parameter.node_id})"
    if not parameter.name:
        yield f"{where} has no name"
    elif not _NAME.fullmatch(parameter.name):
        yield f"{where}: {parameter.name!r} is no name; take small letters, digits and _"
    for limit in _LIMIT_WIDGETS & parameter.widgets.keys():
        value: Any = parameter.widgets[limit]
        if not _finite(value):
            yield f"{where}: {limit} {value!r} is not a number"
    if parameter.kind == "integer":
        for choice in parameter.choices:
            if not _WHOLE.fullmatch(choice):
                yield f"{where}: its choice {choice!r} is no whole number; write 24, 25, 30"


def _without_effect(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Parameters whose value nobody would see: better refused than taken and forgotten."""
    for node in found:
        if str(node.get("type")) not in WIDGETS:
            continue
        where = f"{title(node)} (node {node.get('id')})"
        if node.get("mode") in (2, 4):
            yield f"{where} is muted or bypassed, so it gives no value"
        for slot in map(mapping, sequence(node.get("inputs"))):
            if slot.get("name") == "value" and slot.get("link") is not None:
                yield f"{where}: a link feeds its value, so a caller's would be lost"


def schema(parameters: Sequence[Parameter], *, name: str, description: str = "") -> Schema:
    """The JSON Schema (draft 2020-12) of a request's `params`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": description,
        "type": "object",
        "properties": {p.name: p.schema for p in parameters},
        "required": [p.name for p in parameters if p.required],
        "additionalProperties": False,
    }


def validate(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter's value for a job that gives `given`; None means "not given".

    Raises InvalidParameters with every problem at once.
    """
    errors = _validator()(schema(parameters, name="params")).iter_errors(dict(given))
    by_name = {p.name: p for p in parameters}
    # A value out of range is mostly off its step as well: the first is enough to mend it.
    ordered = sorted(errors, key=lambda error: error.validator == "x-step")
    problems: dict[str, Problem] = {}
    for problem in (p for error in ordered for p in _problems(error, by_name, given)):
        problems.setdefault(problem.parameter, problem)
    for name, value in given.items():
        if not _is_text(name, value):
            problems.setdefault(name, Problem(ascii(name), "holds half a character: not UTF-8"))
    wrong = {name.partition("[")[0] for name in problems}
    for parameter in (p for p in parameters if p.name not in wrong):
        found = (*_repeated(parameter, given), *_misplaced(parameter, given))
        problems |= {problem.parameter: problem for problem in found}
    if problems:
        raise InvalidParameters(list(problems.values()))
    return {p.name: _resolve(p, given.get(p.name)) for p in parameters}


def unfit(parameters: Sequence[Parameter]) -> list[Problem]:
    """What a file says of its parameters and cannot keep: limits that allow nothing, a default outside them."""
    problems: list[Problem] = []
    for p in parameters:
        if p.kind == "choice" and not p.choices:
            problems.append(Problem(p.name, "offers no choices"))
        elif p.kind in ("integer", "number") and "enum" not in p.limits:
            low, high = p.limits["minimum"], p.limits["maximum"]
            if low > high:
                problems.append(Problem(p.name, f"no value lies between {low} and {high}"))
    wrong = {problem.parameter for problem in problems}
    used = [p for p in parameters if p.name not in wrong and not p.required]
    try:
        validate(used, {p.name: p.default for p in used if p.default is not None})
    except InvalidParameters as error:
        problems += [Problem(e.parameter, f"its default {e.message}") for e in error.problems]
    return problems


_ROW = re.compile(r"(?:^|; )row ([0-9]+): ")


def blamed(parameters: Sequence[Parameter], said: str) -> list[Problem]:
    """By parameter, what a node of the pack says: `width: …; keyframes: row 2: …`, from 1. Pure.

    Empty if it begins with another name: then it is not, or not only, about parameters.
    """
    names = "|".join(re.escape(p.name) for p in parameters)
    before, *found = re.split(rf"(?:^|; )({names}): ", said) if names else [said]
    if before:
        return []
    problems: list[Problem] = []
    for name, message in zip(found[::2], found[1::2], strict=True):
        whole, *rows = _ROW.split(message)
        problems += [Problem(name, whole)] if whole else []
        problems += [
            Problem(f"{name}[{int(number) - 1}]", text)
            for number, text in zip(rows[::2], rows[1::2], strict=True)
        ]
    return problems


def _is_text(*values: Any) -> bool:
    try:
        json.dumps(values, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def from_text(parameters: Sequence[Parameter], texts: Mapping[str, str]) -> dict[str, Any]:
    """Command-line texts as typed values; what does not fit its type stays for validate() to name."""
    by_name = {p.name: p for p in parameters}
    return {
        name: _typed(by_name[name].kind, text) if name in by_name else text
        for name, text in texts.items()
    }


def fill(
    document: Document, parameters: Sequence[Parameter], values: Mapping[str, Any]
) -> Document:
    """The workflow with the job's values in its parameter nodes; it shares what is not filled. Pure."""
    by_id = {parameter.node_id: parameter for parameter in parameters}
    if is_api_format(document):
        return {
            node_id: _filled_prompt(node, by_id[node_id], values) if node_id in by_id else node
            for node_id, node in document.items()
        }
    filled = (
        _filled(node, by_id[str(node.get("id"))], values) if str(node.get("id")) in by_id else node
        for node in nodes(document)
    )
    return {**document, "nodes": list(filled)}


def _filled_prompt(
    node: Mapping[str, Any], parameter: Parameter, values: Mapping[str, Any]
) -> dict[str, Any]:
    stored = _stored(parameter, values[parameter.name])
    return {**node, "inputs": {**node["inputs"], "value": stored}}


def _filled(
    node: Mapping[str, Any], parameter: Parameter, values: Mapping[str, Any]
) -> dict[str, Any]:
    stored = copy.copy(node["widgets_values"])
    names = ("value", "control_after_generate") if isinstance(stored, dict) else (0, 1)
    stored[names[0]] = _stored(parameter, values[parameter.name])
    if parameter.kind == "seed":
        stored[names[1]] = "fixed"  # opened in the editor, the file renders this video again
    return {**node, "widgets_values": stored}


def _stored(parameter: Parameter, value: Any) -> Any:
    """What the node holds: "not given" is an empty text, a 0 or no rows.

    A file's name and the text of rows are taken as they are; a list of rows becomes such a text.
    """
    if parameter.kind in ROWS:
        if isinstance(value, str):
            return value
        return json.dumps([_node_row(row, ROWS[parameter.kind]) for row in value or ()])
    return ("" if parameter.kind in ("text", *MEDIA) else 0) if value is None else value


def _node_row(row: Mapping[str, Any], kind: RowKind) -> dict[str, Any]:
    return {kind.cells[key].column if key in kind.cells else key: row[key] for key in row}


def _rows(text: Any, kind: RowKind) -> Any:
    """The rows that a parameter node holds, by the callers' keys; what is no list of rows as it is."""
    try:
        rows: object = json.loads(text or "[]")
    except (TypeError, ValueError):
        return text
    if not isinstance(rows, list):
        return text
    ours = {cell.column: key for key, cell in kind.cells.items()}
    return [
        # An empty cell of the list editor is no value.
        {ours.get(key, key): cell for key, cell in mapping(row).items() if cell not in (None, "")}
        for row in sequence(cast(object, rows))
    ]


def from_prompt(node_id: str, node: Mapping[str, Any]) -> Parameter | None:
    """The parameter that a node of an API prompt is; None if it is another node."""
    kind, inputs = str(node.get("class_type")), mapping(node.get("inputs"))
    if kind not in WIDGETS:
        return None
    optional = _OPTIONAL.get(kind, {})
    widgets = {name: inputs.get(name, optional.get(name)) for name in WIDGETS[kind]}
    shown = mapping(node.get("_meta")).get("title")
    return _from_widgets(kind, widgets, node_id=node_id, shown=str(shown or kind))


def _parameter(node: Mapping[str, Any]) -> Parameter:
    kind = str(node["type"])
    names, optional = WIDGETS[kind], _OPTIONAL.get(kind, {})
    by_name = mapping(node.get("widgets_values"))
    values = sequence(node.get("widgets_values"))
    if by_name:
        widgets = {name: by_name.get(name, optional.get(name)) for name in names}
    else:
        widgets = {**optional, **dict(zip(names, values, strict=False))}
    if missing := [name for name in names if name not in widgets]:
        raise WorkflowError(
            f"{title(node)} (node {node.get('id')}) holds no values for {', '.join(missing)}"
        )
    return _from_widgets(kind, widgets, node_id=str(node.get("id")), shown=title(node))


def _from_widgets(kind: str, widgets: Mapping[str, Any], *, node_id: str, shown: str) -> Parameter:
    return Parameter(
        name=str(widgets["name"] or ""),
        kind=kind.removeprefix("Callsheet").lower(),
        node_id=node_id,
        title=shown,
        description=str(widgets["description"] or ""),
        required=widgets["required"] is True,
        value=widgets["value"],
        widgets=widgets,
    )


def _app_view_order(document: Mapping[str, Any]) -> list[str]:
    """Node ids of App view's form. An entry's id is `7`, or `graph-uuid:7:value` from the builder."""
    entries = map(sequence, sequence(linear_data(document).get("inputs")))
    ids = [str(entry[0]) for entry in entries if entry]
    return [i.split(":")[1] if i.count(":") == 2 else i for i in ids]


def _text_limits(widgets: Mapping[str, Any]) -> Schema:
    limits: Schema = {"type": "string"}
    if widgets["min_length"]:
        limits["minLength"] = widgets["min_length"]
    if widgets["max_length"]:
        limits["maxLength"] = widgets["max_length"]
    return limits


def _integer_limits(widgets: Mapping[str, Any]) -> Schema:
    choices = _whole_choices(widgets)  # they stand in place of min, max and step
    if choices:
        return {"type": "integer", "enum": list(dict.fromkeys(map(int, choices)))}
    return {"type": "integer", **_range(widgets)}


def _number_limits(widgets: Mapping[str, Any]) -> Schema:
    return {"type": "number", **_range(widgets)}


def _range(widgets: Mapping[str, Any]) -> Schema:
    low, step = widgets["min"], widgets["step"]
    limits: Schema = {"minimum": low, "maximum": widgets["max"]}
    if step and not (isinstance(step, int) and step == 1):
        # A step counts from the minimum, which no standard keyword says unless it divides it.
        limits |= {"multipleOf": step} if _is_multiple(low, step) else {}
        limits["x-step"] = {"from": low, "by": step}
    return limits


def _choice_limits(widgets: Mapping[str, Any]) -> Schema:
    return {"type": "string", "enum": list(_choices(widgets))}


def _media_limits(widgets: Mapping[str, Any], kind: str) -> Schema:
    limits: Schema = {"type": "string", "minLength": 1, "format": "uri-reference", "x-media": kind}
    if widgets.get("max_duration"):
        limits["x-max-duration"] = widgets["max_duration"]  # seconds
    return limits


def _keyframes_limits(widgets: Mapping[str, Any]) -> Schema:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    cells: Schema = {
        "image_url": _media_limits({}, "image"),
        "frame_position": {"anyOf": [{"enum": ["first", "last"]}, share]},
        "strength": share,
    }
    return _list_limits(widgets, "keyframes", cells)


def _speakers_limits(widgets: Mapping[str, Any]) -> Schema:
    number, length = {"type": "number", "minimum": 0}, {"type": "number", "exclusiveMinimum": 0}
    cells: Schema = {
        "audio_url": _media_limits(widgets, "audio"),
        "bbox": {
            "type": ["array", "null"],
            "prefixItems": [number, number, length, length],
            "minItems": 4,
            "maxItems": 4,
            "description": "Where the speaker is seen: x, y of the upper left corner, width and "
            "height, in pixels of the picture, or as shares of it where none is above 1. "
            "Without it: of two speakers, the first on the left half and the second on the right.",
        },
        "mask_url": {
            **_media_limits({}, "image"),
            "type": ["string", "null"],
            "description": "A picture that is white where the speaker is seen; "
            "it takes precedence over bbox.",
        },
    }
    return _list_limits(widgets, "speakers", cells)


def _list_limits(widgets: Mapping[str, Any], kind: str, cells: Schema) -> Schema:
    row = {
        "type": "object",
        "properties": cells,
        "required": [key for key, cell in ROWS[kind].cells.items() if cell.required],
        "additionalProperties": False,
    }
    least, most = widgets["min_rows"], widgets["max_rows"]
    # No standard keyword says that rows differ in one key.
    once = {"x-unique": ROWS[kind].once} if ROWS[kind].once else {}
    return {"type": "array", "minItems": least, "maxItems": most, "items": row, **once}


_LIMITS: Mapping[str, Callable[[Mapping[str, Any]], Schema]] = {
    "text": _text_limits,
    "integer": _integer_limits,
    "number": _number_limits,
    "boolean": lambda _: {"type": "boolean"},
    "choice": _choice_limits,
    "seed": lambda _: {"type": "integer", "minimum": 0, "maximum": SEED_MAX},
    "image": lambda widgets: _media_limits(widgets, "image"),
    "audio": lambda widgets: _media_limits(widgets, "audio"),
    "video": lambda widgets: _media_limits(widgets, "video"),
    "keyframes": _keyframes_limits,
    "speakers": _speakers_limits,
}


def _choices(widgets: Mapping[str, Any]) -> tuple[str, ...]:
    lines = str(widgets.get("choices") or "").splitlines()
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _whole_choices(widgets: Mapping[str, Any]) -> tuple[str, ...]:
    """`24, 25, 30`, or one per line."""
    parts = re.split(r"[\s,]+", str(widgets.get("choices") or ""))
    return tuple(dict.fromkeys(part for part in parts if part))


def _within(value: float, limits: Mapping[str, Any]) -> bool:
    return limits["minimum"] <= value <= limits["maximum"]


def _allows(limits: Mapping[str, Any], value: float) -> bool:
    """Whether a number could be meant as a value, its step aside."""
    return value in limits["enum"] if "enum" in limits else _within(value, limits)


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    try:
        # 0.1 + 0.2 is 0.30000000000000004, and people mean 0.3; the pack's nodes allow as much.
        return abs(value / step - round(value / step)) <= 1e-6
    except OverflowError:
        return False


def _resolve(parameter: Parameter, given: Any) -> Any:
    if given is None:
        return random.SystemRandom().randint(0, SEED_MAX) if parameter.draws else parameter.default
    return int(given) if parameter.kind in ("integer", "seed") else given


def _typed(kind: str, text: str) -> Any:
    if kind == "boolean":
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return words.get(text.lower(), text)
    reads: Mapping[str, Callable[[str], Any]] = {
        "integer": int,
        "seed": int,
        "number": float,
        **dict.fromkeys(ROWS, json.loads),
    }
    try:
        return reads[kind](text) if kind in reads else text
    except ValueError:
        return text


# --- validation: jsonschema finds, we say it ------------------------------------------------


def _finite(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _on_step(_validator: Any, step: Mapping[str, float], value: Any, _schema: Any) -> Any:
    from jsonschema import ValidationError

    try:
        wrong = _finite(value) and not _is_multiple(value - step["from"], step["by"])
    except OverflowError:  # far beyond the limits, and told by them
        return
    if wrong:
        yield ValidationError("not on the step")


@cache
def _validator() -> "Callable[[Schema], Validator]":
    from jsonschema import Draft202012Validator, validators

    extend = cast("Callable[..., Callable[[Schema], Validator]]", validators.extend)
    return extend(
        Draft202012Validator,
        {"x-step": _on_step, "multipleOf": None},  # x-step says it better
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine("number", _is_number),
    )


def _is_number(_checker: Any, value: Any) -> bool:
    return _finite(value)


def _problems(
    error: "ValidationError", parameters: Mapping[str, Parameter], given: Mapping[str, Any]
) -> list[Problem]:
    path = list(error.absolute_path)
    if len(path) > 1:
        return _row_problems(error, path, ROWS[parameters[str(path[0])].kind], given)
    if path:
        name = str(path[0])
        return [Problem(name, _wrong(parameters[name], given[name], str(error.validator)))]
    if error.validator == "required":
        missing = [p for p in parameters.values() if p.required and p.name not in given]
        # jsonschema reports each missing name by itself: take the one that this error is about.
        return [
            Problem(p.name, f"is required: {p.description or p.title}")
            for p in missing
            if repr(p.name) in error.message
        ]
    return [_unknown(name, parameters) for name in given if name not in parameters]


def _row_problems(
    error: "ValidationError", path: Sequence[str | int], kind: RowKind, given: Mapping[str, Any]
) -> list[Problem]:
    """Of one row of a list: `keyframes[1].frame_position: 1.5 is not between 0 and 1`."""
    row, value = f"{path[0]}[{path[1]}]", cast(Any, error.instance)
    if len(path) > 2:
        key = str(path[2])
        cell = given[str(path[0])][path[1]][key]  # an error may lie deeper, in a number of it
        return [Problem(f"{row}.{key}", _wrong_cell(key, kind, cell, str(error.validator)))]
    if error.validator == "required":
        absent = [key for key, cell in kind.cells.items() if cell.required and key not in value]
        return [Problem(f"{row}.{key}", "is required") for key in absent]
    if error.validator == "additionalProperties":
        unknown = [key for key in mapping(value) if key not in kind.cells]
        return [Problem(f"{row}.{key}", f"is no key of a {kind.noun}; {_near(key, kind.cells)}")
                for key in unknown]  # fmt: skip
    return [Problem(row, f"{_short(value)} is not an object with {', '.join(kind.cells)}")]


def _wrong_cell(key: str, kind: RowKind, value: Any, keyword: str) -> str:
    shown = _short(value)
    if media := kind.cells[key].media:
        return _EMPTY if keyword == "minLength" else f"{shown} is not {_TYPE_NAMES[media]}"
    match key, keyword:
        case "bbox", "exclusiveMinimum" if all(_finite(n) and n >= 0 for n in value):
            return f"{shown} has no area; width and height are above 0"
        case "bbox", _:
            return f"{shown} is not x, y, width, height: four numbers of 0 or more"
        case "frame_position", _ if not _finite(value):
            return f"{shown} is not first, last or a number between 0 and 1"
        case _, "type":
            return f"{shown} is not a number"
        case _:
            return f"{shown} is not between 0 and 1"


_PLACES: Mapping[Any, float] = {"first": 0, "last": 1}


def _repeated(parameter: Parameter, given: Mapping[str, Any]) -> Iterator[Problem]:
    """Rows that say the same where each must say something else.

    A first row that says nothing is at `first`, a last one at `last`.
    """
    kind = ROWS.get(parameter.kind)
    if kind is None or not kind.once:
        return
    seen: dict[Any, int] = {}
    cells = [mapping(row).get(kind.once) for row in sequence(given.get(parameter.name))]
    if cells and cells[0] is None:
        cells[0] = "first"
    if cells and cells[-1] is None:
        cells[-1] = "last"
    for index, cell in enumerate(cells):
        earlier = index if cell is None else seen.setdefault(_PLACES.get(cell, cell), index)
        if earlier != index:
            where = f"{parameter.name}[{earlier}]"
            yield Problem(
                f"{parameter.name}[{index}].{kind.once}",
                f"{_short(cell)} is the place of {where} ({_short(cells[earlier])}), too",
            )


_A_MILLIONTH = 1e-6  # of a picture: 0.9 + 0.1 may be above 1 to a computer


def _misplaced(parameter: Parameter, given: Mapping[str, Any]) -> Iterator[Problem]:
    """Boxes of speakers that leave the picture, or overlap: no voice could be told its face.

    A box is in shares where no number of it is above 1. A mask stands for its row's box.
    """
    if parameter.kind != "speakers":
        return
    rows = [mapping(row) for row in sequence(given.get(parameter.name))]
    boxes = {i: row["bbox"] for i, row in enumerate(rows) if row.get("bbox")}
    for index, box in boxes.items():
        ends = {"x + width": box[0] + box[2], "y + height": box[1] + box[3]}
        for side, end in ends.items() if _in_shares(box) else ():
            if end > 1 + _A_MILLIONTH:
                said = (
                    f"{_short(box)} leaves the picture: {side} is {_number(end)} of it, at most 1"
                )
                yield Problem(f"{parameter.name}[{index}].bbox", said)
    used = [(i, box) for i, box in boxes.items() if not rows[i].get("mask_url")]
    for (first, one), (second, other) in itertools.pairwise(used):  # there are two at most
        if _in_shares(one) == _in_shares(other) and _overlap(one, other):
            said = f"{_short(other)} overlaps {parameter.name}[{first}].bbox ({_short(one)})"
            yield Problem(f"{parameter.name}[{second}].bbox", said)


def _in_shares(box: Sequence[float]) -> bool:
    return all(number <= 1 for number in box)


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(
        min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - max(one[axis], other[axis])
        > _A_MILLIONTH
        for axis in (0, 1)
    )


def _unknown(name: str, parameters: Mapping[str, Parameter]) -> Problem:
    return Problem(name, f"is no parameter of this workflow; {_near(name, parameters)}")


def _near(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there is {', '.join(known) or 'none'}"


_EMPTY = "is empty; a URL is needed"
_TYPE_NAMES = {
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "choice": "one of its choices",
    "seed": "a whole number",
    "image": "the URL of an image",
    "audio": "the URL of a sound",
    "video": "the URL of a video",
    "keyframes": "a list of keyframes",
    "speakers": "a list of speakers",
}


def _wrong(parameter: Parameter, value: Any, keyword: str) -> str:
    limits = parameter.limits
    shown = _short(value)
    match keyword:
        case "type" if parameter.kind in ROWS:
            return f"{shown} is not {_TYPE_NAMES[parameter.kind]}{_bad_json(value)}; write {ROWS[parameter.kind].shape}"
        case "type" if parameter.kind != "choice":
            return f"{shown} is not {_TYPE_NAMES[parameter.kind]}"
        case "enum" if parameter.kind == "integer" and _finite(value):
            return _no_choice(value, limits["enum"])
        case "type" | "enum":
            near = difflib.get_close_matches(str(value), parameter.choices, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"{shown} is not one of {', '.join(parameter.choices)}{hint}"
        case "minimum" | "maximum":
            return f"{shown} is not between {_number(limits['minimum'])} and {_number(limits['maximum'])}"
        case "x-step":
            return _off_step(value, limits)
        case "minLength" if parameter.kind in MEDIA:
            return _EMPTY
        case "minItems":
            return f"{_counted(value, parameter)}; at least {limits['minItems']}"
        case "maxItems":
            why = ROWS[parameter.kind].why_most
            said = f"{_counted(value, parameter)}; at most {limits['maxItems']}"
            return f"{said}: {why}" if why and limits["maxItems"] > 1 else said
        case "minLength":
            return f"{len(value)} characters; at least {limits['minLength']} are needed"
        case "maxLength":
            return f"{len(value)} characters; at most {limits['maxLength']} are taken"
        case _:
            raise AssertionError(f"no wording for {keyword}")


def _bad_json(value: Any) -> str:
    """Where a text that was meant as a list breaks off being one."""
    try:
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            json.loads(value)
    except ValueError as error:
        return f": no JSON, {str(error)[:1].lower()}{str(error)[1:]}"
    return ""


def _no_choice(value: int, choices: Sequence[int]) -> str:
    distance = min(abs(choice - value) for choice in choices)
    near = sorted(choice for choice in choices if abs(choice - value) == distance)
    offered = ", ".join(map(str, choices))
    return f"{_number(value)} is not one of {offered}; nearest {' or '.join(map(str, near))}"


def _off_step(value: float, limits: Mapping[str, Any]) -> str:
    low, by = limits["x-step"]["from"], limits["x-step"]["by"]
    below = low + (value - low) // by * by
    near = [n for n in (below, below + by) if _within(n, limits)]
    return f"{_number(value)} is not {step_rule(limits)}; nearest {' or '.join(map(_number, near))}"


def step_rule(limits: Mapping[str, Any]) -> str:
    """Which numbers a parameter with an `x-step` takes, in words: `a multiple of 16`, `4k+1`. Pure."""
    low, by = limits["x-step"]["from"], limits["x-step"]["by"]
    if "multipleOf" in limits:
        return f"a multiple of {_number(by)}"
    if isinstance(low, int) and isinstance(by, int):
        return f"{by}k+{low % by}"  # as the field writes it: 4k+1
    return f"{_number(low)} plus a multiple of {_number(by)}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _counted(rows: Sequence[object], parameter: Parameter) -> str:
    noun = ROWS[parameter.kind].noun
    return f"1 {noun}" if len(rows) == 1 else f"{len(rows)} {noun}s"


# What may be secret in an address: what stands before an @ and behind a question mark.
_SECRETS = re.compile(r"(?<=://)[^/@\s]*@|\?[^\s'\"]*")


def _short(value: Any) -> str:
    text = repr(value)
    if "://" in text:
        text = _SECRETS.sub("…", text)
    return text if len(text) <= 60 else f"{text[:57]}…"
