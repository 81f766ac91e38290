"""A job's values against its parameters: jsonschema finds what is wrong, we say it. Pure."""

import itertools
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from runner.errors import InvalidParameters, Problem
from runner.parameters.declared import Parameter, schema
from runner.parameters.kinds import ROWS, SEED_MAX, RowKind, Schema
from runner.parameters.limits import finite, is_multiple
from runner.parameters.refusals import near, number, short, wrong_cell, wrong_value
from runner.shape import mapping, sequence

if TYPE_CHECKING:  # importing it takes longer than completing a line
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator


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


def _resolve(parameter: Parameter, given: Any) -> Any:
    if given is None:
        return random.SystemRandom().randint(0, SEED_MAX) if parameter.draws else parameter.default
    return int(given) if parameter.kind in ("integer", "seed") else given


def _on_step(_validator: Any, step: Mapping[str, float], value: Any, _schema: Any) -> Any:
    from jsonschema import ValidationError

    try:
        wrong = finite(value) and not is_multiple(value - step["from"], step["by"])
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
    return finite(value)


def _problems(
    error: "ValidationError", parameters: Mapping[str, Parameter], given: Mapping[str, Any]
) -> list[Problem]:
    path = list(error.absolute_path)
    if len(path) > 1:
        return _row_problems(error, path, ROWS[parameters[str(path[0])].kind], given)
    if path:
        name = str(path[0])
        return [Problem(name, wrong_value(parameters[name], given[name], str(error.validator)))]
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
        return [Problem(f"{row}.{key}", wrong_cell(key, kind, cell, str(error.validator)))]
    if error.validator == "required":
        absent = [key for key, cell in kind.cells.items() if cell.required and key not in value]
        return [Problem(f"{row}.{key}", "is required") for key in absent]
    if error.validator == "additionalProperties":
        unknown = [key for key in mapping(value) if key not in kind.cells]
        return [Problem(f"{row}.{key}", f"is no key of a {kind.noun}; {near(key, kind.cells)}")
                for key in unknown]  # fmt: skip
    return [Problem(row, f"{short(value)} is not an object with {', '.join(kind.cells)}")]


def _unknown(name: str, parameters: Mapping[str, Parameter]) -> Problem:
    return Problem(name, f"is no parameter of this workflow; {near(name, parameters)}")


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
                f"{short(cell)} is the place of {where} ({short(cells[earlier])}), too",
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
                said = f"{short(box)} leaves the picture: {side} is {number(end)} of it, at most 1"
                yield Problem(f"{parameter.name}[{index}].bbox", said)
    used = [(i, box) for i, box in boxes.items() if not rows[i].get("mask_url")]
    for (first, one), (second, other) in itertools.pairwise(used):  # there are two at most
        if _in_shares(one) == _in_shares(other) and _overlap(one, other):
            said = f"{short(other)} overlaps {parameter.name}[{first}].bbox ({short(one)})"
            yield Problem(f"{parameter.name}[{second}].bbox", said)


def _in_shares(box: Sequence[float]) -> bool:
    return all(number <= 1 for number in box)


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(
        min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - max(one[axis], other[axis])
        > _A_MILLIONTH
        for axis in (0, 1)
    )
