"""What a job has stored is found again: the same job id is not rendered twice, wherever it stored."""

import dataclasses
import json
from pathlib import Path

import pytest

from runner.errors import JobConflict, StorageError
from runner.job import Artifact, Job, Probe, Result, Status
from runner.jobs import stored
from runner.request import Ready, check
from runner.run import fingerprint
from runner.storage import Storage
from runner.storage.local import LocalStorage
from runner.workflow import Workflow

from cloud_proxy import Fault
from clouds import Cloud

PATHS = ["", "jobs/{job_id}", "{job_id}/{output}-{index:03d}.{ext}", "media/{name}"]


def asked(job: str = "mine", **params: object) -> Ready:
    return check(Job(job, "w", params), Workflow({"nodes": [], "links": []}, None, "w", "1.0.0"))


def put(storage: Storage, folder: Path, ready: Ready, sizes: tuple[int, ...] = (10, 20)) -> Result:
    """As a job does that has succeeded."""
    artifacts: list[Artifact] = []
    for index, size in enumerate(sizes):
        file = folder / f"mine-{index}.mp4"
        file.write_bytes(b"x" * size)
        fields = {"job_id": ready.job.id, "output": "Final cut", "index": index}
        location = storage.put(file, file.name, fields)
        artifacts.append(Artifact("Final cut", location, size, "0", Probe("video"), file.name))
    result = Result(ready.job.id, Status.SUCCEEDED, "w@1", tuple(artifacts), {}, None, {},
                    request=fingerprint(ready, rehearsal=False), moments=storage.moments)  # fmt: skip
    file = folder / "mine.json"
    file.write_text(json.dumps(result.to_dict()))
    storage.put(file, file.name, {"job_id": ready.job.id})
    return result


def found(ready: Ready, storage: Storage) -> Result | None:
    return stored(ready, storage, fingerprint(ready, rehearsal=False))


@pytest.mark.parametrize("path", PATHS)
def test_a_result_is_read_back(cloud: Cloud, tmp_path: Path, path: str) -> None:
    storage, ready = cloud.open(path), asked()
    assert found(ready, storage) is None
    result = put(storage, tmp_path, ready)
    assert found(ready, storage) == result


def test_another_request_under_its_id_is_refused(cloud: Cloud, tmp_path: Path) -> None:
    storage = cloud.open("jobs/{job_id}")
    put(storage, tmp_path, asked())
    other = dataclasses.replace(asked(), job=Job("mine", "w", {"prompt": "another"}))
    with pytest.raises(JobConflict):
        found(other, storage)


def test_a_file_that_is_gone_or_another_is_rendered_again(cloud: Cloud, tmp_path: Path) -> None:
    storage, ready = cloud.open("jobs"), asked()
    put(storage, tmp_path, ready)
    (tmp_path / "mine-1.mp4").write_bytes(b"somebody else's")
    storage.put(tmp_path / "mine-1.mp4", "mine-1.mp4")
    assert found(ready, storage) is None


def test_addresses_are_signed_anew(s3: Cloud, tmp_path: Path) -> None:
    ready = asked()
    put(s3.open("jobs"), tmp_path, ready)
    again = found(ready, s3.open("jobs?sign=60"))
    assert again is not None
    assert all("X-Amz-Expires=60" in a.location for a in again.artifacts)


def test_a_result_that_is_none(cloud: Cloud, tmp_path: Path) -> None:
    storage = cloud.open()
    (tmp_path / "mine.json").write_text("[]")
    storage.put(tmp_path / "mine.json", "mine.json")
    with pytest.raises(JobConflict, match="no result of this version"):
        found(asked(), storage)


@pytest.mark.parametrize("status", [403, 500])
def test_a_bucket_that_does_not_say(cloud: Cloud, tmp_path: Path, status: int) -> None:
    """With a right to write only, nothing is known; a service that fails may have the result."""
    storage, ready = cloud.open(), asked()
    put(storage, tmp_path, ready)
    body, content_type = cloud.body(status, "no")
    for method in ("GET", "HEAD"):
        answer = Fault(method, "answer", 99, "", cloud.refusal or status, body, content_type)
        cloud.proxy.faults.append(answer)
    if status == 403:
        assert found(ready, storage) is None
    else:
        with pytest.raises(StorageError) as caught:
            found(ready, storage)
        assert caught.value.retryable


def test_a_folder(tmp_path: Path) -> None:
    storage, ready = LocalStorage(tmp_path / "out"), asked()
    assert found(ready, storage) is None
    result = put(storage, tmp_path, ready)
    assert found(ready, storage) == result
    Path(result.artifacts[1].location).unlink()
    assert found(ready, storage) is None


@pytest.mark.parametrize("path", ["{stamp}_{name}", "{stamp}/{name}", "{job_id}/{stamp}"])
def test_a_destination_with_the_time_is_found_at_another_time(
    cloud: Cloud, tmp_path: Path, path: str
) -> None:
    first, later = (cloud.open(path, fields={"stamp": stamp}) for stamp in ("1200", "1201"))
    ready = asked()
    result = put(first, tmp_path, ready)
    assert "1200" in result.artifacts[0].location
    assert found(ready, later) == result
