"""Releasing a workflow file: its next version, and the folder where released files never change."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from runner import contract, parameters, wording
from runner import workflow as workflows
from runner.comparison import Comparison, compare
from runner.contract import Bump, Change, Contract
from runner.errors import RequestError, WorkflowError
from runner.graph.soundness import require_sound
from runner.shape import mapping, sequence
from runner.workflow import Document, Version, info, linear_data, nodes

SUMS = "released.sha256"  # in the folder of workflows; `sha256sum -c` reads it
CHANGELOG = "CHANGELOG.md"  # in the folder of one workflow

# What the editor keeps of the last person who looked at the file.
_EDITOR_STATE = ("ds", "frontendVersion", "linearMode")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_MOST_GRAPH_LINES = 20


class ReleaseRefused(RequestError):
    """`details["reason"]`: bad_name, bad_version, unchanged, version_exists, version_too_small, cannot_write."""

    code = "release_refused"

    def __init__(self, message: str, *, reason: str, **details: Any) -> None:
        super().__init__(message, details={"reason": reason, **details})


@dataclass(frozen=True)
class Release:
    """A version of a workflow that is about to be written."""

    name: str
    version: str
    document: Document  # with name and version, without the editor's state
    previous: str | None  # the version it follows
    comparison: Comparison | None  # with that one

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "previous": self.previous,
            "comparison": self.comparison.to_dict() if self.comparison else None,
        }


def plan(
    document: Document, *, name: str, folders: Sequence[Path], version: str | None = None
) -> Release:
    """What releasing the file would give; nothing is written.

    Without a version, it is the next one that the change of the contract asks for.
    Raises ReleaseRefused for a version that hides what it changes, and WorkflowError for a file
    whose contract is broken.
    """
    if not _NAME.fullmatch(name):
        raise ReleaseRefused(f"{name!r} is no name: small letters, digits and -, as in wan-t2v",
                             reason="bad_name")  # fmt: skip
    require_releasable(document)
    document = _without_own_files(document)
    wanted = None if version is None else _parsed(version)
    known = _known(name, folders)
    _require_free(name, wanted, known)
    base = max((v for v in known if wanted is None or v < wanted), default=None)
    if base is None:
        chosen, comparison = wanted or (1, 0, 0), None
    else:
        before = workflows.find(f"{name}@{_text(base)}", folders).document
        stamped = _stamped(document, name, _text(base))
        comparison = compare(before, stamped, sources=(f"{name}@{_text(base)}", "the file"))
        chosen = _chosen(name, base, wanted, comparison)
    released = _stamped(document, name, _text(chosen))
    return Release(name, _text(chosen), released, _text(base) if base else None, comparison)


def _without_own_files(document: Document) -> Document:
    """Without the files that its maker ran with, where each caller gives others. Pure."""
    given = [
        parameter
        for parameter in parameters.read(document)
        if parameter.required and parameter.kind in (*parameters.MEDIA, *parameters.ROWS)
    ]
    return parameters.fill(document, given, {parameter.name: None for parameter in given})


def next_version(version: Version, bump: Bump) -> Version:
    """The smallest version that says what the change means. Pure."""
    major, minor, patch = version
    if bump is Bump.MAJOR:
        return major + 1, 0, 0
    if bump is Bump.MINOR:
        return major, minor + 1, 0
    return major, minor, patch + 1


def require_releasable(document: Document) -> None:
    """Raises WorkflowError, with everything at once, if callers could not rely on the file."""
    require_sound(document)
    found = contract.read(document)
    wrong = [*_broken_outputs(document, found), *_broken_parameters(found)]
    if wrong:
        raise WorkflowError("the file cannot be released: " + "; ".join(wrong),
                            details={"problems": wrong})  # fmt: skip


def write(release: Release, *, folder: Path, today: date) -> Path:
    """Write the released file, its hash and its changelog entry: all of them, or none.

    Raises ReleaseRefused.
    """
    target = folder / release.name / f"{release.version}.json"
    if target.exists():
        raise ReleaseRefused(f"{target} exists already, and a released file never changes",
                             reason="version_exists")  # fmt: skip
    text = json.dumps(release.document, indent=2, ensure_ascii=False) + "\n"
    changelog = folder / release.name / CHANGELOG
    try:
        sums = {**hashes(folder), _relative(target, folder): _sha256(text.encode())}
        history = changelog.read_text("utf-8") if changelog.exists() else ""
        entry = changelog_entry(release, today=today)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_all({target: text, changelog: _with_entry(history, entry, release.name),
                    folder / SUMS: _sums_text(sums)})  # fmt: skip
    except OSError as error:
        with suppress(OSError):
            target.parent.rmdir()  # if it was made for nothing
        raise ReleaseRefused(f"{error.filename or folder} cannot be written: {error.strerror}",
                             reason="cannot_write") from error  # fmt: skip
    return target


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 that each released file had when it was released, by path within the folder."""
    file = folder / SUMS
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return {path: sha256 for sha256, _, path in (line.partition("  ") for line in lines) if path}


