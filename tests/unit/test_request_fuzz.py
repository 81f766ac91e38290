"""Requests made up from each released workflow's schema: valid ones pass, spoilt ones are named."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner import parameters, workflow
from runner.errors import InvalidParameters
from runner.job import Job
from runner.request import check
from runner.workflow import Workflow

FOLDER = Path(__file__).parents[2] / "workflows"
RELEASED = list(workflow.released([FOLDER]))
FUZZ = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

BOXES = [[0, 0, 0.5, 1], [0.5, 0, 0.5, 1.0], [10, 20.5, 300, 400], [400, 0, 64, 64]]  # apart
# All that JSON can hold, and what Python takes for it: NaN, numbers without end, half characters.
CHARACTERS = st.characters(exclude_categories=())
LEAF = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**53, 2**64, 10**400, 1e308, -0.0, float("nan"), float("inf")]),
    st.floats(),
    st.text(CHARACTERS, max_size=20),
)
ANYTHING = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(CHARACTERS, max_size=9), inner, max_size=3)
    ),
    max_leaves=6,
)


def _value(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema of ours allows."""
    if "anyOf" in schema:
        return st.one_of(*map(_value, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema["type"]
    if isinstance(kind, list):
        return st.one_of(*(_value({**schema, "type": one}) for one in kind))
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "string":
            most = min(schema.get("maxLength", 60), 60)
            text = st.characters(exclude_categories=["Cs"])
            return st.text(text, min_size=schema.get("minLength", 0), max_size=most)
        case "integer" | "number":
            return _number(schema)
        case "array" if "prefixItems" in schema:
            return st.sampled_from(BOXES)
        case "array":
            least, most = schema["minItems"], min(schema["maxItems"], 4)
            return st.lists(
                _value(schema["items"]),
                min_size=least,
                max_size=max(least, most),
                unique_by=lambda row: _place(row, schema.get("x-unique")),
            ).filter(lambda rows: _apart(rows, schema.get("x-unique")))
        case _:
            cells = {key: _value(cell) for key, cell in schema["properties"].items()}
            required = {key: cells.pop(key) for key in schema["required"]}
            return st.fixed_dictionaries(required, optional=cells)


def _place(row: Mapping[str, Any], key: str | None) -> object:
    """What no two rows may share; where nothing is said, nothing is shared."""
    place = row.get(key) if key else None
    return object() if place is None else {"first": 0, "last": 1}.get(place, place)


def _apart(rows: list[Any], key: str | None) -> bool:
    """A first row that says nothing is at first, a last one at last; no box is another's."""
    boxes = [row["bbox"] for row in rows if row.get("bbox")]
    if not key or not rows:
        return all(one != other for one, other in itertools.combinations(boxes, 2))
    ends = [{**rows[0], key: rows[0].get(key) or "first"}, *rows[1:]]
    ends[-1] = {**ends[-1], key: "last" if ends[-1].get(key) is None else ends[-1][key]}
    places = [_place(row, key) for row in ends]
    return len(set(places)) == len(places)


def _number(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum", 0), schema.get("maximum", 10_000)
    if step := schema.get("x-step"):
        steps = st.integers(0, int((high - step["from"]) / step["by"]))
        return steps.map(lambda n: min(step["from"] + n * step["by"], high))
    if schema["type"] == "integer":
        return st.integers(low, high) | st.integers(low, high).map(lambda n: _same(n))
    return st.floats(low, high) | st.integers(-(-int(low) // 1), int(high)).filter(
        lambda n: low <= n <= high
    )


def _same(number: int) -> float | int:
    """24.0 is a whole number in JSON; what a float cannot hold stays an int."""
    return float(number) if int(float(number)) == number else number


def requests(found: Workflow) -> st.SearchStrategy[dict[str, Any]]:
    schema = parameters.schema(parameters.read(found.document), name="params")
    values = {name: _value(one) for name, one in schema["properties"].items()}
    required = {name: values.pop(name) for name in schema["required"]}
    return st.fixed_dictionaries(required, optional=values)


def _spoilt(draw: st.DrawFn, value: Any) -> Any:
    """The value with something else in one place of it."""
    if isinstance(value, dict) and value and draw(st.integers(0, 5)):
        changed, key = dict(value), draw(st.sampled_from(sorted(value)))
        match draw(st.sampled_from(["inside", "gone", "renamed", "more"])):
            case "inside":
                changed[key] = _spoilt(draw, value[key])
            case "gone":
                del changed[key]
            case "renamed":
                changed[draw(st.text(CHARACTERS, max_size=9))] = changed.pop(key)
            case _:
                changed[draw(st.text(CHARACTERS, max_size=9))] = draw(ANYTHING)
        return changed
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _spoilt(draw, value[place]), *value[place + 1 :]]
    if isinstance(value, list) and draw(st.booleans()):
        return [*value, *value, draw(ANYTHING)] * draw(st.integers(1, 40))
    return draw(ANYTHING | st.text("{}|%/\\'\"\0", max_size=20).map(lambda text: text * 300))


@st.composite
def spoilt(draw: st.DrawFn, found: Workflow) -> dict[str, Any]:
    given = draw(requests(found))
    for _ in range(draw(st.integers(1, 3))):
        changed = _spoilt(draw, given)
        given = changed if isinstance(changed, dict) else given
    return given


@pytest.mark.parametrize("found", RELEASED, ids=lambda found: found.reference)
def test_what_the_schema_allows_is_taken(found: Workflow) -> None:
    known = {p.name: p for p in parameters.read(found.document)}

    @FUZZ
    @given(requests(found))
    def holds(params: dict[str, Any]) -> None:
        ready = check(Job("job", found.name, params), found)
        assert ready.values.keys() == known.keys()
        for name, value in params.items():
            if value is not None:
                assert ready.values[name] == value
        filled = {p.name: p.value for p in parameters.read(ready.document)}
        for name, value in params.items():
            if value is not None and known[name].kind not in parameters.ROWS:
                assert filled[name] == value
        json.dumps(ready.document, allow_nan=False)

    holds()


@pytest.mark.parametrize("found", RELEASED, ids=lambda found: found.reference)
def test_what_it_does_not_allow_is_named_and_never_a_crash(found: Workflow) -> None:
    @FUZZ
    @given(spoilt(found))
    def holds(params: dict[str, Any]) -> None:
        try:
            ready = check(Job("job", found.name, params), found)
        except InvalidParameters as error:
            assert error.problems
            for problem in error.problems:
                assert problem.message and len(problem.message) < 1000
            json.dumps(error.to_dict(), allow_nan=False).encode()
        else:
            json.dumps(ready.document, allow_nan=False).encode()
            json.dumps(ready.document, ensure_ascii=False).encode()

    holds()


def test_there_are_workflows_to_try() -> None:
    assert len(RELEASED) >= 7
