"""A released workflow file never changes again."""

import hashlib
from pathlib import Path

import pytest

from runner import release, workflow

FOLDER = Path(__file__).parents[2] / "workflows"
LISTED = release.hashes(FOLDER)


@pytest.mark.parametrize("path", LISTED)
def test_a_released_file_is_as_it_was_released(path: str) -> None:
    assert hashlib.sha256((FOLDER / path).read_bytes()).hexdigest() == LISTED[path], (
        f"{path} was changed after its release: take that back, and release the change with "
        "`callsheet release`"
    )


def test_every_workflow_file_is_listed() -> None:
    assert sorted(LISTED) == sorted(
        p.relative_to(FOLDER).as_posix() for p in FOLDER.glob("*/*.json")
    )


@pytest.mark.parametrize("path", LISTED)
def test_a_released_file_says_its_name_and_version_and_is_sound(path: str) -> None:
    found = workflow.load(FOLDER / path)
    said = workflow.info(found.document)
    assert (said["name"], said["version"]) == (Path(path).parent.name, Path(path).stem)
    release.require_sound(found.document)
    assert not {"ds", "frontendVersion", "linearMode"} & found.document["extra"].keys()


def test_every_released_version_has_a_changelog_entry() -> None:
    for path in map(Path, LISTED):
        text = (FOLDER / path.parent / release.CHANGELOG).read_text("utf-8")
        assert f"## [{path.stem}] - " in text, f"{path.parent} has no entry for {path.stem}"
