"""What the graph editor's Callsheet menu tells of the open workflow. Pure but for reading released files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from runner import check, parameters, workflow
from runner.comparison import compare
from runner.errors import InvalidParameters, RequestError, UnknownWorkflow, WorkflowError
from runner.parameters import MEDIA, ROWS, Parameter
from runner.release import Release, plan
from runner.shape import mapping, sequence
from runner.workflow import Document, Workflow

# Where a file of the editor's machine would lie for a service; a reserved name (RFC 2606).
ELSEWHERE = "https://example.com/"


def findings(document: Document, object_info: Mapping[str, Any]) -> dict[str, Any]:
    """What `callsheet check` says of a workflow, for a list with one finding a line."""
    found = check.check(document, object_info)
    return {
        "errors": sum(finding.error for finding in found),
        "findings": [
            {
                "error": finding.error,
                "where": finding.node,
                "node_id": finding.node_id,
                "message": finding.message,
                "fix": finding.fix,
            }
            for finding in found
        ],
    }


def request(document: Document, folders: Sequence[Path]) -> dict[str, Any]:
    """What a service sends for the values that the parameters hold, and what to know about it.

    A seed that is drawn and a value that is not given are left out. Raises WorkflowError if the
    parameters cannot be read.
    """
    found = parameters.read(document)
    values = {p.name: _for_callers(p, p.default) for p in found if not _is_missing(p)}
    reference, about = _reference(document, folders)
    notes = [*about, *_missing(found), *_refused(found, values), *_files(found)]
    body = {"input": {"workflow": reference, "params": values}}
    return {
        "reference": reference,
        "text": json.dumps(body, indent=2, ensure_ascii=False),
        "notes": notes,
    }


def _reference(document: Document, folders: Sequence[Path]) -> tuple[str, list[str]]:
    """`name@major` as services write it, and what stands against it."""
    said = workflow.info(document)
    name = str(said.get("name") or "")
    if not name:
        return "my-workflow@1", [
            "The workflow has no name yet: `callsheet release FILE --as NAME` gives it one"
        ]
    major = str(said.get("version") or "1").partition(".")[0]
    try:
        released = workflow.find(f"{name}@{major}", folders)
    except UnknownWorkflow:
        return f"{name}@{major}", [
            f"There is no released {name}@{major}: `callsheet release FILE --as {name}` makes it"
        ]
    if _same_but_for_values(document, released):
        return f"{name}@{major}", []
    planned = _planned(document, name, folders)
    return f"{name}@{planned.version.partition('.')[0]}" if planned else f"{name}@{major}", [
        f"Services run {released.reference}, and this graph is another: "
        f"`callsheet release FILE --as {name}` makes it {planned.reference if planned else 'a version'}"
    ]


def _planned(document: Document, name: str, folders: Sequence[Path]) -> Release | None:
    """The release that the workflow would be, if it can be one."""
    try:
        return plan(document, name=name, folders=folders)
    except (RequestError, WorkflowError):
        return None


def _same_but_for_values(document: Document, released: Workflow) -> bool:
    theirs, ours = parameters.read(released.document), parameters.read(document)
    if {p.name for p in theirs} != {p.name for p in ours}:
        return False
    values = {p.name: p.value for p in theirs}
    found = compare(
        parameters.fill(released.document, theirs, values),
        parameters.fill(document, ours, values),
    )
    return not (found.contract or found.graph)


def _for_callers(parameter: Parameter, value: Any) -> Any:
    """The value as a service writes it: addresses for files."""
    if parameter.kind in MEDIA:
        return _address(value)
    if parameter.kind not in ROWS:
        return value
    files = {key for key, cell in ROWS[parameter.kind].cells.items() if cell.media}
    return [
        {key: _address(row[key]) if key in files else row[key] for key in row}
        for row in map(mapping, sequence(value))
    ]


def _address(name: Any) -> str:
    return ELSEWHERE + quote(PurePosixPath(str(name)).name)


def _missing(found: Sequence[Parameter]) -> Iterator[str]:
    for parameter in found:
        if parameter.required and _is_missing(parameter):
            yield f"{parameter.name} is required and has no value here"


def _refused(found: Sequence[Parameter], values: Mapping[str, Any]) -> Iterator[str]:
    """What a service would say of the values that are there."""
    missing = {p.name for p in found if p.required and _is_missing(p)}
    try:
        parameters.validate(found, values)
    except InvalidParameters as error:
        for problem in error.problems:
            if problem.parameter not in missing:
                yield f"{problem.parameter}: {problem.message}"


def _is_missing(parameter: Parameter) -> bool:
    """A text may be empty; a file or a list of rows may not."""
    return parameter.default is None or (
        (parameter.kind in MEDIA or parameter.kind in ROWS) and not parameter.default
    )


def _files(found: Sequence[Parameter]) -> Iterator[str]:
    named = [p.name for p in found if p.default and (p.kind in MEDIA or p.kind in ROWS)]
    if named:
        yield f"Put addresses that the service can reach in place of {ELSEWHERE}… ({', '.join(named)})"