def seal(folder: Path, *, today: date) -> None:
    """Take the files as they are now for released; a workflow without a changelog gets one.

    Whatever was changed after its release passes from here on: only for files nobody has used yet.
    """
    files = sorted(p for p in folder.glob("*/*.json") if _VERSION.fullmatch(p.stem))
    sums = {_relative(file, folder): _sha256(file.read_bytes()) for file in files}
    changelogs = {
        file.parent / CHANGELOG: _history(file.parent.name, folder, today=today)
        for file in files
        if not (file.parent / CHANGELOG).exists()
    }
    _write_all({**changelogs, folder / SUMS: _sums_text(sums)})


def changelog_entry(release: Release, *, today: date) -> str:
    """What is new, as Keep a Changelog writes it. Pure."""
    if release.comparison is None:
        groups = {"Added": ["First release.", *_first_lines(contract.read(release.document))]}
    else:
        groups = _grouped_lines(release.comparison)
    lines = [f"## [{release.version}] - {today.isoformat()}"]
    for heading, items in groups.items():
        lines += ["", f"### {heading}", *(f"- {item}" for item in items)] if items else []
    return "\n".join(lines) + "\n"


# --- the version ---------------------------------------------------------------------------------


def _known(name: str, folders: Sequence[Path]) -> set[Version]:
    """Every version that was ever released, also one whose file is gone."""
    files = (path.stem for path in workflows.versions(name, folders))
    listed = (Path(path) for folder in folders for path in hashes(folder))
    gone = (path.stem for path in listed if path.parent.name == name)
    return {_parsed(version) for version in {*files, *gone} if _VERSION.fullmatch(version)}


def _require_free(name: str, wanted: Version | None, known: set[Version]) -> None:
    if wanted is None:
        return
    if wanted in known:
        raise ReleaseRefused(f"{name}@{_text(wanted)} is released already, and never changes",
                             reason="version_exists")  # fmt: skip
    later = [v for v in known if v > wanted and v[0] == wanted[0]]
    if later:
        newest = _text(max(later))
        raise ReleaseRefused(
            f"{name}@{_text(wanted)} comes too late: {newest} is released, and {wanted[0]}.x goes on "
            "from there",
            reason="version_too_small",
            newest=newest,
        )


def _chosen(name: str, base: Version, wanted: Version | None, comparison: Comparison) -> Version:
    if comparison.same:
        raise ReleaseRefused(f"nothing has changed since {name}@{_text(base)}; layout does not count",
                             reason="unchanged", newest=_text(base))  # fmt: skip
    needed = next_version(base, comparison.bump)
    if wanted is None:
        return needed
    if wanted < needed:
        raise ReleaseRefused(
            f"{_text(wanted)} hides a {comparison.bump.word} change since {_text(base)}: it must be "
            f"{_text(needed)} or later\n" + _reasons(comparison),
            reason="version_too_small",
            needed=_text(needed),
            changes=[c.to_dict() for c in comparison.contract if c.bump is comparison.bump],
        )
    return wanted


def _reasons(comparison: Comparison) -> str:
    deciding = [c for c in comparison.changes if c.bump is comparison.bump]
    return "\n".join(f"  {_sentence(change)}" for change in deciding)


def _parsed(version: str) -> Version:
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ReleaseRefused(f"{version!r} is no version: write it as 1.2.0", reason="bad_version")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def _text(version: Version) -> str:
    return ".".join(map(str, version))


def _stamped(document: Document, name: str, version: str) -> Document:
    """A copy that says who it is, without what the editor keeps for itself."""
    extra = {k: v for k, v in mapping(document.get("extra")).items() if k not in _EDITOR_STATE}
    extra["info"] = {**info(document), "name": name, "version": version}
    return {**document, "extra": extra}


# --- what makes a file unfit ---------------------------------------------------------------------


