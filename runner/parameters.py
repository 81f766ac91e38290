"""Parameter nodes: read from a workflow, turned into a JSON Schema, validated, filled. Pure."""

import copy
import difflib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from jsonschema import Draft202012Validator, TypeChecker, ValidationError, validators
from jsonschema.protocols import Validator

from runner.errors import InvalidParameters, Problem, WorkflowError
from runner.graph import is_api_format
from runner.shape import mapping, sequence
from runner.workflow import Document, linear_data, nodes, title

Schema: TypeAlias = dict[str, Any]

# The widgets of each parameter node in the order in which the editor stores their values.
# tests/comfy holds this against the pack's own node definitions.
_COMMON = ("name", "description", "required")
WIDGETS: Mapping[str, tuple[str, ...]] = {
    "CallsheetText": ("value", *_COMMON, "min_length", "max_length"),
    "CallsheetInteger": ("value", *_COMMON, "min", "max", "step"),
    "CallsheetNumber": ("value", *_COMMON, "min", "max", "step"),
    "CallsheetBoolean": ("value", *_COMMON),
    "CallsheetChoice": ("value", *_COMMON, "choices"),
    "CallsheetSeed": ("value", "control_after_generate", *_COMMON),
}
SEED_MAX = 2**53 - 1  # the largest whole number that survives JSON in a browser


@dataclass(frozen=True)
class Parameter:
    """A knob of a workflow, as its node declares it."""

    name: str
    kind: str  # text, integer, number, boolean, choice or seed
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
        return _choices(self.widgets)

    @property
    def optional(self) -> bool:
        """Whether leaving it out means "not given", rather than the file's own value.

        The file says so with a 0 outside the limits, or with an empty text.
        """
        if self.required:
            return False
        if self.kind == "text":
            return self.value == ""
        return (
            self.kind in ("integer", "number") and self.value == 0 and not _within(0, self.limits)
        )

    @property
    def default(self) -> Any:
        """What the workflow runs with when the caller says nothing; None if nobody knows before."""
        return None if self.optional or self.draws else self.value

    @property
    def draws(self) -> bool:
        """A seed that the runner draws anew for each job that gives none."""
        return self.kind == "seed" and self.widgets.get("control_after_generate") != "fixed"

    @property
    def schema(self) -> Schema:
        schema: Schema = {"title": self.title, "description": self.description, **self.limits}
        if self.required:
            return {**schema, "examples": [self.value]} if self.value not in ("", None) else schema
        if self.default is None:
            return {**schema, "type": [schema["type"], "null"]}
        return {**schema, "default": self.default}


