"""The disk is full while a node writes: a clear error, nothing is left, and the next job runs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_disk import SIZE

from faulty import Fault

HERE = Path(__file__).parent
# As root, or as a user that plays it in a namespace of its own.
MOUNT = f'mount -t tmpfs -o size={SIZE} tmpfs "$1" && exec "${{@:2}}"'
OWN = ["unshare", "--map-root-user", "--mount", "bash", "-ec", MOUNT, "bash"]


def may_mount(folder: Path) -> bool:
    return subprocess.run([*OWN, str(folder), "true"], capture_output=True).returncode == 0


def jobs(tmp_path: Path, way: str) -> dict[str, Any]:
    disk = tmp_path / "disk"
    disk.mkdir(exist_ok=True)
    words = [sys.executable, str(HERE / "small_disk.py"), str(disk), str(tmp_path / "home"), way]
    inside = [*OWN, str(disk), *words] if way == "tmpfs" else words
    done = subprocess.run(
        inside, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(200)
def test_the_disk_is_full(tmp_path: Path, fault: Fault) -> None:
    """The disk is full while a node writes its file."""
    (tmp_path / "disk").mkdir()
    # Where namespaces are forbidden, no file may grow: the same failure but for its words.
    way = "tmpfs" if may_mount(tmp_path / "disk") else "limit"
    found = jobs(tmp_path, way)
    first, second, third, fourth = found["told"]
    for failed in (first, third):
        assert failed["code"] == "disk_full", failed
        assert failed["retryable"]
        assert "ComfyUI's disk is full; remove files there" in failed["message"]
    assert (second["code"], fourth["code"]) == ("succeeded", "succeeded"), found
    assert [told["left"] for told in found["told"]] == [[]] * 4
    assert found["left"] == []
    fault.record("disk_full", first["seconds"])
