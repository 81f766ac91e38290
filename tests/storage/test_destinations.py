"""Destinations as people write them: what is opened, what a file is called there, what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import RequestError, StorageError
from runner.storage import naming, open_storage
from runner.storage.bucket import BucketStorage
from runner.storage.faults import Door
from runner.storage.local import LocalStorage

OUTPUT = {"job_id": "j1", "output": "video", "index": 0}


@pytest.fixture(autouse=True)
def accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", "hush")


def key(path: str, name: str = "j1-video.mp4", fields=OUTPUT, **given: str | int) -> str:
    return naming.parse(path, given).key(name, fields)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "j1-video.mp4"),
        ("a/b/", "a/b/j1-video.mp4"),
        ("v1.0", "v1.0/j1-video.mp4"),
        ("{job_id}", "j1/j1-video.mp4"),
        ("ugc_media/{job_id}/ltx2_videos/{name}", "ugc_media/j1/ltx2_videos/j1-video.mp4"),
        ("{job_id}/{output}.{ext}", "j1/video.mp4"),
        ("{project_id}/clips/clip_{index:03d}.mp4", "p7/clips/clip_000.mp4"),
        ("{project_id}/final.mp4", "p7/final.mp4"),
    ],
)
def test_templates(path: str, expected: str) -> None:
    assert key(path, project_id="p7") == expected


def test_the_callers_fields_win() -> None:
    path = "{project_id}/clips/clip_{index:03d}.mp4"
    assert key(path, project_id="p7", index=12) == "p7/clips/clip_012.mp4"
    assert key(path, project_id="p7", index="12") == "p7/clips/clip_012.mp4"


def test_the_result_lies_beside_the_outputs_under_its_own_name() -> None:
    fields = {"job_id": "j1"}
    assert key("{job_id}/clip_{index:03d}.mp4", "j1.json", fields) == "j1/j1.json"
    assert key("{job_id}.mp4", "j1.json", fields) == "j1.json"
    assert key("a/{index:03d}/video.mp4", "j1.json", fields) == "a/j1.json"
    assert key("a/r-{name}", "j1.json", fields) == "a/r-j1.json"


def test_two_outputs_of_one_name_are_refused() -> None:
    second = {**OUTPUT, "index": 1}
    with pytest.raises(StorageError, match=r"put \{output\} or \{index\} into it") as caught:
        key("{job_id}/final.mp4", fields=second)
    assert not caught.value.retryable
    with pytest.raises(StorageError, match="names one file"):
        key("clip_{index}.mp4", fields=second, index=7)
    assert key("clip_{index}.mp4", fields=second) == "clip_1.mp4"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("a/../b", r"cannot have a part '\.\.'"),
        ("a//b", "cannot have a part ''"),
        ("a/./b", r"cannot have a part '\.'"),
        ("{where}/x", r"there is no field \{where\}; there are \{job_id\}"),
        ("{job_id", "write fields like {job_id}"),
        ("{}", "there is no field {}"),
        ("{job_id.__class__}", "there is no field"),
        ("{job_id[0]}", "there is no field"),
        ("{job_id!r}", "write {job_id}"),
        ("{index:>999999999}", "or a number as {index:03d}"),
        ("{job_id:03d}", "is no number"),
        ("a\\b", "cannot stand there"),
        ("a\nb", "cannot stand there"),
        ("动画", "cannot stand there"),
        ("a /b", "cannot stand there"),
        ("%2e%2e/b", "cannot stand there"),
    ],
)
def test_paths_that_are_refused(path: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        open_storage(f"gs://bucket/{path}")


@pytest.mark.parametrize("value", ["..", "a/b", "", "a\\b", "a\0b", "任务", "x" * 201])
def test_callers_values_that_are_refused(value: str) -> None:
    with pytest.raises(RequestError, match=r"project_id: .* cannot be a part"):
        open_storage("gs://bucket/{project_id}", fields={"project_id": value})


def test_a_number_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(RequestError, match="index: 'x' is no whole number"):
        open_storage("gs://bucket/clip_{index:03d}.mp4", fields={"index": "x"})


@pytest.mark.parametrize("path", ["{ext}", "..{ext}"])
def test_a_part_that_becomes_empty_is_refused(path: str) -> None:
    with pytest.raises(StorageError, match="a part of the key is empty"):
        key(path, "README")


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_job_id_and_no_name_leaves_its_place(job_id: str, name: str) -> None:
    fields = {**OUTPUT, "job_id": job_id}
    found = naming.parse("a/{job_id}/{name}", {}).key(name, fields)
    top, job, file = found.split("/")
    assert top == "a" and job not in ("", ".", "..") and file not in ("", ".", "..")
    assert found.isascii() and len(found) <= 1024


@given(st.lists(st.text(max_size=20), min_size=2, max_size=5, unique=True))
def test_job_ids_that_differ_never_share_a_folder(ids: list[str]) -> None:
    names = naming.parse("{job_id}", {})
    keys = {names.key("clip.mp4", {**OUTPUT, "job_id": i}) for i in ids}
    assert len(keys) == len(ids)


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ("ftp://host/x", "ftp://…: outputs cannot be stored there; write a folder, gs://bucket"),
        ("s3://", "no bucket's name"),
        ("gs:///x", "no bucket's name"),
        ("s3://{job_id}/x", "no bucket's name"),
        ("s3://key:hush@bucket/x", "no bucket's name"),
        ("s3://bucket/x?public=yes", "public: a destination can say overwrite=no and sign=SECONDS"),
        ("s3://bucket/x?overwrite=maybe", "overwrite=maybe: write yes or no"),
        ("s3://bucket/x?sign=0", "write seconds, from 1 to 604800"),
        ("s3://bucket/x?sign=604801", "write seconds"),
        ("s3://bucket/x?sign=²", "write seconds"),
    ],
)
def test_destinations_that_are_refused(destination: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        open_storage(destination)
    assert "hush" not in caught.value.message


@pytest.mark.parametrize("scheme", ["gs", "s3", "supabase"])
def test_options(scheme: str) -> None:
    plain = open_storage(f"{scheme}://bucket/x")
    told = open_storage(f"{scheme}://bucket/x?overwrite=no&sign=60", overwrite=True, sign=5)
    given = open_storage(f"{scheme}://bucket/x", overwrite=False, sign=5)
    assert isinstance(plain, BucketStorage)
    assert isinstance(told, BucketStorage)
    assert isinstance(given, BucketStorage)
    assert [(s.overwrite, s.sign) for s in (plain, told, given)] == [
        (True, None),
        (False, 60),
        (False, 5),
    ]


def test_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("1")
    storage = open_storage(str(tmp_path / "out"), overwrite=False)
    assert isinstance(storage, LocalStorage)
    assert storage.put(file, "a.txt", OUTPUT) == str(tmp_path / "out" / "a.txt")
    file.write_text("2")
    with pytest.raises(StorageError, match="is not to be overwritten") as caught:
        storage.put(file, "a.txt")
    assert not caught.value.retryable and file.exists()
    open_storage(str(tmp_path / "out")).put(file, "a.txt")
    assert (tmp_path / "out" / "a.txt").read_text() == "2"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc.def-ghi",
        "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoi.c2lnbmF0dXJl",
        "X-Amz-Signature=0123abcd&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE/x",
        "apikey: sb_secret_0123",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----",
        "the secret s3cr3t",
    ],
)
def test_what_gives_access_is_not_told(text: str) -> None:
    door = Door("s3://b", ("s3cr3t",))
    told = door.answered(403, f"before {text} after").message
    assert "before" in told and "after" in told
    for secret in ("abc.def", "eyJ", "0123", "AKIA", "MIIE", "s3cr3t"):
        assert secret not in told
    assert door.cause(ValueError(text)) is None


def test_clients_are_imported_only_when_they_are_used() -> None:
    heavy = "{'boto3', 'botocore', 'google.cloud', 'google.auth', 'storage3', 'httpx'}"
    code = f"import sys, runner.entrypoints.cli, runner.storage; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
