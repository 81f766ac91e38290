"""Storing: never half a file, never one over another, and nothing is lost when it fails."""

import errno
from pathlib import Path

import pytest

from runner import outputs
from runner.errors import StorageError
from runner.job import Artifact, OutputFile, Probe, Result, Status
from runner.run import _store
from runner.storage.local import LocalStorage


def output(folder: Path, name: str, content: str = "x") -> OutputFile:
    path = folder / f"{len(list(folder.iterdir()))}.txt"
    path.write_text(content)
    return OutputFile(name, path, Probe("text"))


def result(artifacts: tuple[Artifact, ...]) -> Result:
    return Result("job", Status.SUCCEEDED, "wan-t2v@1.0.0", artifacts, {}, None, {})


def test_outputs_whose_names_look_alike_keep_their_files_apart(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    names = ["Final!", "final", "FINAL", "动画", "视频", "final"]
    files = tuple(output(work, name, f"{name} {i}") for i, name in enumerate(names))
    stored = _store(files, LocalStorage(tmp_path / "out"), "job", tmp_path / "kept", result)
    assert len({a.location.lower() for a in stored}) == len(names)
    assert [Path(a.location).read_text() for a in stored] == [
        f"{n} {i}" for i, n in enumerate(names)
    ]


def test_job_ids_that_differ_never_share_a_file_name() -> None:
    ids = ["a/b", "a-b", "A-b", "任务一", "任务二", "../../etc", "x" * 300, "x" * 301, "wan-t2v-1"]
    stems = [outputs.stem(job_id) for job_id in ids]
    assert len(set(stems)) == len(ids)
    assert all(len(s.encode()) < 255 and "/" not in s and not s.startswith(".") for s in stems)
    assert stems[-1] == "wan-t2v-1"


def test_what_cannot_be_stored_is_kept(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "job-second.txt").mkdir()  # a folder stands in the way
    files = (output(work, "first", "1"), output(work, "second", "2"))
    with pytest.raises(StorageError, match="the outputs are kept in") as caught:
        _store(files, LocalStorage(tmp_path / "out"), "job", tmp_path / "kept", result)
    kept = Path(caught.value.details["kept"])
    assert (kept / "job-second.txt").read_text() == "2"
    assert (tmp_path / "out" / "job-first.txt").read_text() == "1"


def test_a_folder_that_cannot_be_written_is_known_before_the_render(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        LocalStorage(tmp_path / "file" / "out").require_writable()
    LocalStorage(tmp_path / "new" / "out").require_writable()


def test_between_two_mounts_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two mounts of one file system have one device, and no renaming between them."""
    file, real = output(tmp_path, "video", "all of it").path, Path.replace

    def refused(self: Path, target: Path) -> Path:
        if self == file:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    place = LocalStorage(tmp_path / "out").put(file, "v.txt")
    assert Path(place).read_text() == "all of it"
    assert not file.exists()
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["v.txt"]
