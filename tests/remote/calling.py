"""How the tests call an endpoint."""

import os
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runpod_cloud import KEY, Cloud

from runner.remote import Client, Patience

Asked = Callable[..., dict[str, Any]]
QUICK = Patience(
    connect=2.0, answer=10.0, trying=3.0, wait=0.02, poll=0.01, slowest=0.05, lost=2.0, cancel=2.0
)


def client_of(cloud: Cloud, key: str = KEY, patience: Patience = QUICK, **more: Any) -> Client:
    where = {"CALLSHEET_RUNPOD_API": cloud.api, "RUNPOD_API_KEY": key}
    return Client.runpod("runpod://endpoint", environment=where, patience=patience, **more)


def spoken(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(os.urandom(int(seconds * 16000)) * 2)
    return path
