"""Too little room: told before a job starts, and where a disk fills up under it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.inputs import DiskFull, require_room

from media_site import Site, picture

# A disk of one megabyte, in a mount namespace of its own.
SMALL_DISK = (
    'mount -t tmpfs -o size=1m tmpfs "$1" && shift && exec "$@"'  # as root, or a user that plays it
)
JOBS = """
import json, sys
from pathlib import Path
from runner.errors import RunnerError
from runner.inputs import Access, Allowed, Cache, fetch, folder_in
from runner.job import Job
from runner.request import check
from runner.workflow import Workflow
sys.path.insert(0, sys.argv[1])
from workflows import document, parameter
root, told = Path(sys.argv[2]), []
file = document(parameter("Image", 1, "", "image_url", "", False))
found = Workflow(file, None, "w", "1.0.0")
access = Access(hosts=Allowed.of(["127.0.0.1"]), cache=Cache(root / "cache", 10**9))
for url in sys.argv[3:]:
    ready = check(Job("job", "w", {"image_url": url}), found)
    try:
        with folder_in(root) as folder:
            done = fetch(ready, folder, root=root, access=access)
            told.append({"bytes": (root / done.values["image_url"]).stat().st_size})
    except RunnerError as error:
        told.append(error.to_dict())
    told[-1]["left"] = [str(p) for p in root.rglob("*.p*") if p.is_file()]
print(json.dumps(told))
"""


def test_a_disk_that_fills_up_fails_the_job_and_not_the_next(tmp_path: Path) -> None:
    large, small = picture("BMP", (1000, 800)), picture(size=(400, 300))
    assert len(large) > 1_500_000 and 50_000 < len(small) < 600_000
    disk = tmp_path / "disk"
    disk.mkdir()
    with Site() as site:

        def until_closed(asked: object) -> None:
            asked.start()  # type: ignore[attr-defined]
            asked.wfile.write(large)  # type: ignore[attr-defined]

        site.put("/large", large)
        site.put("/long", until_closed)  # nobody says how large it is
        site.put("/small", lambda asked: asked.answer(small, ETag='"1"'))
        urls = [site.url(f"/{name}", "127.0.0.1") for name in ("large", "small", "long", "small")]
        done = subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-ec", SMALL_DISK, "sh", disk,
             sys.executable, "-c", JOBS, Path(__file__).parent, disk, *urls],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for failed in (told[0], told[2]):
        assert (failed["code"], failed["retryable"]) == ("disk_full", True)
        assert failed["message"].startswith(f"the disk of {disk}/callsheet/")
        assert failed["message"].endswith(" is full: an input does not fit; remove files there")
    assert [told[1]["bytes"], told[3]["bytes"]] == [len(small)] * 2
    assert [answer["left"] for answer in told] == [[]] * 4


def test_a_job_needs_some_room_before_it_starts(tmp_path: Path) -> None:
    require_room([tmp_path, tmp_path / "not" / "there" / "yet"], 1000)
    require_room([tmp_path], 0)
    with pytest.raises(DiskFull) as caught:
        require_room([tmp_path / "not" / "there" / "yet"], 1 << 60)
    error = caught.value
    assert (error.code, error.retryable) == ("disk_full", True)
    assert error.message.startswith(f"the disk of {tmp_path} has ")
    assert error.message.endswith(
        " GB free, and a job starts with 1152921504.61 GB or more; "
        "remove files there, or set CALLSHEET_MIN_FREE_GB"
    )
    assert error.details["folder"] == str(tmp_path) and error.details["free"] > 0
