"""Storing in a bucket with the real clients: what arrives, and what happens when it goes wrong."""

import json
import random
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from runner.errors import StorageError

from cloud_proxy import Fault
from clouds import BUCKET, SECRET, Cloud


def make(folder: Path, size: int = 40_000, name: str = "clip.mp4", seed: int = 0) -> Path:
    file = folder / name
    file.write_bytes(random.Random(seed).randbytes(size))
    return file


def left_open(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read()


@pytest.mark.parametrize("large", [False, True])
def test_a_file_arrives_with_its_type_and_leaves_this_machine(
    cloud: Cloud, tmp_path: Path, large: bool
) -> None:
    file = make(tmp_path, cloud.large if large else 40_000)
    content = file.read_bytes()
    url = cloud.open("ugc_media/{job_id}").put(file, "clip.mp4", {"job_id": "j1"})
    there = cloud.held("ugc_media/j1/clip.mp4")
    assert there is not None
    assert (there.content == content, there.content_type) == (True, "video/mp4")
    assert url.startswith(cloud.proxy.url) and url.endswith("ugc_media/j1/clip.mp4")
    assert "?" not in url
    assert not file.exists()


def test_a_large_file_goes_in_parts(cloud: Cloud, tmp_path: Path) -> None:
    cloud.open().put(make(tmp_path, cloud.large), "clip.mp4")
    sizes = [s.size for s in cloud.proxy.seen if s.method == cloud.part and s.size > 1000]
    assert len(sizes) >= 3 and max(sizes) <= 8 << 20 and sum(sizes) == cloud.large


def test_amazon_gets_a_checksum_with_each_part(s3: Cloud, tmp_path: Path) -> None:
    """And none that was not announced when the upload was begun: Amazon refuses that."""
    s3.open().put(make(tmp_path, s3.large), "clip.mp4")
    parts = [{k.lower() for k in s.headers} for s in s3.proxy.seen if s.method == "PUT"]
    assert len(parts) == 3 and all("content-md5" in p for p in parts)
    assert not any("x-amz-checksum-crc32" in p for p in parts)


def test_an_empty_file_and_one_that_just_fills_a_part_arrive(cloud: Cloud, tmp_path: Path) -> None:
    storage = cloud.open()
    for size in (0, 6 << 20, 8 << 20):
        storage.put(make(tmp_path, size), f"{size}.mp4")
        there = cloud.held(f"{size}.mp4")
        assert there is not None and len(there.content) == size


def test_overwriting_replaces(cloud: Cloud, tmp_path: Path) -> None:
    storage = cloud.open()
    storage.put(make(tmp_path, 100, seed=1), "clip.mp4")
    storage.put(make(tmp_path, 200, seed=2), "clip.mp4")
    there = cloud.held("clip.mp4")
    assert there is not None and len(there.content) == 200


@pytest.mark.parametrize("large", [False, True])
def test_not_overwriting_refuses_another_file(cloud: Cloud, tmp_path: Path, large: bool) -> None:
    storage = cloud.open(overwrite=False)
    storage.put(make(tmp_path, 100, seed=1), "clip.mp4")
    file = make(tmp_path, cloud.large if large else 200, seed=2)
    with pytest.raises(StorageError, match="there is another file of that name") as caught:
        storage.put(file, "clip.mp4")
    assert not caught.value.retryable
    assert file.exists()
    there = cloud.held("clip.mp4")
    assert there is not None and len(there.content) == 100


@pytest.mark.parametrize("large", [False, True])
def test_the_same_file_once_more_is_no_conflict(cloud: Cloud, tmp_path: Path, large: bool) -> None:
    storage = cloud.open(overwrite=False)
    first = storage.put(make(tmp_path, cloud.large if large else 100), "clip.mp4")
    assert storage.put(make(tmp_path, cloud.large if large else 100), "clip.mp4") == first


@pytest.mark.parametrize("kind", ["reset", "lost", "stall", "corrupt"])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_one_failure_on_the_way_is_mended(
    cloud: Cloud, tmp_path: Path, kind: str, large: bool, overwrite: bool
) -> None:
    file = make(tmp_path, cloud.large if large else 40_000)
    content = file.read_bytes()
    cloud.fail(kind, large=large)
    cloud.open(overwrite=overwrite).put(file, "clip.mp4")
    assert cloud.proxy.faults[0].times == 0
    there = cloud.held("clip.mp4")
    assert there is not None and there.content == content


@pytest.mark.parametrize("kind", ["reset", "stall"])
def test_a_service_that_stays_out_of_reach_is_given_up(
    cloud: Cloud, tmp_path: Path, kind: str
) -> None:
    file = make(tmp_path)
    cloud.fail(kind, times=99)
    with pytest.raises(StorageError, match=f"{cloud.scheme}://{BUCKET}: not reached") as caught:
        cloud.open().put(file, "clip.mp4")
    assert caught.value.retryable and file.exists()
    assert 99 - cloud.proxy.faults[0].times == 3


def test_a_large_file_that_does_not_get_through_leaves_nothing_begun(
    cloud: Cloud, tmp_path: Path
) -> None:
    """That no upload in parts is left open at Amazon, where it costs, is looked at in the end."""
    file = make(tmp_path, cloud.large)
    cloud.fail("reset", large=True, times=9999)
    with pytest.raises(StorageError, match="not reached") as caught:
        cloud.open().put(file, "clip.mp4")
    assert caught.value.retryable and file.exists()
    assert cloud.held("clip.mp4") is None


def test_bytes_that_change_on_the_way_each_time_are_an_error(cloud: Cloud, tmp_path: Path) -> None:
    file = make(tmp_path)
    cloud.fail("corrupt", times=99)
    with pytest.raises(StorageError, match=r"checksum|match calculated") as caught:
        cloud.open().put(file, "clip.mp4")
    assert caught.value.retryable and file.exists()


@pytest.mark.parametrize(
    ("status", "retryable", "said"),
    [
        (403, False, "access is denied"),
        (404, False, "there is no such bucket"),
        (429, True, "slow down"),
        (500, True, "the service fails"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_whether_to_try_again(
    cloud: Cloud, tmp_path: Path, status: int, retryable: bool, said: str
) -> None:
    file = make(tmp_path)
    cloud.refuse(status, "words of the service", times=99)
    with pytest.raises(StorageError, match=said) as caught:
        cloud.open().put(file, "clip.mp4")
    assert "words of the service" in caught.value.message
    assert caught.value.retryable is retryable
    assert caught.value.to_dict()["details"] == {"status": status}
    assert cloud.proxy.count(cloud.whole) == (3 if retryable else 1)
    assert file.exists()


@pytest.mark.parametrize("status", [429, 500])
def test_a_service_that_comes_back_is_waited_for(cloud: Cloud, tmp_path: Path, status: int) -> None:
    cloud.refuse(status)
    cloud.open().put(make(tmp_path), "clip.mp4")
    assert cloud.held("clip.mp4") is not None


def test_a_bucket_that_is_not_there_is_known_before_the_render(cloud: Cloud) -> None:
    cloud.open().require_writable()
    with pytest.raises(StorageError, match="there is no such bucket") as caught:
        cloud.open(bucket="nobody-has-this").require_writable()
    assert not caught.value.retryable


def test_asking_beforehand_leaves_nothing(cloud: Cloud) -> None:
    cloud.open("a/{job_id}/{name}").require_writable()
    assert cloud.held("a/.callsheet-probe") is None


def test_no_right_to_write_is_known_before_the_render(cloud: Cloud) -> None:
    cloud.refuse(403)
    with pytest.raises(StorageError, match="access is denied"):
        cloud.open().require_writable()


def test_a_service_that_repeats_what_gives_access_is_not_quoted(
    cloud: Cloud, tmp_path: Path
) -> None:
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZSJ9.c2lnbmF0dXJl"
    said = f"bad {SECRET} and Bearer ya29.abc-def and {jwt} and X-Amz-Signature=deadbeef here"
    for status in (403, 500):
        cloud.proxy.faults.clear()
        cloud.refuse(status, said, times=99)
        with pytest.raises(StorageError) as caught:
            cloud.open().put(make(tmp_path), "clip.mp4")
        told = f"{caught.value.to_dict()} {caught.value.__cause__}"
        assert "here" in told
        hidden = [SECRET, "ya29", jwt, "deadbeef"] if cloud.scheme != "gs" else ["ya29", jwt]
        assert not [secret for secret in hidden if secret in told]


def test_names_of_any_script_become_keys_that_every_service_takes(
    cloud: Cloud, tmp_path: Path
) -> None:
    url = cloud.open("{job_id}").put(make(tmp_path), "动画 #1?.mp4", {"job_id": "../任务 一"})
    key = url.partition(f"{BUCKET}/")[2]
    assert cloud.held(key) is not None
    assert key.isascii() and key.endswith(".mp4") and ".." not in key and "%" not in key


def test_public_and_signed_addresses(s3: Cloud, tmp_path: Path) -> None:
    public = s3.open().put(make(tmp_path), "clip.mp4")
    signed = s3.open("?sign=600").put(make(tmp_path), "clip.mp4")
    assert public == f"{s3.proxy.url}/{BUCKET}/clip.mp4"
    assert "X-Amz-Expires=600" in signed and SECRET not in signed
    assert len(left_open(signed)) == 40_000


def test_supabase_signs_for_the_seconds_asked_for(supabase: Cloud, tmp_path: Path) -> None:
    public = supabase.open().put(make(tmp_path), "clip.mp4")
    signed = supabase.open("?sign=600").put(make(tmp_path), "clip.mp4")
    assert public == f"{supabase.proxy.url}/storage/v1/object/public/{BUCKET}/clip.mp4"
    assert signed.endswith(f"/object/sign/{BUCKET}/clip.mp4?token=expires-600")


def test_a_file_above_supabases_limit_is_refused(supabase: Cloud, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="larger than the bucket takes") as caught:
        supabase.open().put(make(tmp_path, 51 << 20), "clip.mp4")
    assert not caught.value.retryable


def test_supabase_goes_on_where_it_has_got_to(supabase: Cloud, tmp_path: Path) -> None:
    supabase.fail("lost", large=True)
    supabase.open().put(make(tmp_path, supabase.large), "clip.mp4")
    assert supabase.proxy.count("PATCH") == 3  # not one chunk twice
    assert supabase.proxy.count("POST") == 1


def test_supabase_reads_back_what_no_etag_vouches_for(supabase: Cloud, tmp_path: Path) -> None:
    supabase.site.encrypted = True
    supabase.open().put(make(tmp_path, supabase.large), "clip.mp4")
    supabase.fail("corrupt", large=True, times=99)
    with pytest.raises(StorageError, match="a wrong checksum"):
        supabase.open().put(make(tmp_path, supabase.large), "clip.mp4")


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_who_comes_first_while_we_are_sending_keeps_the_name(
    scheme: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The service is told to refuse: looking beforehand is not enough."""
    cloud: Cloud = request.getfixturevalue(scheme)
    cloud.refuse(412, "At least one of the pre-conditions you specified did not hold")
    with pytest.raises(StorageError, match="there is another file of that name") as caught:
        cloud.open(overwrite=False).put(make(tmp_path), "clip.mp4")
    assert not caught.value.retryable
    sent = next(s for s in cloud.proxy.seen if s.method == cloud.whole)
    asked = {key.lower(): value for key, value in sent.headers.items()}
    assert asked.get("if-none-match") == "*" or "ifGenerationMatch=0" in sent.path


def test_google_signs_with_a_key_that_is_in_the_environment(
    gs: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="a signed URL needs a service account's key"):
        gs.open("?sign=600").require_writable()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_JSON", json.dumps(account(gs.proxy.url)))
    token = '{"access_token": "ya29.given", "expires_in": 3600, "token_type": "Bearer"}'
    gs.proxy.faults.append(Fault("POST", "answer", 99, "/token", 200, token))
    storage = gs.open("?sign=600")
    storage.require_writable()
    signed = storage.put(make(tmp_path), "clip.mp4")
    assert "X-Goog-Expires=600" in signed and f"{BUCKET}/clip.mp4?" in signed
    sent = [s for s in gs.proxy.seen if "uploadType=multipart" in s.path]
    assert [s.headers["authorization"] for s in sent] == ["Bearer ya29.given"]


def test_a_broken_key_is_not_repeated(gs: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for broken in ("[]", f'{{"type": "service_account", "private_key": "{SECRET}"}}', SECRET):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_JSON", broken)
        with pytest.raises(StorageError, match="is no service account's key") as caught:
            gs.open()
        assert SECRET not in f"{caught.value} {caught.value.__cause__}"


def test_a_key_in_a_mounted_file(
    supabase: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUPABASE_SERVICE_ROLE_KEY")
    with pytest.raises(StorageError, match="set SUPABASE_SERVICE_ROLE_KEY"):
        supabase.open()
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(StorageError, match="cannot be read"):
        supabase.open()
    (tmp_path / "key").write_text(f"{SECRET}\n")
    supabase.open().put(make(tmp_path), "clip.mp4")


def test_no_credentials_are_named_before_the_render(
    s3: Cloud, supabase: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageError, match="set AWS_ACCESS_KEY_ID") as caught:
        s3.open().require_writable()
    assert not caught.value.retryable
    monkeypatch.delenv("SUPABASE_URL")
    with pytest.raises(StorageError, match="set SUPABASE_URL"):
        supabase.open()


def test_memory_stays_flat(cloud: Cloud, tmp_path: Path) -> None:
    """In a process of its own; 100 MB are enough to see whether a file is held."""
    if cloud.site:
        cloud.site.limit = 200 << 20
    script = Path(__file__).with_name("memory.py")
    asked = [sys.executable, str(script), f"{cloud.scheme}://{BUCKET}/", "100", str(tmp_path)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["peak_mb"] < 15


def account(url: str) -> dict[str, str]:
    """A service account's key, made here."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": "test",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "runner@test.iam.gserviceaccount.com",
        "token_uri": f"{url}/token",
    }
