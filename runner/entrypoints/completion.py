"""What a shell offers on TAB: workflows, and a workflow's parameters with their values."""

import os
import textwrap
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.parameters import Parameter

# Bash breaks words at a `=`: it wants what stands after it, and no space behind `name=`.
_AFTER_EQUALS = """\
    [[ " ${COMP_WORDS[*]:COMP_CWORD-1:2}" == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2> /dev/null
    return 0"""


def workflows(incomplete: str) -> list[tuple[str, str]]:
    """References of the released workflows; the shell itself knows files."""
    from runner import settings
    from runner import workflow as known

    found = known.released(settings.from_environment().workflows, broken=[])
    return [(w.name, _short(w.description)) for w in found if w.name.startswith(incomplete)]


def parameters(incomplete: str) -> list[tuple[str, str]]:
    """`name=` of the workflow that stands on the line; after the `=` what may be chosen."""
    from runner import parameters as known
    from runner import settings
    from runner import workflow as files
    from runner.errors import RunnerError

    folders = settings.from_environment().workflows
    for word in _words(os.environ):
        try:
            listed = known.read(files.find(word, folders).document)
        except RunnerError:  # another word, or not yet a workflow
            continue
        return [(offer, _short(p.description)) for p in listed for offer in _offers(p, incomplete)]
    return []


def join_words(environment: MutableMapping[str, str]) -> None:
    """Put together what bash has broken at a `=`, for the word under the cursor."""
    words = environment.get("COMP_WORDS", "").split("\n")
    cursor = environment.get("COMP_CWORD", "")
    at = int(cursor) if cursor.isdigit() else 0
    equals = at if words[at : at + 1] == ["="] else at - 1
    if equals < 2 or words[equals : equals + 1] != ["="]:
        return
    joined = [*words[: equals - 1], "".join(words[equals - 1 : at + 1])]
    environment["COMP_WORDS"], environment["COMP_CWORD"] = "\n".join(joined), str(equals - 1)


def teach_bash_equals() -> None:
    """Let the script for bash take values of `name=`."""
    from typer import _completion_shared as shared  # pyright: ignore[reportPrivateUsage]

    scripts = shared._completion_scripts  # pyright: ignore[reportPrivateUsage]
    scripts["bash"] = scripts["bash"].replace("    return 0", _AFTER_EQUALS)


def _short(text: str) -> str:
    return textwrap.shorten(text, 60, placeholder=" …")


def _words(environment: MutableMapping[str, str]) -> Sequence[str]:
    """The words behind the command's name."""
    line = environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS", "")
    return line.split()[2:]


def _offers(parameter: "Parameter", incomplete: str) -> Iterator[str]:
    """The name, and once that stands there the values that may be chosen."""
    name, choices = f"{parameter.name}=", list(map(str, parameter.limits.get("enum", ())))
    if parameter.kind == "boolean":
        choices = ["true", "false"]
    values = [f"{name}{choice}" for choice in choices] if incomplete.startswith(name) else [name]
    yield from (value for value in values if value.startswith(incomplete))