def read(document: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The workflow's parameters in the order of its App view, then of the file.

    An API prompt that was made from such a workflow has them as well. Raises WorkflowError that
    lists every parameter node without a name of its own.
    """
    if is_api_format(document):
        found = [p for i, node in document.items() if (p := from_prompt(str(i), mapping(node)))]
    else:
        found = [_parameter(node) for node in nodes(document) if str(node.get("type")) in WIDGETS]
    names = [parameter.name for parameter in found]
    wrong = [f"{p.title} (node {p.node_id}) has no name" for p in found if not p.name]
    wrong += [f"{n!r} is the name of {names.count(n)} parameters" for n in sorted({*names}) if n and
              names.count(n) > 1]  # fmt: skip
    if wrong:
        raise WorkflowError("; ".join(wrong))
    order = {node_id: index for index, node_id in enumerate(_app_view_order(document))}
    return tuple(sorted(found, key=lambda p: order.get(p.node_id, len(order))))


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
    errors = _Validator(schema(parameters, name="params")).iter_errors(dict(given))
    by_name = {p.name: p for p in parameters}
    # A value out of range is mostly off its step as well: the first is enough to mend it.
    ordered = sorted(errors, key=lambda error: error.validator == "x-step")
    problems: dict[str, Problem] = {}
    for problem in (p for error in ordered for p in _problems(error, by_name, given)):
        problems.setdefault(problem.parameter, problem)
    if problems:
        raise InvalidParameters(list(problems.values()))
    return {p.name: _resolve(p, given.get(p.name)) for p in parameters}


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
    """A copy of the workflow with the job's values written into its parameter nodes."""
    filled = copy.deepcopy(document)
    if is_api_format(document):
        for parameter in parameters:
            value = values[parameter.name]
            filled[parameter.node_id]["inputs"]["value"] = _stored(parameter, value)
        return filled
    by_id = {str(node.get("id")): node for node in nodes(filled)}
    for parameter in parameters:
        value, stored = values[parameter.name], by_id[parameter.node_id]["widgets_values"]
        stored[0] = _stored(parameter, value)
        if parameter.kind == "seed":
            stored[1] = "fixed"  # opened in the editor, the file renders this video again
    return filled


def _stored(parameter: Parameter, value: Any) -> Any:
    """What the node holds: "not given" is an empty text or a 0."""
    return ("" if parameter.kind == "text" else 0) if value is None else value


def from_prompt(node_id: str, node: Mapping[str, Any]) -> Parameter | None:
    """The parameter that a node of an API prompt is; None if it is another node."""
    kind, inputs = str(node.get("class_type")), mapping(node.get("inputs"))
    if kind not in WIDGETS:
        return None
    widgets = {name: inputs.get(name) for name in WIDGETS[kind]}
    shown = mapping(node.get("_meta")).get("title")
    return _from_widgets(kind, widgets, node_id=node_id, shown=str(shown or kind))


def _parameter(node: Mapping[str, Any]) -> Parameter:
    kind = str(node["type"])
    stored = sequence(node.get("widgets_values"))
    names = WIDGETS[kind]
    if len(stored) < len(names):
        raise WorkflowError(
            f"{title(node)} (node {node.get('id')}) holds no values for {', '.join(names)}"
        )
    widgets = dict(zip(names, stored, strict=False))
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


_LIMITS: Mapping[str, Callable[[Mapping[str, Any]], Schema]] = {
    "text": _text_limits,
    "integer": _integer_limits,
    "number": _number_limits,
    "boolean": lambda _: {"type": "boolean"},
    "choice": _choice_limits,
    "seed": lambda _: {"type": "integer", "minimum": 0, "maximum": SEED_MAX},
}


def _choices(widgets: Mapping[str, Any]) -> tuple[str, ...]:
    lines = str(widgets.get("choices") or "").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _within(value: float, limits: Mapping[str, Any]) -> bool:
    return limits["minimum"] <= value <= limits["maximum"]


def _is_multiple(value: float, step: float) -> bool:
    return math.isclose(value / step, round(value / step), abs_tol=1e-9)


def _resolve(parameter: Parameter, given: Any) -> Any:
    if given is None:
        return random.SystemRandom().randint(0, SEED_MAX) if parameter.draws else parameter.default
    return int(given) if parameter.kind in ("integer", "seed") else given


def _typed(kind: str, text: str) -> Any:
    if kind == "boolean":
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return words.get(text.lower(), text)
    reads: Mapping[str, Callable[[str], Any]] = {"integer": int, "seed": int, "number": float}
    try:
        return reads[kind](text) if kind in reads else text
    except ValueError:
        return text


# --- validation: jsonschema finds, we say it ------------------------------------------------


def _finite(_checker: TypeChecker, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _on_step(_validator: Any, step: Mapping[str, float], value: Any, _schema: Any) -> Any:
    if _finite(_TYPES, value) and not _is_multiple(value - step["from"], step["by"]):
        yield ValidationError("not on the step")


_TYPES: TypeChecker = Draft202012Validator.TYPE_CHECKER.redefine("number", _finite)
_extend = cast(Callable[..., Callable[[Schema], Validator]], validators.extend)
_Validator = _extend(
    Draft202012Validator,
    {"x-step": _on_step, "multipleOf": None},  # x-step says it better
    type_checker=_TYPES,
)


def _problems(
    error: ValidationError, parameters: Mapping[str, Parameter], given: Mapping[str, Any]
) -> list[Problem]:
    if error.validator == "required":
        missing = [p for p in parameters.values() if p.required and p.name not in given]
        # jsonschema reports each missing name by itself: take the one that this error is about.
        return [
            Problem(p.name, f"is required: {p.description or p.title}")
            for p in missing
            if repr(p.name) in error.message
        ]
    if error.validator == "additionalProperties":
        return [_unknown(name, parameters) for name in given if name not in parameters]
    name = str(error.absolute_path[0])
    return [Problem(name, _wrong(parameters[name], given[name], str(error.validator)))]


def _unknown(name: str, parameters: Mapping[str, Parameter]) -> Problem:
    near = difflib.get_close_matches(name, parameters, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(parameters) or 'none'}"
    return Problem(name, f"is no parameter of this workflow; {hint}")


_TYPE_NAMES = {
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "choice": "one of its choices",
    "seed": "a whole number",
}


def _wrong(parameter: Parameter, value: Any, keyword: str) -> str:
    limits = parameter.limits
    shown = _short(value)
    match keyword:
        case "type" if parameter.kind != "choice":
            return f"{shown} is not {_TYPE_NAMES[parameter.kind]}"
        case "type" | "enum":
            near = difflib.get_close_matches(str(value), parameter.choices, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"{shown} is not one of {', '.join(parameter.choices)}{hint}"
        case "minimum" | "maximum":
            return f"{shown} is not between {limits['minimum']:g} and {limits['maximum']:g}"
        case "x-step":
            return _off_step(value, limits)
        case "minLength":
            return f"{len(value)} characters; at least {limits['minLength']} are needed"
        case "maxLength":
            return f"{len(value)} characters; at most {limits['maxLength']} are taken"
        case _:
            raise AssertionError(f"no wording for {keyword}")


def _off_step(value: float, limits: Mapping[str, Any]) -> str:
    low, by = limits["x-step"]["from"], limits["x-step"]["by"]
    below = low + math.floor((value - low) / by) * by
    near = [n for n in (below, below + by) if _within(n, limits)]
    return f"{value:g} is not {_step_rule(limits)}; nearest {' or '.join(f'{n:g}' for n in near)}"


def _step_rule(limits: Mapping[str, Any]) -> str:
    low, by = limits["x-step"]["from"], limits["x-step"]["by"]
    if "multipleOf" in limits:
        return f"a multiple of {by:g}"
    if isinstance(low, int) and isinstance(by, int):
        return f"{by}k+{low % by}"  # as the field writes it: 4k+1
    return f"{low:g} plus a multiple of {by:g}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
