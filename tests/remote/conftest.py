"""An endpoint on loopback, a web site with its outputs, media files of this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calling import Asked, client_of, spoken
from PIL import Image
from runpod_cloud import FILM, STARTS, WAITS, Cloud, Shelf, answer, at

from runner.remote import Client


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own accounts."""
    for name in [n for n in os.environ if n.startswith(("AWS_", "RUNPOD_", "CALLSHEET_RUNPOD"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with Shelf() as found:
        found.files["job-film.mp4"] = FILM
        yield found


@pytest.fixture
def cloud(shelf: Shelf) -> Iterator[Cloud]:
    def play(job: dict[str, Any]) -> list[dict[str, Any]]:
        done = answer(job, {"job-film.mp4": FILM}, f"{shelf.base}/")
        return [WAITS, STARTS, at(0.25, step=5, steps=20, eta=3.5), at(0.75), done]

    with Cloud(play) as found:
        yield found


@pytest.fixture
def client(cloud: Cloud) -> Iterator[Client]:
    with client_of(cloud) as found:
        yield found


@pytest.fixture
def face(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 32), (200, 30, 60)).save(tmp_path / "face.png")
    return tmp_path / "face.png"


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return spoken(tmp_path / "voice.wav", 1.0)


@pytest.fixture
def asked(face: Path, voice: Path) -> Asked:
    """The parameters of ltx2-lipsync, with files of this machine."""
    return lambda **more: {
        "image_url": str(face),
        "audio_url": voice,
        "prompt": "she talks",
        **more,
    }
