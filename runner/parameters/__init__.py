"""Parameter nodes: read from a workflow, turned into a JSON Schema, validated, filled. Pure.

`kinds` and `limits` say what there is and what it takes, `declared` reads it from a file, `validation`
checks a job's values and `refusals` says what is wrong, `filling` writes them into the file.
"""

from runner.parameters.declared import Parameter, from_prompt, read, schema
from runner.parameters.filling import fill, from_text
from runner.parameters.kinds import MEDIA, ROWS, SEED_MAX, WIDGETS, Cell, RowKind, Schema
from runner.parameters.refusals import step_rule
from runner.parameters.validation import blamed, unfit, validate

__all__ = [
    "MEDIA",
    "ROWS",
    "SEED_MAX",
    "WIDGETS",
    "Cell",
    "Parameter",
    "RowKind",
    "Schema",
    "blamed",
    "fill",
    "from_prompt",
    "from_text",
    "read",
    "schema",
    "step_rule",
    "unfit",
    "validate",
]
