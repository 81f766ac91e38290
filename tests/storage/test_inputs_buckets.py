"""Inputs from gs:// and s3://: with the real clients, only where the operator allows it."""

import json
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from runner.errors import RequestError
from runner.inputs import sources
from runner.inputs.buckets import Buckets
from runner.inputs.cache import Cache
from runner.inputs.net import Downloads, Patience
from runner.inputs.sources import Failed, Fetched, Limits, Moved, Wanted

from clouds import Emulator

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from media_site import Asked, Site, picture

BUCKET, KEY, SECRET = "media-in", "AKIAIOSFODNN7EXAMPLE", "hush-0123456789-hush"
HASTY = Patience(connect=1, read=1, total=8, tries=3, backoff=0.01)
PNG = picture()
NAMES = ["a.png", "uploads/2026/写真 ü%20?#&+=~.png", "a;b:c@d,e'(f)!$*.png"]


@dataclass(frozen=True)
class Cloud:
    scheme: str
    put: Callable[[str, bytes], object]

    def url(self, key: str) -> str:
        return f"{self.scheme}://{BUCKET}/{key}"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def s3(moto_url: str, keys: None, monkeypatch: pytest.MonkeyPatch) -> Generator[Cloud]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    direct = boto3.client("s3", region_name="us-east-1")
    direct.create_bucket(Bucket=BUCKET)
    put: set[str] = set()

    def store(key: str, body: bytes) -> None:
        put.add(key)
        direct.put_object(Bucket=BUCKET, Key=key, Body=body)

    yield Cloud("s3", store)
    for key in put:
        direct.delete_object(Bucket=BUCKET, Key=key)
    direct.delete_bucket(Bucket=BUCKET)
    direct.close()


