"""Releasing: which version, what is refused, what is written, and that nothing is half done."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import release, workflow
from runner.contract import Bump
from runner.errors import WorkflowError
from runner.release import ReleaseRefused

from workflows import document, parameter

TODAY = date(2026, 11, 21)


def dance(
    *, maximum: int = 1920, cfg: float = 5, name: str = "width", value: int = 640, **info: str
) -> dict[str, Any]:
    """A workflow as the editor saves it."""
    return document(
        parameter("Integer", 1, value, name, "Pixels.", False, 64, maximum, 16),
        {"id": 2, "type": "Sampler", "title": "Sample", "inputs": [], "widgets_values": [cfg]},
        {"id": 3, "type": "SaveVideo", "title": "video", "inputs": []},
        linearData={"inputs": [[1, "value"]], "outputs": [3]},
        info={"name": "draft", "author": "me", **info},
        ds={"scale": 0.7},
        frontendVersion="1.47.12",
        linearMode=True,
    )


def put(folder: Path, source: dict[str, Any], version: str | None = None) -> str:
    planned = release.plan(source, name="dance", folders=[folder], version=version)
    release.write(planned, folder=folder, today=TODAY)
    return planned.version


def refused(folder: Path, source: dict[str, Any], version: str | None = None) -> ReleaseRefused:
    with pytest.raises(ReleaseRefused) as caught:
        put(folder, source, version)
    assert caught.value.code == "release_refused"
    return caught.value


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- which version -------------------------------------------------------------------------------


def test_the_version_follows_from_the_contract(tmp_path: Path) -> None:
    assert put(tmp_path, dance()) == "1.0.0"
    assert put(tmp_path, dance(cfg=6)) == "1.0.1"
    assert put(tmp_path, dance(cfg=6, maximum=2560)) == "1.1.0"
    assert put(tmp_path, dance(cfg=6, maximum=1280)) == "2.0.0"
    assert put(tmp_path, dance(cfg=6, maximum=1280, description="It dances.")) == "2.0.1"


@pytest.mark.parametrize("version", ["1.0.1", "1.1.0", "1.9.9"])
def test_a_version_that_hides_a_breaking_change_is_refused(tmp_path: Path, version: str) -> None:
    put(tmp_path, dance())
    error = refused(tmp_path, dance(maximum=1280), version)
    assert (error.details["reason"], error.details["needed"]) == ("version_too_small", "2.0.0")
    assert "maximum 1920 → 1280 (larger values are refused)" in error.message


def test_a_larger_version_than_needed_is_taken(tmp_path: Path) -> None:
    assert put(tmp_path, dance(), "0.3.0") == "0.3.0"
    assert put(tmp_path, dance(cfg=6), "1.0.0") == "1.0.0"
    assert put(tmp_path, dance(cfg=7), "3.0.0") == "3.0.0"


def test_an_older_major_line_goes_on_after_its_own_last_version(tmp_path: Path) -> None:
    put(tmp_path, dance())
    put(tmp_path, dance(maximum=1280))
    put(tmp_path, dance(cfg=6, maximum=2560), "1.1.0")
    assert put(tmp_path, dance(cfg=7, maximum=2560), "1.1.1") == "1.1.1"
    assert refused(tmp_path, dance(cfg=8, maximum=2560), "1.0.5").details["newest"] == "1.1.1"


@pytest.mark.parametrize(
    ("version", "reason"),
    [("1.0.0", "version_exists"), ("1.0", "bad_version"), ("1.0.01", "bad_version"),
     ("../1.0.1", "bad_version"), (None, "unchanged")],
)  # fmt: skip
def test_what_is_refused_after_a_first_release(
    tmp_path: Path, version: str | None, reason: str
) -> None:
    put(tmp_path, dance())
    before = contents(tmp_path)
    assert refused(tmp_path, dance(), version).details["reason"] == reason
    assert contents(tmp_path) == before


def test_a_version_whose_file_is_gone_stays_taken(tmp_path: Path) -> None:
    put(tmp_path, dance())
    put(tmp_path, dance(cfg=6))
    (tmp_path / "dance" / "1.0.1.json").unlink()
    assert refused(tmp_path, dance(cfg=7), "1.0.1").details["reason"] == "version_exists"


@pytest.mark.parametrize("name", ["", "Dance", "../dance", "a b", "-a"])
def test_a_name_is_one_that_a_reference_can_say(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReleaseRefused, match="is no name"):
        release.plan(dance(), name=name, folders=[tmp_path])


@settings(deadline=None)  # the machine may be busy
@given(st.tuples(*[st.integers(0, 99)] * 3), st.sampled_from(Bump), st.sampled_from(Bump))
def test_a_larger_change_gives_a_larger_version(version: Any, one: Bump, other: Bump) -> None:
    assert release.next_version(version, one) > version
    if one < other and one is not Bump.NONE:
        assert release.next_version(version, one) < release.next_version(version, other)


# --- which files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d["extra"]["linearData"].pop("outputs"), "declares no output"),
        (lambda d: d["extra"]["linearData"].update(outputs=[3, 9]), "output node 9 does not exist"),
        (lambda d: d["nodes"][2].update(mode=4), "output node 3 is muted or bypassed"),
        (lambda d: d["nodes"][0]["widgets_values"].__setitem__(1, ""), "has no name"),
        (lambda d: d["nodes"][0]["widgets_values"].__setitem__(0, 1000), "width: its default 1000 is not"),
        (lambda d: d["nodes"][0]["widgets_values"].__setitem__(5, 32), "between 64 and 32"),
        (lambda d: d["nodes"].append(parameter("Choice", 7, "", "look", "", False, "")), "no choices"),
        (lambda d: (d["nodes"].append({**d["nodes"][2], "id": 4}),
                    d["extra"]["linearData"].update(outputs=[3, 4])), "name of 2 outputs"),
        (lambda d: d.pop("nodes"), "no list of nodes"),
    ],
)  # fmt: skip
def test_a_file_that_callers_cannot_rely_on_is_refused(
    tmp_path: Path, spoil: Any, said: str
) -> None:
    source = dance()
    spoil(source)
    with pytest.raises(WorkflowError, match=said):
        put(tmp_path, source)
    assert not contents(tmp_path)


# --- what is written -----------------------------------------------------------------------------


def test_the_released_file_says_who_it_is_and_keeps_no_editor_state(tmp_path: Path) -> None:
    source = dance()
    before = json.dumps(source)
    put(tmp_path, source)
    found = workflow.find("dance@1.0.0", [tmp_path])
    assert found.document["extra"] == {
        "linearData": source["extra"]["linearData"],
        "info": {"name": "dance", "author": "me", "version": "1.0.0"},
    }
    assert found.document["nodes"] == source["nodes"]
    assert json.dumps(source) == before


def test_files_that_each_caller_gives_are_left_out(tmp_path: Path) -> None:
    source = dance()
    rows = '[{"image": "mine.png"}]'
    source["nodes"] += [
        parameter("Image", 4, "face.png", "image_url", "Who speaks.", True),
        parameter("Keyframes", 5, rows, "keyframes", "Pictures.", True, 1, 9),
        parameter("Audio", 6, "wind.wav", "audio_url", "Heard by default.", False, 30),
    ]
    before = json.dumps(source)
    put(tmp_path, source)
    found = workflow.find("dance@1.0.0", [tmp_path]).document["nodes"]
    assert [node["widgets_values"][0] for node in found[-3:]] == ["", "[]", "wind.wav"]
    assert json.dumps(source) == before


def test_sha256sum_agrees_with_the_list(tmp_path: Path) -> None:
    put(tmp_path, dance())
    put(tmp_path, dance(cfg=6))
    done = subprocess.run(["sha256sum", "-c", release.SUMS], cwd=tmp_path, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.stdout.splitlines() == ["dance/1.0.0.json: OK", "dance/1.0.1.json: OK"]


def test_releasing_does_not_forgive_an_older_file_that_was_changed(tmp_path: Path) -> None:
    put(tmp_path, dance())
    listed = release.hashes(tmp_path)
    (tmp_path / "dance" / "1.0.0.json").write_text(json.dumps(dance(cfg=9)))
    put(tmp_path, dance(cfg=6))
    assert release.hashes(tmp_path)["dance/1.0.0.json"] == listed["dance/1.0.0.json"]


def test_sealing_lists_every_file_and_writes_a_missing_changelog(tmp_path: Path) -> None:
    put(tmp_path, dance())
    put(tmp_path, dance(cfg=6))
    before = contents(tmp_path)
    (tmp_path / release.SUMS).unlink()
    (tmp_path / "dance" / release.CHANGELOG).unlink()
    release.seal(tmp_path, today=TODAY)
    after = contents(tmp_path)
    assert after[release.SUMS] == before[release.SUMS]
    for version in ("## [1.0.0]", "## [1.0.1]"):
        assert version in after["dance/CHANGELOG.md"].decode()


def test_the_changelog_has_the_newest_first_and_keeps_what_people_wrote(tmp_path: Path) -> None:
    put(tmp_path, dance())
    changelog = tmp_path / "dance" / release.CHANGELOG
    changelog.write_text(changelog.read_text("utf-8") + "\nWritten by hand.\n")
    put(tmp_path, dance(maximum=1280, cfg=6))
    text = changelog.read_text("utf-8")
    places = [text.index(part) for part in (
        "# Changelog of dance", "## [2.0.0] - 2026-11-21", "### Changed",
        "- **Breaks callers:** Parameter `width`: maximum 1920 → 1280 (larger values are refused)",
        "## [1.0.0]", "Written by hand.")]  # fmt: skip
    assert places == sorted(places)
    assert text.count("# Changelog of dance") == 1


def test_a_folder_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    put(tmp_path, dance())
    changelog = tmp_path / "dance" / release.CHANGELOG
    changelog.unlink()
    changelog.mkdir()  # so that it cannot be replaced, after the workflow file was put in place
    (changelog / "kept").write_text("")
    before = contents(tmp_path)
    error = refused(tmp_path, dance(cfg=6))
    assert error.details["reason"] == "cannot_write"
    assert contents(tmp_path) == before


@pytest.mark.parametrize("last", [release.CHANGELOG, release.SUMS])
def test_a_disk_that_fails_in_between_takes_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    put(tmp_path, dance())
    before = contents(tmp_path)
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if target.name == last:
            raise OSError(28, "No space left on device", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    error = refused(tmp_path, dance(cfg=6))
    assert (error.details["reason"], "No space left" in error.message) == ("cannot_write", True)
    assert contents(tmp_path) == before


# --- the command line ----------------------------------------------------------------------------


def callsheet(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner.entrypoints.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def test_diff_exits_as_diff_does(tmp_path: Path) -> None:
    one, other, broken = (tmp_path / f"{name}.json" for name in ("one", "other", "broken"))
    one.write_text(json.dumps(dance()))
    other.write_text(json.dumps(dance(maximum=1280, cfg=6)))
    broken.write_text("[]")
    same = callsheet("diff", one, one)
    assert (same.returncode, "they are the same" in same.stdout) == (0, True)
    different = callsheet("diff", one, other)
    assert different.returncode == 1
    for said in ("breaks callers", "maximum 1920 → 1280", "larger values are refused", "Sample"):
        assert said in different.stdout
    trouble = callsheet("diff", one, broken)
    assert (trouble.returncode, trouble.stdout) == (2, "")
    assert "broken.json is not a workflow" in trouble.stderr


def test_diff_as_json_is_one_document(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(json.dumps(dance()))
    other.write_text(json.dumps(dance(maximum=1280)))
    done = callsheet("diff", one, other, "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["bump"], found["breaks_callers"]) == (1, "major", True)
    assert found["contract"][0] == {
        "kind": "changed", "subject": "parameter", "name": "width", "field": "maximum",
        "before": 1920, "after": 1280, "note": "larger values are refused", "where": "",
        "bump": "major", "breaks_callers": True,
    }  # fmt: skip


def test_release_writes_only_when_asked_to(tmp_path: Path) -> None:
    file, folder = tmp_path / "edit.json", tmp_path / "released"
    file.write_text(json.dumps(dance()))
    words = ("release", file, "--as", "dance", "--into", folder)
    tried = callsheet(*words, "--dry-run")
    assert (tried.returncode, "would be released" in tried.stdout) == (0, True), tried.stderr
    assert not folder.exists()
    done = json.loads(callsheet(*words, "--json").stdout)
    assert done["path"] == str(folder / "dance" / "1.0.0.json")
    assert (done["version"], done["previous"]) == ("1.0.0", None)
    again = callsheet(*words, CALLSHEET_WORKFLOWS=str(folder))
    assert again.returncode == 2
    assert "nothing has changed since dance@1.0.0" in again.stderr
    assert "dance" in callsheet("list", CALLSHEET_WORKFLOWS=str(folder)).stdout
