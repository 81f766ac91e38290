"""Folders for temporary files: removed at the end, and by the next process after a SIGKILL."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from runner.comfy import scratch
from runner.errors import EngineUnavailable

HOLD = """
import subprocess, sys, tempfile
tempfile.tempdir = sys.argv[1]
from runner.comfy import scratch
with scratch.folder() as made:
    (made / "output").mkdir()
    (made / "output" / "large.mp4").write_bytes(b"x")
    if sys.argv[2:]:
        child = subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL)
        (made / "child").write_text(str(child.pid))
    print(made, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def held(folder: Path, *more: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), *more],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_it_is_gone_at_the_end(temporary: Path) -> None:
    def fail() -> None:
        with scratch.folder() as made:
            assert made.parent == temporary
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(temporary.iterdir()) == []


def test_a_dead_owners_folder_is_removed_and_a_living_ones_is_not(temporary: Path) -> None:
    living, kept = held(temporary)
    dead, swept = held(temporary)
    try:
        end(dead)
        assert swept.exists()
        with scratch.folder() as own:
            assert sorted(temporary.iterdir()) == sorted([own, kept])
            assert (kept / "output" / "large.mp4").exists()
            scratch.sweep()
            assert own.exists()  # its own, too
    finally:
        end(living)


def test_what_the_owner_has_started_does_not_keep_it(temporary: Path) -> None:
    """A child that outlives it inherits no lock."""
    owner, made = held(temporary, "child")
    child = int((made / "child").read_text())
    try:
        end(owner)
        os.kill(child, 0)  # it lives
        scratch.sweep()
        assert not made.exists()
    finally:
        os.kill(child, signal.SIGKILL)


def test_others_folders_stay(temporary: Path) -> None:
    (temporary / "callsheet-notes").mkdir()
    (temporary / "other").mkdir()
    (temporary / "other" / scratch.OWNER).touch()
    outside = temporary / "outside"
    outside.mkdir()
    (outside / scratch.OWNER).touch()
    (temporary / "callsheet-link").symlink_to(outside)
    scratch.sweep()
    assert {p.name for p in temporary.iterdir()} == {
        "callsheet-notes",
        "other",
        "outside",
        "callsheet-link",
    }
    assert (outside / scratch.OWNER).exists()


def test_no_room_for_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nothing")
    with pytest.raises(EngineUnavailable, match="cannot be made"), scratch.folder():
        pass
