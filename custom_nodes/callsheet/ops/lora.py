"""LoRA rows as JSON text, and the other names a LoRA file may have. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import rows
from .limits import is_number, show

KEYS = ("lora", "strength", "on")
SHAPE = '[{"lora": "a.safetensors", "strength": 1.0, "on": true}, …]'
STRONGEST = 100.0  # as in ComfyUI's own loader, in both directions


@dataclass(frozen=True)
class Row:
    lora: str  # a file in models/loras
    strength: float = 1.0


def parse(text: str) -> tuple[list[Row], list[str]]:
    """The rows that do something, in order, and every problem, each named by its row.

    A row that is off or at strength 0 is left out: nothing of it is loaded, its file may be absent.
    """
    items, unreadable = rows.read(text, shape=SHAPE)
    if unreadable:
        return [], unreadable
    problems = [
        f"row {number}: {problem}"
        for number, item in enumerate(items, start=1)
        for problem in row_problems(item)
    ]
    if problems:
        return [], problems
    return [Row(item["lora"], strength_of(item)) for item in items if active(item)], []


def row_problems(item: Any) -> list[str]:
    problems = rows.shape_problems(item, keys=KEYS, shape=SHAPE)
    if not isinstance(item, dict):
        return problems
    if not isinstance(item.get("on", True), bool):
        problems.append(f"on {item['on']!r} is not true or false")
    problems += strength_problems(item.get("strength"))
    if not problems and active(item):
        problems += lora_problems(item.get("lora"))
    return problems


def lora_problems(value: Any) -> list[str]:
    if not value:
        return ["no LoRA is chosen"]
    return [] if isinstance(value, str) else [f"lora {value!r} is not the name of a file"]


def strength_problems(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    if not is_number(value):
        return [f"strength {value!r} is not a number"]
    if abs(value) > STRONGEST:
        return [f"strength {show(value)} is not between {show(-STRONGEST)} and {show(STRONGEST)}"]
    return []


def active(item: dict[str, Any]) -> bool:
    return item.get("on", True) and strength_of(item) != 0


def strength_of(item: dict[str, Any]) -> float:
    given = item.get("strength")
    return 1.0 if given in (None, "") else float(given)


def names(name: str, also: str) -> list[str]:
    """The files that `name` may stand for, the likeliest first, each once.

    A line of `also` is a file, or `name = file`: that one counts for this name only.
    """
    found = [name]
    for line in also.splitlines():
        left, equals, right = (part.strip() for part in line.partition(" = "))
        if equals and left == name and right:
            found.append(right)
        elif left and not equals:
            found.append(left)
    return list(dict.fromkeys(found))
