"""Lists that callers give as JSON text: read, and the shape of each row. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def read(text: str, *, shape: str) -> tuple[list[Any], list[str]]:
    """The items, and what is wrong with the text: one problem, or none. No text is no items."""
    try:
        items = json.loads(text) if text.strip() else []
    # A ValueError is also a number of thousands of digits; brackets can be too deep.
    except (ValueError, RecursionError) as error:
        return [], [f"not JSON: {error}"]
    return (items, []) if isinstance(items, list) else ([], [f"not a list of rows like {shape}"])


def shape_problems(item: Any, *, keys: Sequence[str], shape: str) -> list[str]:
    """What an item that is a row must not have; the only problem of one that is none."""
    if not isinstance(item, dict):
        return [f"{item!r} is not a row like {shape[1:-4]}"]
    return [f"{key!r} is not one of {', '.join(keys)}" for key in item if key not in keys]
