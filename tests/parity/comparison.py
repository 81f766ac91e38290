"""Compares two API prompts: same nodes, class types and inputs. Titles (`_meta`) do not count."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Prompt = dict[str, dict[str, Any]]

# A picture that the editor renders, uploads and names by the time of day.
VOLATILE = {("Load3D", "image")}
ABSENT = "nothing"


@dataclass(frozen=True)
class Difference:
    """One place where two prompts differ, as a person would look for it."""

    kind: str
    node: str
    class_type: str | None
    input: str | None = None
    theirs: Any = ABSENT
    ours: Any = ABSENT

    def __str__(self) -> str:
        place = f"{self.node} {self.class_type}" + (f".{self.input}" if self.input else "")
        return f"{self.kind}: {place}: editor {_short(self.theirs)}, ours {_short(self.ours)}"


def differences(theirs: Prompt, ours: Prompt) -> list[Difference]:
    return list(_differences(theirs, ours))


def _differences(theirs: Prompt, ours: Prompt) -> Iterator[Difference]:
    for node in sorted(theirs.keys() - ours.keys()):
        yield Difference("node missing", node, theirs[node].get("class_type"))
    for node in sorted(ours.keys() - theirs.keys()):
        yield Difference("node too many", node, ours[node].get("class_type"))
    for node in sorted(theirs.keys() & ours.keys()):
        # Nodes of unknown types have none.
        expected, found = theirs[node].get("class_type"), ours[node].get("class_type")
        if expected != found:
            yield Difference("class type", node, expected, theirs=expected, ours=found)
        yield from _input_differences(node, expected, theirs[node]["inputs"], ours[node]["inputs"])


def _input_differences(
    node: str, class_type: str | None, theirs: dict[str, Any], ours: dict[str, Any]
) -> Iterator[Difference]:
    for name in sorted(theirs.keys() | ours.keys()):
        expected, found = theirs.get(name, ABSENT), ours.get(name, ABSENT)
        if not same(expected, found) and (class_type, name) not in VOLATILE:
            yield Difference(_kind(expected, found), node, class_type, name, expected, found)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 is 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def _kind(theirs: Any, ours: Any) -> str:
    if ours is ABSENT:
        return "input missing"
    if theirs is ABSENT:
        return "input too many"
    return "link" if isinstance(theirs, list) or isinstance(ours, list) else "value"


def _short(value: Any) -> str:
    return value if value is ABSENT else f"{value!r:.90}"
