"""Parameters as a workflow's nodes declare them, and the schema of a request. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import WorkflowError
from runner.graph import is_api_format
from runner.parameters.kinds import MEDIA, OPTIONAL, ROWS, WIDGETS, Schema
from runner.parameters.limits import LIMITS, allows, choices_of, finite, whole_choices
from runner.parameters.rows import rows_of
from runner.shape import mapping, sequence
from runner.workflow import linear_data, nodes, title

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
        return LIMITS[self.kind](self.widgets)

    @property
    def choices(self) -> tuple[str, ...]:
        return whole_choices(self.widgets) if self.kind == "integer" else choices_of(self.widgets)

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
            return rows_of(self.value, ROWS[self.kind]) == []
        return self.kind in ("integer", "number") and self.value == 0 and not allows(self.limits, 0)

    @property
    def default(self) -> Any:
        """What the workflow runs with when the caller says nothing; None if nobody knows before."""
        if self.optional or self.draws:
            return None
        return rows_of(self.value, ROWS[self.kind]) if self.kind in ROWS else self.value

    @property
    def draws(self) -> bool:
        """A seed that the runner draws anew for each job that gives none."""
        return self.kind == "seed" and self.widgets.get("control_after_generate") != "fixed"

    @property
    def schema(self) -> Schema:
        schema: Schema = {"title": self.title, "description": self.description, **self.limits}
        if self.required:
            example = rows_of(self.value, ROWS[self.kind]) if self.kind in ROWS else self.value
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
        if not finite(value):
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


def from_prompt(node_id: str, node: Mapping[str, Any]) -> Parameter | None:
    """The parameter that a node of an API prompt is; None if it is another node."""
    kind, inputs = str(node.get("class_type")), mapping(node.get("inputs"))
    if kind not in WIDGETS:
        return None
    optional = OPTIONAL.get(kind, {})
    widgets = {name: inputs.get(name, optional.get(name)) for name in WIDGETS[kind]}
    shown = mapping(node.get("_meta")).get("title")
    return _from_widgets(kind, widgets, node_id=node_id, shown=str(shown or kind))


def _parameter(node: Mapping[str, Any]) -> Parameter:
    kind = str(node["type"])
    names, optional = WIDGETS[kind], OPTIONAL.get(kind, {})
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
