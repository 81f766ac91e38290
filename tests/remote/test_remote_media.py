"""Files of this machine, put into a bucket for an endpoint."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from calling import Asked, client_of
from moto.server import ThreadedMotoServer
from runpod_cloud import Cloud

from runner.errors import RequestError, StorageError

BUCKET = "media-in"


@dataclass
class Bucket:
    client: Any

    def found(self) -> list[str]:
        """The keys."""
        return [
            item["Key"] for item in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        ]

    def mark(self) -> None:
        """Every object gets a mark, which it loses when it is sent again."""
        for key in self.found():
            self.client.copy_object(Bucket=BUCKET, Key=key, CopySource=f"{BUCKET}/{key}",
                                    Metadata={"mark": "yes"}, MetadataDirective="REPLACE")  # fmt: skip

    def marked(self) -> list[bool]:
        heads = [self.client.head_object(Bucket=BUCKET, Key=key) for key in self.found()]
        return [head["Metadata"] == {"mark": "yes"} for head in heads]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def keys(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    client = boto3.client("s3", endpoint_url=moto)
    client.create_bucket(Bucket=BUCKET)

    bucket = Bucket(client)
    yield bucket
    for key in bucket.found():
        client.delete_object(Bucket=BUCKET, Key=key)
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def test_files_go_to_the_bucket_once(
    cloud: Cloud, keys: Bucket, asked: Asked, face: Path, voice: Path
) -> None:
    with client_of(cloud, media_to=f"s3://{BUCKET}/in") as client:
        client.submit("ltx2-lipsync@1", asked())
        digests = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in (face, voice)}
        first = keys.found()
        assert sorted(first) == sorted([f"in/{digests[face]}.png", f"in/{digests[voice]}.wav"])
        params = cloud.input["params"]
        for name, file in (("image_url", face), ("audio_url", voice)):
            assert requests.get(params[name], timeout=10).content == file.read_bytes()
        assert "X-Amz-Expires=86400" in params["image_url"]
        assert face.exists() and voice.exists(), "they are the caller's"

        keys.mark()
        same = face.with_name("other-name.jpeg")
        same.write_bytes(face.read_bytes())
        seen: list[Any] = []
        client.submit("ltx2-lipsync@1", asked(image_url=same), report=seen.append)
        assert keys.found() == first and keys.marked() == [True, True], (
            "neither is sent again, whatever its name"
        )
        assert [(p.stage, p.step, p.steps) for p in seen[:2]] == [
            ("uploading inputs", 0, 2), ("uploading inputs", 1, 2)]  # fmt: skip


def test_addresses_live_as_long_as_the_destination_says(
    cloud: Cloud, keys: Bucket, asked: Asked
) -> None:
    with client_of(cloud) as client:
        client.submit("ltx2-lipsync@1", asked(), media_to=f"s3://{BUCKET}?sign=600")
    assert "X-Amz-Expires=600" in cloud.input["params"]["audio_url"]
    assert len(keys.found()) == 2


def test_nothing_is_sent_for_a_wrong_request(cloud: Cloud, keys: Bucket, asked: Asked) -> None:
    with client_of(cloud, media_to=f"s3://{BUCKET}") as client, pytest.raises(RequestError):
        client.submit("ltx2-lipsync@1", asked(width=1))
    assert keys.found() == [] and cloud.asked == []


def test_a_bucket_that_is_not_there(cloud: Cloud, keys: Bucket, asked: Asked) -> None:
    told = pytest.raises(StorageError, match="s3://not-there: there is no such bucket")
    with client_of(cloud, media_to="s3://not-there") as client, told:
        client.submit("ltx2-lipsync@1", asked())
    assert cloud.asked == []


@pytest.mark.parametrize("media_to", ["folder", "ftp://host/x"])
def test_places_that_an_endpoint_does_not_reach(media_to: str, cloud: Cloud, asked: Asked) -> None:
    with client_of(cloud, media_to=media_to) as client, pytest.raises(RequestError, match="s3://"):
        client.submit("ltx2-lipsync@1", asked())
    assert cloud.asked == []
