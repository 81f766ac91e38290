"""Lists of rows: as a parameter node holds them, and by the keys that callers write. Pure."""

import json
from collections.abc import Mapping
from typing import Any, cast

from runner.parameters.kinds import RowKind
from runner.shape import mapping, sequence


def node_row(row: Mapping[str, Any], kind: RowKind) -> dict[str, Any]:
    return {kind.cells[key].column if key in kind.cells else key: row[key] for key in row}


def rows_of(text: Any, kind: RowKind) -> Any:
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
