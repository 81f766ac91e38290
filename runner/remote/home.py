"""Outputs brought home: streamed to disk, continued where they broke off, compared with their SHA-256."""

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import requests
import urllib3.exceptions
from tenacity import Retrying, retry_if_exception, stop_before_delay, wait_random_exponential

from runner.errors import StorageError
from runner.inputs.net import shown
from runner.job import Artifact, Progress, Report, Result
from runner.outputs import stem
from runner.remote.api import Patience
from runner.storage import sha256
from runner.storage.faults import StorageRefused

_CHUNK = 1 << 20  # bytes
_STAGE = "bringing outputs home"
_AGAIN = (408, 425, 429)  # and all from 500 on


def bring(
    result: Result,
    folder: Path,
    *,
    inlined: Mapping[str, bytes],
    report: Report = lambda _: None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Result:
    """The result with its outputs in `folder`, and itself as `<job>.json` beside them.

    What is there already is not fetched again. Raises StorageError; what came so far then stays
    as a hidden `.part`, and the next call continues it.
    """
    artifacts: list[Artifact] = []
    try:
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        names = file_names(result.artifacts)
        with requests.Session() as http:
            for number, (artifact, name) in enumerate(zip(result.artifacts, names, strict=True)):
                report(Progress(1.0, _STAGE, number, len(names)))
                source = _Source(http, artifact, inlined.get(artifact.location), patience)
                _have(source, folder / name)
                artifacts.append(dataclasses.replace(artifact, location=str(folder / name)))
        here = dataclasses.replace(result, artifacts=tuple(artifacts))
        _write(folder / f"{stem(result.job_id)}.json", here)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
    return here


def file_names(artifacts: Sequence[Artifact]) -> list[str]:
    """A file name for each, as stored far away; never a path, never a hidden file. Pure."""
    names: list[str] = []
    for place, artifact in enumerate(artifacts):
        path = PurePosixPath(unquote(urlsplit(artifact.location).path).replace("\\", "/"))
        suffix = path.suffix if re.fullmatch(r"\.\w{1,10}", path.suffix, re.ASCII) else ""
        bare = _plain(path.name.removesuffix(suffix)) or _plain(artifact.name) or "output"
        name = f"{bare}{suffix}"
        taken = {n.casefold() for n in names}
        names.append(f"{place}-{name}" if name.casefold() in taken else name)
    return names


def _plain(name: str) -> str:
    plain = re.sub(r"[^\w.-]+", "-", name).strip(".-").encode("utf-8", "ignore")
    return plain[:150].decode("utf-8", "ignore").strip(".-")  # bytes: a name may have 255


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where an output comes from."""

    http: requests.Session
    artifact: Artifact
    inlined: bytes | None  # the bytes, if they came with the answer
    patience: Patience

    @property
    def shown(self) -> str:
        return f"{self.artifact.name} at {shown(self.artifact.location)}"

    def into(self, part: Path) -> None:
        """Raises StorageError."""
        location = self.artifact.location
        if self.inlined is not None:
            part.write_bytes(self.inlined)
        elif re.match(r"https?://", location):
            self._download(part)
        elif Path(location).is_file():  # the endpoint is on this machine
            shutil.copyfile(location, part)
        else:
            raise StorageRefused(
                f"{self.artifact.name} lies at {location[:200]}, which is not reached from here: "
                "the operator stores outputs in a bucket (CALLSHEET_TO)"
            )

    def _download(self, part: Path) -> None:
        """Tried again as long as it gets further, and for a while when it does not."""
        tries = Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, StorageError) and e.retryable),
            wait=wait_random_exponential(self.patience.wait, 30.0),
            stop=stop_before_delay(self.patience.trying),
            reraise=True,
        )
        part.touch()
        furthest = 0
        while not tries(self._continue, part, furthest):
            furthest = _size(part)

    def _continue(self, part: Path, furthest: int) -> bool:
        """Whether the file is whole. Raises StorageError if it is not, and got no further."""
        start, reason = _size(part), "the download breaks off"
        if start > self.artifact.bytes:
            part.unlink()
            start = 0
        elif start and start == self.artifact.bytes:
            return True
        try:
            for piece in self._read(start, part):
                with part.open("ab") as file:
                    file.write(piece)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            reason = f"not reached ({type(error).__name__})"
        if _size(part) >= self.artifact.bytes:
            return True
        if _size(part) <= furthest:
            raise StorageError(f"{self.shown}: {reason}")
        return False

    def _read(self, start: int, part: Path) -> Iterator[bytes]:
        with self.http.get(
            self.artifact.location,
            headers={
                "Accept-Encoding": "identity",
                **({"Range": f"bytes={start}-"} if start else {}),
            },
            auth=_no_auth,
            timeout=(self.patience.connect, self.patience.answer),
            stream=True,
        ) as response:
            if response.status_code == 416:  # another file than the one that was begun
                part.unlink(missing_ok=True)
                raise StorageError(f"{self.shown} has changed meanwhile")
            if response.status_code not in (200, 206):
                raise self._refusal(response.status_code)
            said = response.headers.get("Content-Range", "")
            if start and (response.status_code == 200 or not said.startswith(f"bytes {start}-")):
                part.unlink(missing_ok=True)  # it starts anew
                if response.status_code == 206:
                    raise StorageError(f"{self.shown} answers with another part than was asked for")
            left = self.artifact.bytes - (start if response.status_code == 206 else 0)
            for piece in response.iter_content(_CHUNK):
                left -= len(piece)
                if left < 0:
                    raise StorageRefused(f"{self.shown} has more bytes than the result says")
                yield piece

    def _refusal(self, status: int) -> StorageError:
        if status in (401, 403, 404, 410):
            return StorageRefused(
                f"{self.shown} answers {status}: the address has expired, or the file is gone",
                details={"status": status},
            )
        kind = StorageError if status in _AGAIN or status >= 500 else StorageRefused
        return kind(f"{self.shown} answers {status}", details={"status": status})


def _have(source: _Source, target: Path) -> None:
    """The file, whole and the very one, under its name."""
    artifact = source.artifact
    if _is(target, artifact):
        return
    part = target.with_name(f".{target.name}.{artifact.sha256[:12]}.part")
    begun = part.exists()
    source.into(part)
    if not _is(part, artifact) and begun:
        part.unlink()  # what was begun earlier was of another file
        source.into(part)
    if not _is(part, artifact):
        part.unlink()
        raise StorageError(f"{source.shown}: a wrong checksum: what arrived is not what was stored")
    part.replace(target)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _is(file: Path, artifact: Artifact) -> bool:
    same = file.is_file() and file.stat().st_size == artifact.bytes
    return same and sha256(file) == artifact.sha256


def _write(file: Path, result: Result) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    part.replace(file)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Signed addresses need none, and .netrc is not asked."""
    return request
