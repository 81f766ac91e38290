"""Outputs that could not be stored are sent later: each once, the result last."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner import kept
from runner.errors import RequestError, StorageError
from runner.job import Artifact, OutputFile, Probe, Result, Status
from runner.outputs import stem
from runner.run import _store, _store_result
from runner.storage import Storage, destination_of, open_storage
from runner.storage.faults import StorageRefused
from runner.storage.local import LocalStorage

from command_line import CommandLine

JOB = "the job/1"


def result_of(artifacts: tuple[Artifact, ...] = (), job_id: str = JOB) -> Result:
    params, timings = {"prompt": "a kite"}, {"render": 3.0}
    return Result(job_id, Status.SUCCEEDED, "wan-t2v@1.0.0", artifacts, params, 7, timings)


def outputs(folder: Path, *names: str) -> tuple[OutputFile, ...]:
    folder.mkdir(exist_ok=True)
    files = [folder / f"{name}.txt" for name in names]
    for file in files:
        file.write_text(f"the {file.stem}")
    return tuple(
        OutputFile(name, file, Probe("text")) for name, file in zip(names, files, strict=True)
    )


class Full(LocalStorage):
    """Takes so many files, then none."""

    left = 0

    def put(self, file: Path, name: str, fields: Any = None) -> str:
        if type(self).left == 0:
            raise StorageRefused("the disk is full", details={"status": 507})
        type(self).left -= 1
        return super().put(file, name, fields)


def fails_after(count: int, folder: Path) -> Storage:
    Full.left = count
    return Full(folder)


@pytest.fixture
def unstored(tmp_path: Path) -> Path:
    """Of three outputs the first is stored, the others are kept."""
    folder = tmp_path / "home" / "unstored"
    files = outputs(tmp_path / "work", "one", "two", "three")
    with pytest.raises(StorageRefused, match="kept in") as caught:
        _store(files, fails_after(1, tmp_path / "out"), JOB, folder, result_of)
    assert caught.value.details == {"status": 507, "kept": str(folder / stem(JOB))}
    return folder


def names(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir())


def test_what_was_left_is_sent_then_the_result(unstored: Path, tmp_path: Path) -> None:
    found = kept.find(JOB, unstored)
    assert [p.name for p in found.pending] == ["two", "three"]
    result = kept.send(found.folder, LocalStorage(tmp_path / "out"))
    assert [a.name for a in result.artifacts] == ["one", "two", "three"]
    assert [Path(a.location).read_text() for a in result.artifacts] == [
        "the one",
        "the two",
        "the three",
    ]
    said = json.loads((tmp_path / "out" / f"{stem(JOB)}.json").read_text())
    assert Result.from_dict(said) == result
    assert (result.seed, result.params) == (7, {"prompt": "a kite"})
    assert [n for n in names(found.folder) if n != ".lock"] == ["kept.json"]


def test_again_it_gives_the_result_and_sends_nothing(unstored: Path, tmp_path: Path) -> None:
    folder = kept.find(JOB, unstored).folder
    result = kept.send(folder, LocalStorage(tmp_path / "out"))
    assert kept.send(folder, fails_after(0, tmp_path / "out")) == result
    assert kept.waiting(unstored) == ()


def test_broken_off_it_goes_on_where_it_ended(unstored: Path, tmp_path: Path) -> None:
    folder = kept.find(JOB, unstored).folder
    with pytest.raises(StorageRefused, match="kept in") as caught:
        kept.send(folder, fails_after(1, tmp_path / "other"))
    assert caught.value.details["kept"] == str(folder)
    assert [p.name for p in kept.find(JOB, unstored).pending] == ["three"]
    with pytest.raises(StorageRefused):  # the result's turn
        kept.send(folder, fails_after(1, tmp_path / "other"))
    assert kept.find(JOB, unstored).pending == ()
    result = kept.send(folder, fails_after(1, tmp_path / "other"))
    assert len(result.artifacts) == 3


def test_a_result_that_cannot_be_stored_is_sent_later(tmp_path: Path) -> None:
    unstored = tmp_path / "unstored"
    storage = fails_after(1, tmp_path / "out")
    files = outputs(tmp_path / "work", "one")
    artifacts = _store(files, storage, JOB, unstored, result_of)
    result = result_of(artifacts)
    with pytest.raises(StorageRefused, match="kept in"):
        _store_result(result, storage, tmp_path / "work", unstored)
    assert kept.send(unstored / stem(JOB), LocalStorage(tmp_path / "out")) == result
    assert (tmp_path / "out" / f"{stem(JOB)}.json").is_file()


def test_a_file_that_has_changed_since_is_not_sent(unstored: Path, tmp_path: Path) -> None:
    found = kept.find(JOB, unstored)
    (found.folder / found.pending[0].file).write_text("other")
    with pytest.raises(StorageError, match="changed since"):
        kept.send(found.folder, LocalStorage(tmp_path / "out"))


def test_killed_between_storing_and_noting_it_sends_it_again(
    unstored: Path, tmp_path: Path
) -> None:
    found = kept.find(JOB, unstored)

    class Dies(LocalStorage):
        def put(self, file: Path, name: str, fields: Any = None) -> str:
            super().put(file, name, fields)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.send(found.folder, Dies(tmp_path / "out"))
    result = kept.send(found.folder, LocalStorage(tmp_path / "out"))
    assert [Path(a.location).read_text() for a in result.artifacts] == [
        "the one",
        "the two",
        "the three",
    ]
    assert [n for n in names(tmp_path / "out") if n.startswith(".")] == []


def test_what_is_unknown_is_told(unstored: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"nothing is kept of other.*{JOB} waits"):
        kept.find("other", unstored)
    (unstored / stem(JOB) / "kept.json").write_text('{"pending": [{"file": "../x"}]}')
    with pytest.raises(RequestError, match="is not what this version writes"):
        kept.find(JOB, unstored)
    assert kept.waiting(unstored) == ()


def test_a_note_cannot_name_files_elsewhere(unstored: Path) -> None:
    note = unstored / stem(JOB) / "kept.json"
    said = json.loads(note.read_text())
    said["pending"][0]["file"] = "../../secret"
    note.write_text(json.dumps(said))
    with pytest.raises(RequestError, match="no file of the folder"):
        kept.find(JOB, unstored)


@pytest.mark.parametrize("overwrite", ["", "?overwrite=no&sign=60"])
def test_a_bucket_is_opened_again_as_it_was(
    overwrite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    storage: Any = open_storage(
        f"s3://videos/{{workflow}}/{{job_id}}/{{name}}{overwrite}", fields={"workflow": "wan"}
    )
    known = destination_of(storage)
    assert known
    again: Any = open_storage(
        known.to, fields=known.fields, overwrite=known.overwrite, sign=known.sign
    )
    assert (again.naming, again.overwrite, again.sign) == (
        storage.naming,
        storage.overwrite,
        storage.sign,
    )


@pytest.fixture
def callsheet(
    unstored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    return CommandLine(capsys, monkeypatch, {"CALLSHEET_HOME": str(unstored.parent)}, unstored)


def test_the_command_sends_to_where_it_was_to_go(
    callsheet: CommandLine, unstored: Path, tmp_path: Path
) -> None:
    listed = callsheet("store")
    assert f"{JOB}  2 files" in listed.stdout
    said = callsheet("store", JOB, "--json")
    assert said.returncode == 0, said.stderr
    result = json.loads(said.stdout)
    assert [Path(a["location"]).parent for a in result["artifacts"]] == [tmp_path / "out"] * 3
    again = callsheet("store", str(unstored / stem(JOB)), "--json")
    assert json.loads(again.stdout) == result
    assert "no job waits" in callsheet("store").stdout


def test_the_command_sends_elsewhere(
    callsheet: CommandLine, unstored: Path, tmp_path: Path
) -> None:
    to = str(tmp_path / "else" / "{workflow}" / "{job_id}")
    said = callsheet("store", JOB, "--to", to, "--json")
    assert said.returncode == 0, said.stderr
    assert Path(
        json.loads(said.stdout)["artifacts"][2]["location"]
    ).parent == tmp_path / "else" / "wan-t2v" / stem(JOB)


def test_the_command_says_what_is_wrong(
    callsheet: CommandLine, unstored: Path, tmp_path: Path
) -> None:
    unknown = callsheet("store", "nobody")
    assert (unknown.returncode, "nothing is kept of nobody" in unknown.stderr) == (2, True)
    (tmp_path / "file").write_text("")
    said = callsheet("store", JOB, "--to", str(tmp_path / "file" / "x"))
    assert said.returncode == 1
    assert "the outputs are kept in" in said.stderr


class Strange(LocalStorage):
    """Fails as no storage should."""

    def put(self, file: Path, name: str, fields: Any = None) -> str:
        raise KeyError("Location")


def test_whatever_goes_wrong_while_storing_the_outputs_are_kept(tmp_path: Path) -> None:
    files = outputs(tmp_path / "work", "one", "two")
    with pytest.raises(StorageError, match=r"an unexpected KeyError.*kept in"):
        _store(files, Strange(tmp_path / "out"), JOB, tmp_path / "unstored", result_of)
    folder = kept.find(JOB, tmp_path / "unstored").folder
    sent = kept.send(folder, LocalStorage(tmp_path / "out"))
    assert [Path(a.location).read_text() for a in sent.artifacts] == ["the one", "the two"]
    assert [a.file for a in sent.artifacts] == [Path(a.location).name for a in sent.artifacts]
