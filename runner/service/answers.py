"""What callers get: a result or an error as JSON, small, and without what gives access. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

from runner.errors import RunnerError
from runner.job import Result
from runner.service import compatibility
from runner.service.requests import Asked

_OURS = {"request", "moments"}  # of a result: for finding it again
_MESSAGE = 8_000  # characters of an error's message
_DETAILS = 60_000  # characters of its details
_SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|WEBHOOK|_URI$|DSN", re.IGNORECASE
)
_PUBLIC = re.compile(r"/|https?://[^/?#@]+", re.ASCII)  # a folder or a host by itself is no secret
_SHORTEST = 8  # characters; shorter values occur by chance
# A query or a userinfo of an address may give access, whoever repeats the address.
_QUERY = re.compile(r"(?<=[\w/])\?[^\s\"'<>\\=?]*=[^\s\"'<>\\]*")
_USERINFO = re.compile(r"(?<=://)[^\s/@\"']+@")
_TOKENS = re.compile(
    r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]{8,}|(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bya29\.[\w.-]+|\b(?:sb_secret|rpa|hf)_\w{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*-----)?"
)


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of an environment that nobody else may see, longest first."""
    found = {
        value.strip()
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and len(value.strip()) >= _SHORTEST
    }
    return tuple(sorted((v for v in found if not _PUBLIC.fullmatch(v)), key=len, reverse=True))


def cleaned(text: str, secrets: tuple[str, ...] = ()) -> str:
    """A text without secrets, addresses' queries and tokens."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return _TOKENS.sub("…", _USERINFO.sub("…@", _QUERY.sub("?…", text)))


def error_text(error: RunnerError, secrets: tuple[str, ...] = ()) -> str:
    """An error as the text of a JSON object: code, message, details, retryable."""
    said = clean(error.to_dict(), secrets)
    if len(said["message"]) > _MESSAGE:
        said["message"] = f"{said['message'][: _MESSAGE - 1]}…"
    if len(json.dumps(said["details"], ensure_ascii=False, default=str)) > _DETAILS:
        said["details"] = {"left_out": "the details are too long for an answer"}
    return json.dumps(said, ensure_ascii=False, default=str)


def output(asked: Asked, result: Result, texts: Mapping[str, str]) -> dict[str, Any]:
    """A result as JSON: in the shape of the service that the request was written for."""
    if asked.old is not None:
        return compatibility.answer(asked.old, result, texts)
    said = {key: value for key, value in result.to_dict().items() if key not in _OURS}
    artifacts: list[dict[str, Any]] = said["artifacts"]
    for artifact in artifacts:
        if artifact["location"] in texts:
            artifact["base64"] = texts[artifact["location"]]
    return said


def clean(value: Any, secrets: tuple[str, ...]) -> Any:
    """JSON whose texts are `cleaned`."""
    if isinstance(value, str):
        return cleaned(value, secrets)
    if isinstance(value, Mapping):
        return {str(k): clean(v, secrets) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [clean(v, secrets) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return value