@pytest.fixture
def gs(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Generator[Cloud]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    direct = storage.Client(project="test", credentials=AnonymousCredentials())
    bucket = direct.create_bucket(BUCKET)
    yield Cloud("gs", lambda key, body: bucket.blob(key).upload_from_string(body))
    bucket.delete(force=True)
    direct.close()


@pytest.fixture(params=["s3", "gs"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return request.getfixturevalue(request.param)


@pytest.fixture
def site() -> Iterator[Site]:
    """A service of our own making, where the genuine ones are too well-behaved."""
    with Site() as running:
        yield running


@pytest.fixture(params=["s3", "gs"])
def behind(
    request: pytest.FixtureRequest, site: Site, keys: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Callable[[Asked], None]], str]:
    """Serves an object from the site; returns its gs:// or s3:// source."""
    name = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}[request.param]
    monkeypatch.setenv(name, f"http://127.0.0.1:{site.port}")

    def put(key: str, page: Callable[[Asked], None]) -> str:
        site.pages[f"/{BUCKET}/{key}"] = page
        return f"{request.param}://{BUCKET}/{key}"

    return put


def have(
    folder: Path,
    *asked: str,
    allow: tuple[str, ...] = (f"s3://{BUCKET}", f"gs://{BUCKET}"),
    limits: Limits | None = None,
    cache: Cache | None = None,
    seen: Callable[[Moved], None] = lambda _: None,
) -> list[bytes | str]:
    """The bytes of each, or why it was not had."""
    wanted = [Wanted(source, "image") for source in asked]
    got = sources.fetch_all(
        wanted,
        folder / f"job{len(list(folder.glob('job*')))}",
        downloads=Downloads(patience=HASTY, cache=cache),
        local=False,
        limits=limits or Limits(),
        allowed=Buckets.of(allow),
        seen=seen,
    )
    answers = [got[item] for item in wanted]
    for answer in answers:
        said = answer.reason if isinstance(answer, Failed) else ""
        assert SECRET not in said and KEY not in said and "127.0.0.1" not in said
    return [a.path.read_bytes() if isinstance(a, Fetched) else a.reason for a in answers]


def test_objects_are_downloaded_with_the_operators_credentials(
    cloud: Cloud, tmp_path: Path
) -> None:
    seen: list[Moved] = []
    for key in NAMES:
        cloud.put(key, PNG)
    assert have(tmp_path, *map(cloud.url, NAMES), seen=seen.append) == [PNG] * 3
    assert seen[-1] == Moved(3 * len(PNG), 3 * len(PNG), 3)


def test_the_scheme_may_be_written_large(cloud: Cloud, tmp_path: Path) -> None:
    cloud.put("a.png", PNG)
    assert have(tmp_path, f"{cloud.scheme.upper()}://{BUCKET}/a.png") == [PNG]


def test_objects_have_the_same_limits(cloud: Cloud, tmp_path: Path) -> None:
    cloud.put("a.png", PNG)
    cloud.put("page", b"<html>")
    large, page, gone = have(
        tmp_path, *map(cloud.url, ("a.png", "page", "gone.png")), limits=Limits(image=100)
    )
    assert f"a.png: has {len(PNG):,} bytes; at most 100 bytes are taken" in str(large)
    assert "is a web page" in str(page)
    assert gone == (
        f"{cloud.url('gone.png')}: there is no such object, or the operator's credentials "
        "may not read it"
    )


@pytest.mark.parametrize(
    ("allowed", "key"),
    [
        ("", "a.png"),
        ("{}://media", "a.png"),
        ("{}://media-in2", "a.png"),
        ("{}://media-in/uploads", "a.png"),
        ("{}://media-in/uploads", "uploads-of-others/a.png"),
        ("{}://media-in/uploads/", "Uploads/a.png"),
        ("{}://media-in/uploads", "a/uploads/a.png"),
    ],
)
def test_what_the_operator_has_not_allowed_is_not_read(
    cloud: Cloud, tmp_path: Path, allowed: str, key: str
) -> None:
    cloud.put(key, PNG)
    allow = tuple(allowed.format(cloud.scheme).split())
    (said,) = have(tmp_path, cloud.url(key), allow=allow)
    assert said == (
        f"{cloud.url(key)}: this bucket, or this folder of it, is none that callers may name; "
        "the operator can allow it in CALLSHEET_ALLOW_BUCKETS"
    )


def test_one_service_is_not_the_other(s3: Cloud, tmp_path: Path) -> None:
    s3.put("a.png", PNG)
    (said,) = have(tmp_path, s3.url("a.png"), allow=(f"gs://{BUCKET}",))
    assert "is none that callers may name" in str(said)


@pytest.mark.parametrize("entry", ["{}", "{}/", "{}/uploads", "{}/uploads/", "{}/uploads/a.png"])
def test_a_bucket_or_a_folder_is_allowed(cloud: Cloud, tmp_path: Path, entry: str) -> None:
    cloud.put("uploads/a.png", PNG)
    allow = (entry.format(f"{cloud.scheme}://{BUCKET}"),)
    assert have(tmp_path, cloud.url("uploads/a.png"), allow=allow) == [PNG]


@pytest.mark.parametrize(
    "key",
    ["", "/", "uploads/../a.png", "uploads/./a.png", "..", "uploads//a.png", "uploads/a.png/",
     "uploads\\..\\a.png", "uploads/a\nb", "uploads/a\0", "uploads/" + "a" * 2000, "uploads/\ud800"],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_keys_that_could_be_read_as_something_else(tmp_path: Path, scheme: str, key: str) -> None:
    (said,) = have(tmp_path, f"{scheme}://{BUCKET}/{key}", allow=(f"{scheme}://{BUCKET}/uploads",))
    assert isinstance(said, str) and ("its key" in said or "names no object" in said)


@pytest.mark.parametrize(
    "source", ["s3://", "s3://a", "s3://../a", "s3://u:p@media-in/a", "gs:///a"]
)
def test_what_names_no_bucket(tmp_path: Path, source: str) -> None:
    (said,) = have(tmp_path, source)
    assert "names no object; write " in str(said)
    assert "u:p" not in str(said)


@pytest.mark.parametrize(
    "entry", ["media-in", "s3:media", "https://a/b", "s3://", "gs://a b", "s3://a/?x"]
)
def test_an_allowance_that_means_nothing_is_told(entry: str) -> None:
    with pytest.raises(RequestError, match="CALLSHEET_ALLOW_BUCKETS"):
        Buckets.of([entry])


def test_a_service_that_fails_at_first(
    behind: Callable[..., str], site: Site, tmp_path: Path
) -> None:
    def page(asked: Asked) -> None:
        match site.seen[f"/{BUCKET}/a.png"]:
            case 1:
                asked.answer(b"sorry", 503)
            case 2:
                asked.start(Content_Length=str(len(PNG)))
                asked.wfile.write(PNG[:50])
            case _:
                asked.answer(PNG)

    assert have(tmp_path, behind("a.png", page)) == [PNG]
    (said,) = have(tmp_path, behind("b.png", lambda asked: asked.answer(status=500)))
    assert "the server answered 500" in str(said)
    assert site.seen[f"/{BUCKET}/b.png"] == 3


def test_a_service_does_not_send_the_credentials_elsewhere(
    behind: Callable[..., str], site: Site, tmp_path: Path
) -> None:
    site.put("/elsewhere", PNG)
    (said,) = have(
        tmp_path, behind("a.png", lambda asked: asked.answer(status=307, Location="/elsewhere"))
    )
    assert "the server answered 307" in str(said)
    assert not site.seen["/elsewhere"]


def test_an_unchanged_object_is_not_sent_again(behind: Callable[..., str], tmp_path: Path) -> None:
    asked_with: list[str | None] = []

    def page(asked: Asked) -> None:
        asked_with.append(asked.headers["If-None-Match"])
        headers = {"ETag": '"9a8b"', "Cache-Control": "private, max-age=0"}  # Google's usual
        if asked_with[-1]:
            asked.start(304, **headers)
        else:
            asked.answer(PNG, **headers)

    source, cache = behind("a.png", page), Cache(tmp_path / "cache", 1 << 20)
    assert [have(tmp_path, source, cache=cache) for _ in range(2)] == [[PNG]] * 2
    assert asked_with == [None, '"9a8b"']
    (said,) = have(tmp_path, source, cache=cache, allow=())
    assert "is none that callers may name" in str(said)  # cached or not


def test_a_changed_object_is_seen(s3: Cloud, tmp_path: Path) -> None:
    cache, other = Cache(tmp_path / "cache", 1 << 20), picture(size=(30, 20))
    s3.put("a.png", PNG)
    assert [have(tmp_path, s3.url("a.png"), cache=cache) for _ in range(2)] == [[PNG]] * 2
    s3.put("a.png", other)
    assert have(tmp_path, s3.url("a.png"), cache=cache) == [other]
    assert [file.read_bytes() for file in cache.folder.iterdir()] == [other]


def test_google_is_shown_a_token(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def token(asked: Asked) -> None:
        said = json.dumps({"access_token": SECRET, "expires_in": 3600, "token_type": "Bearer"})
        asked.answer(said.encode(), Content_Type="application/json")

    def page(asked: Asked) -> None:
        seen.append(asked.headers["Authorization"])
        asked.answer(PNG)

    site.pages |= {"/token": token, f"/{BUCKET}/a.png": page}
    here = f"http://127.0.0.1:{site.port}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", here)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_JSON", _service_account(f"{here}/token"))
    assert have(tmp_path, f"gs://{BUCKET}/a.png") == [PNG]
    assert seen == [f"Bearer {SECRET}"]
    site.pages["/token"] = lambda asked: asked.answer(b'{"error": "invalid_grant"}', 400)
    (said,) = have(tmp_path, f"gs://{BUCKET}/a.png")
    assert said == f"gs://{BUCKET}/a.png: Google does not accept the operator's credentials"


def _service_account(token_uri: str) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return json.dumps(
        {"type": "service_account", "client_email": "a@b.test", "token_uri": token_uri,
         "private_key": key.decode(), "private_key_id": "1", "project_id": "p"}
    )  # fmt: skip


def test_a_machine_without_credentials(tmp_path: Path) -> None:
    amazon, google = have(tmp_path, f"s3://{BUCKET}/a.png", f"gs://{BUCKET}/a.png")
    assert "no credentials; set AWS_ACCESS_KEY_ID" in str(amazon)
    assert "no credentials that are accepted" in str(google)


CLIENTS = """
import sys
for name in sys.argv[2:]:
    sys.modules[name] = None
from pathlib import Path
from runner.inputs import sources
from runner.inputs.buckets import Buckets
from runner.inputs.net import Downloads
wanted = sources.Wanted("s3://media-in/a.png", "image")
buckets = Buckets.of(["s3://media-in"])
print(sorted({"boto3", "botocore", "google.cloud", "google.auth"} & {*sys.modules} - {*sys.argv}))
print(sources.fetch_all([wanted], Path(sys.argv[1]), downloads=Downloads(), local=False,
                        limits=sources.Limits(), allowed=buckets)[wanted].reason)
"""


def test_a_client_is_imported_only_when_it_is_used(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLIENTS, tmp_path / "in", "boto3"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    loaded, said = done.stdout.splitlines()
    assert loaded == "[]"
    assert said.endswith(
        "s3:// needs a client that is not installed here: pip install 'callsheet[storage]'"
    )
