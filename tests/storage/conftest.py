"""Real protocol servers on loopback, each behind a proxy that can go wrong."""

import json
import os
from collections.abc import Generator
from pathlib import Path

import boto3
import pytest
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from moto.server import ThreadedMotoServer

from cloud_proxy import proxy
from clouds import BUCKET, SECRET, Cloud, Emulator, Held
from supabase_site import supabase_site

_XML = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
    "<Message>{words}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>"
)
_CODES = {
    403: "AccessDenied",
    404: "NoSuchBucket",
    412: "PreconditionFailed",
    429: "SlowDown",
    500: "InternalError",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own accounts."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "GOOGLE_", "SUPABASE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="session")
def moto_url() -> Generator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def emulator() -> Generator[Emulator]:
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield Emulator(f"http://127.0.0.1:{server._api._httpd.server_address[1]}", server.wipe)
    server.stop()


@pytest.fixture
def s3(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Cloud]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    direct = boto3.client("s3", endpoint_url=moto_url)
    direct.create_bucket(Bucket=BUCKET)

    def held(key: str) -> Held | None:
        try:
            there = direct.get_object(Bucket=BUCKET, Key=key)
        except direct.exceptions.NoSuchKey:
            return None
        return Held(there["Body"].read(), there["ContentType"])

    def body(status: int, words: str) -> tuple[str, str]:
        return _XML.format(code=_CODES[status], words=words), "application/xml"

    with proxy(moto_url) as own:
        monkeypatch.setenv("AWS_ENDPOINT_URL", own.url)
        yield Cloud("s3", own, held, 20 << 20, "PUT", "PUT", body)
    for item in direct.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        direct.delete_object(Bucket=BUCKET, Key=item["Key"])
    assert not direct.list_multipart_uploads(Bucket=BUCKET).get("Uploads"), "uploads are left open"
    direct.delete_bucket(Bucket=BUCKET)
    direct.close()


@pytest.fixture
def gs(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Generator[Cloud]:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
    direct = storage.Client(project="test", credentials=AnonymousCredentials())
    bucket = direct.create_bucket(BUCKET)

    def held(key: str) -> Held | None:
        blob = bucket.get_blob(key)
        return Held(blob.download_as_bytes(), blob.content_type) if blob else None

    def body(status: int, words: str) -> tuple[str, str]:
        said = {"code": status, "message": words, "errors": [{"message": words}]}
        return json.dumps({"error": said}), "application/json"

    with proxy(emulator.url) as own:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", own.url)
        yield Cloud("gs", own, held, 17 << 20, "POST", "PUT", body)
    direct.close()
    emulator.wipe()


@pytest.fixture
def supabase(monkeypatch: pytest.MonkeyPatch) -> Generator[Cloud]:
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", SECRET)

    def body(status: int, words: str) -> tuple[str, str]:
        said = {"statusCode": str(status), "error": "Error", "message": words}
        return json.dumps(said), "application/json"

    with supabase_site(SECRET, {BUCKET}) as site, proxy(site.url) as own:

        def held(key: str) -> Held | None:
            there = site.objects.get(f"{BUCKET}/{key}")
            return Held(there.content, there.content_type) if there else None

        monkeypatch.setenv("SUPABASE_URL", own.url)
        yield Cloud("supabase", own, held, 13 << 20, "POST", "PATCH", body, site, 400)


@pytest.fixture(params=["s3", "gs", "supabase"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return request.getfixturevalue(request.param)