def _broken_outputs(document: Document, found: Contract) -> Iterator[str]:
    names = [output.name for output in found.outputs]
    if not names:
        yield "it declares no output: choose one in the editor's App builder"
    yield from (f"{n!r} is the name of {names.count(n)} outputs" for n in sorted({*names})
                if names.count(n) > 1)  # fmt: skip
    running = {output.node_id for output in found.outputs}
    present = {str(node.get("id")) for node in nodes(document)}
    for node_id in map(str, sequence(linear_data(document).get("outputs"))):
        if node_id not in running:
            why = "is muted or bypassed" if node_id in present else "does not exist"
            yield f"its output node {node_id} {why}"


def _broken_parameters(found: Contract) -> Iterator[str]:
    yield from map(str, parameters.unfit(found.parameters))


# --- the changelog -------------------------------------------------------------------------------


def _first_lines(found: Contract) -> list[str]:
    return [
        "Parameters: " + (", ".join(f"`{p.name}`" for p in found.parameters) or "none") + ".",
        "Outputs: " + ", ".join(f"`{o.name}`" for o in found.outputs) + ".",
        *([f"Models: {', '.join(f'`{m.name}`' for m in found.models)}."] if found.models else []),
    ]


def _grouped_lines(comparison: Comparison) -> dict[str, list[str]]:
    """Contract changes under the headings that Keep a Changelog has; the graph under Changed."""
    groups: dict[str, list[str]] = {"Added": [], "Changed": [], "Removed": []}
    headings = {"added": "Added", "removed": "Removed"}
    for change in (*comparison.contract, *comparison.identity):
        groups[headings.get(change.kind, "Changed")].append(_markdown(change))
    graph = [_markdown(change) for change in comparison.graph]
    more = len(graph) - _MOST_GRAPH_LINES
    groups["Changed"] += graph[:_MOST_GRAPH_LINES]
    groups["Changed"] += [f"Graph: {more} more changes"] if more > 0 else []
    return groups


def _markdown(change: Change) -> str:
    flag = "**Breaks callers:** " if change.breaks_callers else ""
    return f"{flag}{_sentence(change, quote='`')}"


def _sentence(change: Change, *, quote: str = "") -> str:
    graph = change.subject in ("node", "link", "subgraph", "group node")
    where = f"{change.where} › " if change.where else ""
    verb = f" {change.kind}" if graph and change.kind in ("added", "removed") else ""
    name = f" {quote}{where}{change.name}{quote}" if change.name else ""
    subject = "Graph:" if graph else change.subject.capitalize()
    verb = "" if change.subject == "link" else verb
    words = " ".join(wording.said(change).split())
    note = f" ({change.note})" if change.note else ""
    return f"{subject}{name}{verb}{': ' if words else ''}{words}{note}"


def _history(name: str, folder: Path, *, today: date) -> str:
    """The changelog of versions that were all released today."""
    text, before = "", None
    for found in map(workflows.load, workflows.versions(name, [folder])):
        comparison = compare(before.document, found.document) if before else None
        previous = before.version if before else None
        release = Release(name, found.version, found.document, previous, comparison)
        text, before = _with_entry(text, changelog_entry(release, today=today), name), found
    return text


def _with_entry(history: str, entry: str, name: str) -> str:
    """The newest entry stands first, below the preface."""
    if not history.strip():
        return f"{_preface(name)}\n{entry}"
    first = re.search(r"^## ", history, re.MULTILINE)
    if first is None:
        return f"{history.rstrip()}\n\n{entry}"
    return f"{history[: first.start()]}{entry}\n{history[first.start() :]}"


def _preface(name: str) -> str:
    return (
        f"# Changelog of {name}\n\n"
        "Major: a caller can break. Minor: a new optional parameter or output, wider limits, another\n"
        "default. Patch: same contract, other graph. Written by `callsheet release`.\n"
    )


# --- files ---------------------------------------------------------------------------------------


def _relative(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sums_text(sums: Mapping[str, str]) -> str:
    return "".join(f"{sums[path]}  {path}\n" for path in sorted(sums))


def _write_all(texts: Mapping[Path, str]) -> None:
    """Every file is written beside its place first; if one cannot be put there, all go back."""
    parts = {path: path.with_name(f".{path.name}.part") for path in texts}
    before: dict[Path, bytes | None] = {}
    try:
        for path, text in texts.items():
            parts[path].write_text(text, "utf-8")
        for path, part in parts.items():
            before[path] = path.read_bytes() if path.exists() else None
            part.replace(path)
    except BaseException:
        for path, content in before.items():
            path.unlink(missing_ok=True) if content is None else path.write_bytes(content)
        raise
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
