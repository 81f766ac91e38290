"""What a worker does ahead of its first job."""

import os
import threading
from pathlib import Path

import pytest

from runner.job import Job
from runner.request import check
from runner.service import warming
from runner.workflow import released

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = list(released([ROOT / "workflows"]))


def files(folder: Path, *sizes: int) -> list[Path]:
    made = [folder / f"{number}.safetensors" for number in range(len(sizes))]
    for file, size in zip(made, sizes, strict=True):
        file.write_bytes(os.urandom(size))
    return made


def test_files_are_read_whole(tmp_path: Path) -> None:
    found = files(tmp_path, 40_000_000, 3, 0)
    done = warming.read_ahead(found, room=10**9, enough=threading.Event())
    assert done == 40_000_003


def test_only_what_there_is_room_for(tmp_path: Path) -> None:
    found = files(tmp_path, 5000, 9000, 3000)  # the second is too large for what the first leaves
    assert warming.read_ahead(found, room=9000, enough=threading.Event()) == 8000


def test_it_can_be_ended_and_takes_no_file_for_granted(tmp_path: Path) -> None:
    enough = threading.Event()
    enough.set()
    assert warming.read_ahead(files(tmp_path, 5000), room=10**9, enough=enough) == 0
    gone = tmp_path / "gone.safetensors"
    assert warming.read_ahead([gone], room=10**9, enough=threading.Event()) == 0


def test_a_container_s_limit_counts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       100 kB\nMemAvailable:   64 kB\n")
    assert warming.free_memory(meminfo, tmp_path) == 64 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert warming.free_memory(meminfo, tmp_path) == 64 * 1024
    (tmp_path / "memory.max").write_text("5000\n")
    assert warming.free_memory(meminfo, tmp_path) == 4000


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_the_small_request_is_one(workflow) -> None:
    params = warming.small_request(workflow)
    ready = check(Job("small", workflow.reference, params), workflow)
    usual = check(Job("usual", workflow.reference, {**params, "width": 512}), workflow) if (
        "width" in params
    ) else ready  # fmt: skip
    assert ready.values.get("width", 0) <= usual.values.get("width", 0)
