"""Which object a file becomes: a destination's path with fields, `ugc_media/{job_id}/{name}` → a key."""

import hashlib
import mimetypes
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TypeAlias

from runner.errors import RequestError
from runner.storage.faults import StorageRefused

Fields: TypeAlias = Mapping[str, str | int]

OWN = {
    "job_id": "the job",
    "name": "the file's own name",
    "ext": "its ending, without the dot",
    "output": "the output's name",
    "index": "the output's place, counted from 0",
}
MOMENTS = {"stamp", "date"}  # given fields that are others when the same job comes again
_APART = {"name", "output", "index"}  # differ between the outputs of one job
_LITERAL = re.compile(r"[\w !'()&$@=;:+,.-]*", re.ASCII)  # what all three services take
_SPEC = re.compile(r"(?:0?[1-9])?d?")
_LONGEST = 1024  # bytes of a key: Google's and Amazon's limit


@dataclass(frozen=True)
class Naming:
    """Templates of a key's segments, and the values that the caller has given."""

    folders: tuple[str, ...]
    file: str
    given: Fields = field(default_factory=dict[str, str | int])

    @property
    def moments(self) -> Fields:
        return {name: value for name, value in self.given.items() if name in MOMENTS}

    def key(self, name: str, fields: Fields) -> str:
        """The key of a file; a moment among `fields` counts more than the one given. Pure.

        A file that is no output (`fields` without `output`) keeps its own name, in the deepest
        folder whose fields it has, and is the same at any moment. Raises StorageRefused if two
        outputs would have one key.
        """
        values = {
            "name": name,
            "ext": PurePosixPath(name).suffix[1:],
            **{key: _segment(value) for key, value in fields.items()},
            **self.given,
            **{name: fields[name] for name in MOMENTS & fields.keys()},
        }
        values["name"] = _segment(str(values["name"]))
        if "output" in fields:
            self._require_apart(fields)
            segments = [*self.folders, self.file]
        else:
            lasting = values.keys() - MOMENTS
            known = takewhile(lambda folder: _fields(folder) <= lasting, self.folders)
            whole = "name" in _fields(self.file) and _fields(self.file) <= lasting
            segments = [*known, self.file if whole else "{name}"]
        parts = [_filled(segment, values) for segment in segments]
        key = "/".join(parts)
        if not all(part.strip(".") for part in parts):
            raise StorageRefused(f"{key}: a part of the key is empty")
        if len(key.encode()) > _LONGEST:
            raise StorageRefused(f"the key {key[:80]}… is longer than {_LONGEST} bytes")
        return key

    def probe(self) -> str:
        """A key below the destination that no file has. Pure."""
        known = takewhile(lambda folder: _fields(folder) <= self.given.keys(), self.folders)
        return "/".join([*(_filled(f, self.given) for f in known), ".callsheet-probe"])

    def _require_apart(self, fields: Fields) -> None:
        used = {f for segment in (*self.folders, self.file) for f in _fields(segment)}
        if fields.get("index") and not (used - self.given.keys()) & _APART:
            raise StorageRefused(
                f"{'/'.join((*self.folders, self.file))} names one file, but the job has several: "
                "put {output} or {index} into it"
            )


def parse(path: str, given: Fields) -> Naming:
    """Templates from a destination's path. Raises RequestError that says what would be right.

    The last segment names files if it has a field that tells outputs apart, or a media ending;
    else it is a folder, and files keep their names.
    """
    path = path.strip("/")
    segments = path.split("/") if path else []
    for segment in segments:
        _check(segment, given)
    values = {name: _given(name, value) for name, value in given.items()}
    names_files = bool(segments) and bool(
        _fields(segments[-1]) & (_APART | {"ext"}) or mimetypes.guess_type(segments[-1])[0]
    )
    if names_files:
        return Naming(tuple(segments[:-1]), segments[-1], values)
    return Naming(tuple(segments), "{name}", values)


def _check(segment: str, given: Fields) -> None:
    if segment in ("", ".", ".."):
        raise RequestError(f"a destination's path cannot have a part {segment!r}: leave it out")
    try:
        parts = list(string.Formatter().parse(segment))
    except ValueError as error:
        raise RequestError(f"{segment}: {error}; write fields like {{job_id}}") from error
    for literal, name, spec, conversion in parts:
        wrong = _LITERAL.sub("", literal)
        if wrong or segment != segment.strip():
            raise RequestError(
                f"{segment}: {wrong or ' '!r} cannot stand there; letters of English, digits and -_.=@ can"
            )
        if name is None:
            continue
        if name not in OWN and name not in given:
            known = ", ".join(f"{{{n}}}" for n in (*OWN, *(n for n in given if n not in OWN)))
            raise RequestError(f"{segment}: there is no field {{{name}}}; there are {known}")
        if conversion or not _SPEC.fullmatch(spec or ""):
            raise RequestError(f"{segment}: write {{{name}}}, or a number as {{{name}:03d}}")
        if spec and name in OWN and name != "index" and name not in given:
            raise RequestError(f"{segment}: {{{name}}} is no number; write {{{name}}}")
        if spec and name in given:
            _number(name, given[name])


def _given(name: str, value: str | int) -> str | int:
    if isinstance(value, str) and value != _segment(value):
        raise RequestError(
            f"{name}: {value[:80]!r} cannot be a part of an object's name; "
            "letters of English, digits and -_.=@ can, 200 at most"
        )
    return value


def _segment(value: str | int) -> str | int:
    """A value as a part of a key: as it is where all services take it, else marked by its hash."""
    if isinstance(value, int):
        return value
    if re.fullmatch(r"[\w=@.-]{1,200}", value, re.ASCII) and value.strip("."):
        return value
    mark = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    stem, dot, ending = value.rpartition(".")
    if not stem or not re.fullmatch(r"\w{1,5}", ending, re.ASCII):
        stem, dot, ending = value, "", ""
    safe = re.sub(r"[^\w=@.-]+", "-", stem, flags=re.ASCII).strip("-.")[:100]
    return f"{safe}-{mark}{dot}{ending}".lstrip("-")


def _fields(segment: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(segment) if name}


def _filled(segment: str, values: Fields) -> str:
    text = ""
    for literal, name, spec, _ in string.Formatter().parse(segment):
        text += literal
        if name:
            text += format(_number(name, values[name]), spec) if spec else str(values[name])
    return text


def _number(name: str, value: str | int) -> int:
    try:
        return int(value)
    except ValueError:
        raise RequestError(f"{name}: {value!r} is no whole number") from None
