"""The contract of a workflow file, and what a change of it means for those who call it. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, TypeAlias

from runner import models, parameters
from runner.graph.document import parse as parse_graphs
from runner.models import Model
from runner.parameters import Parameter
from runner.shape import sequence
from runner.workflow import Document, linear_data, nodes, title

Kind: TypeAlias = Literal["added", "removed", "changed", "renamed", "reordered"]

MUTED, BYPASSED = 2, 4  # a node's `mode`; 0 is active


class Bump(IntEnum):
    """Which part of the version a change raises."""

    NONE = 0
    PATCH = 1  # same contract, other graph
    MINOR = 2  # what callers send stays right, but there is more, or a default is another
    MAJOR = 3  # a caller can break

    @property
    def word(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Change:
    """One thing that is not the same in two workflow files."""

    kind: Kind
    subject: str  # parameter, output, model; node, link, subgraph; identity
    name: str  # whose: a parameter's name, an output's, a node's title
    bump: Bump
    field: str = ""  # what of it; empty: all of it
    before: Any = None
    after: Any = None
    note: str = ""  # what it means for a caller
    where: str = ""  # the subgraph it is in; empty: the workflow's own graph

    @property
    def breaks_callers(self) -> bool:
        return self.bump is Bump.MAJOR

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "bump": self.bump.word, "breaks_callers": self.breaks_callers}


@dataclass(frozen=True)
class Output:
    """A file that every job of the workflow gives, under the title of the node that saves it."""

    name: str
    node_id: str
    type: str


@dataclass(frozen=True)
class Contract:
    """What callers (parameters, outputs) and operators (models) rely on."""

    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    models: tuple[Model, ...]


def read(document: Document) -> Contract:
    """The contract of a workflow file. Raises WorkflowError if it cannot be read."""
    parse_graphs(document)  # from here on every node is an object with an id and a type
    found = parameters.read(document)
    return Contract(found, _outputs(document), models.needed(document))


def changes(before: Contract, after: Contract) -> tuple[Change, ...]:
    """What of the contract is another one: parameters, then outputs, then models."""
    return (
        *_parameter_changes(before.parameters, after.parameters),
        *_output_changes(before.outputs, after.outputs),
        *_model_changes(before.models, after.models),
    )


def bump(found: Sequence[Change]) -> Bump:
    """What all the changes together raise."""
    return max((change.bump for change in found), default=Bump.NONE)


def same(before: Any, after: Any) -> bool:
    """Whether two JSON values are one: 5 is 5.0, NaN is NaN, but true is not 1."""
    if isinstance(before, bool) != isinstance(after, bool):
        return False
    return bool(before == after) or repr(before) == repr(after)


# --- parameters ----------------------------------------------------------------------------------


def _parameter_changes(before: Sequence[Parameter], after: Sequence[Parameter]) -> Iterator[Change]:
    old, new = {p.name: p for p in before}, {p.name: p for p in after}
    renamed = _renamed(before, after)
    for name, was in old.items():
        if name not in new and name not in renamed:
            yield Change("removed", "parameter", name, Bump.MAJOR, before=_summary(was),
                         note="requests that give it are refused")  # fmt: skip
    for was, now in ((old[a], new[b]) for a, b in renamed.items()):
        yield Change("renamed", "parameter", now.name, Bump.MAJOR, before=was.name, after=now.name,
                     note=f"requests that give {was.name} are refused")  # fmt: skip
        yield from _one_parameter(was, now)
    for name, now in new.items():
        if name in old:
            yield from _one_parameter(old[name], now)
        elif name not in renamed.values():
            yield _added(now)
    yield from _order(list(old), list(new))


def _renamed(before: Sequence[Parameter], after: Sequence[Parameter]) -> dict[str, str]:
    """Old name → new name of each node that has kept its type but not its name."""
    old_names, new_names = {p.name for p in before}, {p.name for p in after}
    gone = {(p.node_id, p.kind): p.name for p in before if p.name not in new_names}
    came = {(p.node_id, p.kind): p.name for p in after if p.name not in old_names}
    return {name: came[node] for node, name in gone.items() if node in came}


def _added(now: Parameter) -> Change:
    level = Bump.MAJOR if now.required else Bump.MINOR
    note = "requests without it are refused" if now.required else ""
    return Change("added", "parameter", now.name, level, after=_summary(now), note=note)


def _order(old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    stayed_old, stayed_new = [n for n in old if n in new], [n for n in new if n in old]
    if stayed_old != stayed_new:
        yield Change("reordered", "parameter", "", Bump.PATCH, "order of the form", stayed_old,
                     stayed_new)  # fmt: skip


def _one_parameter(was: Parameter, now: Parameter) -> Iterator[Change]:
    def changed(field: str, before: Any, after: Any, level: Bump, note: str = "") -> Change:
        return Change("changed", "parameter", now.name, level, field, before, after, note)

    if was.kind != now.kind:
        yield changed("type", was.kind, now.kind, Bump.MAJOR, "values of the old type are refused")
    if was.required != now.required:
        level, note = (
            (Bump.MAJOR, "requests without it are refused") if now.required else (Bump.MINOR, "")
        )
        yield changed("required", was.required, now.required, level, note)
    if was.kind == now.kind:
        yield from _limit_changes(was, now)
        yield from _null_change(was, now)
    yield from _default_change(was, now)
    for field, before, after in (
        ("label", was.title, now.title),
        ("description", was.description, now.description),
    ):
        if before != after:
            yield changed(field, before, after, Bump.PATCH)


def _default_change(was: Parameter, now: Parameter) -> Iterator[Change]:
    """Minor: every request stays valid, but those that leave it out give another video.

    Not major: a default is the designer's taste, and a caller who needs a value sends it.
    Not patch: who pins `name@1.2` wants the same video from the same request.
    """
    if was.required or now.required:  # a required one's value is what the designer tries it with
        return
    before, after = _default(was), _default(now)
    if not same(before, after):
        yield Change("changed", "parameter", now.name, Bump.MINOR, "default", before, after,
                     "requests without it give another video")  # fmt: skip


def _default(parameter: Parameter) -> Any:
    return "drawn" if parameter.draws else parameter.default


def _null_change(was: Parameter, now: Parameter) -> Iterator[Change]:
    """Only a parameter that can be "not given" takes a null."""
    before, after = _takes_null(was), _takes_null(now)
    if before and not after:
        yield Change("changed", "parameter", now.name, Bump.MAJOR, "null", "taken", "refused",
                     "requests that give null are refused")  # fmt: skip
    elif after and not before:
        yield Change("changed", "parameter", now.name, Bump.MINOR, "null", "refused", "taken")


def _takes_null(parameter: Parameter) -> bool:
    return "null" in parameter.schema["type"]


_LOWER = {"minimum": "minimum", "minLength": "min. length", "minItems": "min. number of rows"}
_UPPER = {"maximum": "maximum", "maxLength": "max. length", "maxItems": "max. number of rows",
          "x-max-duration": "max. duration"}  # fmt: skip
_TOLD_ELSEWHERE = {"type", "enum", "multipleOf", "x-step"}


def _limit_changes(was: Parameter, now: Parameter) -> Iterator[Change]:
    old, new = was.limits, now.limits
    if "enum" in old or "enum" in new:
        yield from _choice_change(was, now)
        if was.kind == "integer":
            return  # a list of numbers stands in place of a range
    for keyword in dict.fromkeys([*old, *new]):
        before, after = old.get(keyword), new.get(keyword)
        if keyword not in _TOLD_ELSEWHERE and not same(before, after):
            yield _bound_change(now.name, keyword, before, after)
    before_step, after_step = _step(old), _step(new)
    if not (_covers(before_step, after_step) and _covers(after_step, before_step)):
        narrower = not _covers(after_step, before_step)
        yield Change("changed", "parameter", now.name, Bump.MAJOR if narrower else Bump.MINOR,
                     "step", old.get("x-step"), new.get("x-step"),
                     "values off the new step are refused" if narrower else "")  # fmt: skip


def _choice_change(was: Parameter, now: Parameter) -> Iterator[Change]:
    if was.choices == now.choices:
        return
    if not was.choices:
        yield Change("changed", "parameter", now.name, Bump.MAJOR, "choices", [],
                     list(now.choices), "other numbers are refused")  # fmt: skip
        return
    gone = [choice for choice in was.choices if not _offers(now, choice)]
    level = Bump.PATCH if {*was.choices} == {*now.choices} else Bump.MINOR
    note = f"requests that give {' or '.join(gone)} are refused" if gone else ""
    yield Change("changed", "parameter", now.name, Bump.MAJOR if gone else level, "choices",
                 list(was.choices), list(now.choices), note)  # fmt: skip


def _offers(parameter: Parameter, choice: str) -> bool:
    limits = parameter.limits
    if parameter.kind != "integer" or "enum" in limits:
        return choice in parameter.choices
    start, by = _step(limits)
    return limits["minimum"] <= int(choice) <= limits["maximum"] and _is_multiple(
        int(choice) - start, by
    )


def _bound_change(name: str, keyword: str, before: Any, after: Any) -> Change:
    """A limit that nobody here knows is held for narrower."""
    narrower, note = True, "values may be refused"
    if keyword in _LOWER:
        narrower = after is not None and (before is None or after > before)
        note = "smaller values are refused" if keyword == "minimum" else "shorter ones are refused"
    elif keyword in _UPPER:
        narrower = after is not None and (before is None or after < before)
        note = "larger values are refused" if keyword == "maximum" else "longer ones are refused"
    field = _LOWER.get(keyword) or _UPPER.get(keyword) or keyword
    level = Bump.MAJOR if narrower else Bump.MINOR
    return Change("changed", "parameter", name, level, field, before, after,
                  note if narrower else "")  # fmt: skip


def _step(limits: Mapping[str, Any]) -> tuple[float, float]:
    """From where, and by how much: 0 is any number, and an integer without a step goes by 1."""
    step = limits.get("x-step")
    if step:
        return step["from"], step["by"]
    return 0, 1 if limits["type"] == "integer" else 0


def _covers(wide: tuple[float, float], narrow: tuple[float, float]) -> bool:
    """Whether every value on the narrow step is on the wide one too."""
    (wide_from, wide_by), (narrow_from, narrow_by) = wide, narrow
    if not wide_by:
        return True
    if not narrow_by:
        return False
    return _is_multiple(narrow_by, wide_by) and _is_multiple(narrow_from - wide_from, wide_by)


def _is_multiple(value: float, step: float) -> bool:
    return math.isclose(value / step, round(value / step), abs_tol=1e-9)


def _summary(parameter: Parameter) -> dict[str, Any]:
    """The parameter in a line: what a reader wants of one that came or went."""
    said: dict[str, Any] = {"type": parameter.kind, "required": parameter.required}
    if not parameter.required:
        said["default"] = _default(parameter)
    return {**said, "limits": {k: v for k, v in parameter.limits.items() if k != "type"},
            "description": parameter.description}  # fmt: skip


# --- outputs and models --------------------------------------------------------------------------


def _outputs(document: Document) -> tuple[Output, ...]:
    """The outputs that App view declares, in its order; a node that does not run gives none."""
    by_id = {
        str(node.get("id")): node
        for node in nodes(document)
        if node.get("mode") not in (MUTED, BYPASSED)
    }
    chosen = [str(node_id) for node_id in sequence(linear_data(document).get("outputs"))]
    return tuple(
        Output(title(by_id[node_id]), node_id, str(by_id[node_id].get("type")))
        for node_id in dict.fromkeys(chosen)
        if node_id in by_id
    )


def _output_changes(before: Sequence[Output], after: Sequence[Output]) -> Iterator[Change]:
    old, new = {o.name: o for o in before}, {o.name: o for o in after}
    came = {(o.node_id, o.type): o.name for o in after if o.name not in old}
    gone = {o.name: (o.node_id, o.type) for o in before if o.name not in new}
    renamed = {name: came[node] for name, node in gone.items() if node in came}
    for name in gone:
        if name not in renamed:
            yield Change("removed", "output", name, Bump.MAJOR, before=old[name].type,
                         note="results no longer have it")  # fmt: skip
    for name, now in renamed.items():
        yield Change("renamed", "output", now, Bump.MAJOR, before=name, after=now,
                     note=f"results no longer have {name}")  # fmt: skip
    for name, now in new.items():
        if name not in old and name not in renamed.values():
            yield Change("added", "output", name, Bump.MINOR, after=now.type)
        elif name in old and old[name].type != now.type:
            yield Change("changed", "output", name, Bump.MAJOR, "saved by", old[name].type, now.type,
                         "the file may be of another kind")  # fmt: skip
    stayed = [renamed.get(name, name) for name in old if renamed.get(name, name) in new]
    if [*new][: len(stayed)] != stayed:
        yield Change("reordered", "output", "", Bump.MAJOR, "order", [*old], [*new],
                     "who takes the first output gets another")  # fmt: skip


def _model_changes(before: Sequence[Model], after: Sequence[Model]) -> Iterator[Change]:
    old, new = ({f"{m.directory}/{m.name}": m for m in found} for found in (before, after))
    for name in old:
        if name not in new:
            yield Change("removed", "model", name, Bump.PATCH)
    for name, now in new.items():
        if name not in old:
            yield Change("added", "model", name, Bump.PATCH, after=now.url)
            continue
        for field in ("url", "hash", "hash_type"):
            was, is_ = getattr(old[name], field), getattr(now, field)
            if not same(was, is_):
                yield Change("changed", "model", name, Bump.PATCH, field, was, is_)
