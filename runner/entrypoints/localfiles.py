"""Files of this machine that a request names: where they count from, and whether they are there."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.errors import InputError
from runner.parameters import MEDIA, ROWS, Parameter
from runner.shape import mapping, sequence


def beside(folder: Path, read: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values with relative paths that name files of a folder as paths that do so from anywhere.

    A path that names no file there stays: it counts from the current folder.
    """

    def placed(source: str) -> str:
        path = _path(source)
        there = folder / path if path else None
        return str(there.absolute()) if there and there.is_file() else source

    return {**given, **_replaced(read, given, lambda _, source: placed(source))}


def require(read: Sequence[Parameter], given: Mapping[str, Any]) -> None:
    """Raises InputError that names every file which is not there, before anything is started."""
    problems: list[dict[str, Any]] = []

    def look(name: str, source: str) -> str:
        path = _path(source)
        reason = _trouble(path) if path else None
        if path and reason:
            tried = "" if path.is_absolute() else f" (looked for {path.absolute()})"
            message = f"{source}: {reason}{tried}"
            problems.append({"parameter": name, "message": message, "retryable": False})
        return source

    _replaced(read, given, look)
    if problems:
        lines = "\n".join(f"{p['parameter']}: {p['message']}" for p in problems)
        raise InputError(lines, details={"problems": problems})


def _replaced(
    read: Sequence[Parameter], given: Mapping[str, Any], new: Callable[[str, str], str]
) -> dict[str, Any]:
    """The values that name files, each source replaced; `new` takes its place in the request too."""
    values: dict[str, Any] = {}
    for parameter in read:
        name, value = parameter.name, given.get(parameter.name)
        if parameter.kind in MEDIA and isinstance(value, str):
            values[name] = new(name, value)
        elif parameter.kind in ROWS and sequence(value):
            values[name] = [
                _new_row(row, f"{name}[{place}]", parameter.kind, new)
                for place, row in enumerate(sequence(value))
            ]
    return values


def _new_row(row: Any, name: str, kind: str, new: Callable[[str, str], str]) -> Any:
    """What is no row stays as it is: it is refused later, with all else that is wrong."""
    cells = ROWS[kind].cells
    return {
        key: new(f"{name}.{key}", value)
        if isinstance(value, str) and key in cells and cells[key].media
        else value
        for key, value in mapping(row).items()
    } or row


def _path(source: str) -> Path | None:
    """The path that a source is; None for an address, a data: URI and what no file is called."""
    if not source or "\0" in source or "://" in source or source.startswith(("data:", "file:")):
        return None
    try:
        return Path(source).expanduser()
    except RuntimeError:  # no such user
        return None


def _trouble(path: Path) -> str | None:
    try:
        return (
            None if path.is_file() else "is a folder" if path.is_dir() else "there is no such file"
        )
    except OSError as error:
        return error.strerror or "cannot be read"
