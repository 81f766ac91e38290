"""How this machine serves: environment → values. Read by entry points only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from runner.errors import RequestError
from runner.service.compatibility import SERVICES
from runner.service.requests import Served


@dataclass(frozen=True)
class Options:
    to: str | None = None  # where outputs go
    allow_to: tuple[str, ...] = ()  # prefixes of what callers may choose instead
    in_flight: int = 3  # jobs at once: one renders, one is made ready, one is stored; 1: one by one
    served: Served = Served()  # noqa: RUF009 - frozen
    min_free: int = 5_000_000_000  # bytes of disk that a worker must have to start
    progress_every: float = 1.0  # seconds between two updates of a job, at least
    metrics_port: int = 0  # for Prometheus; 0: none
    warm_up: Literal["no", "files", "jobs"] = "files"  # what happens while the engine starts
    rehearse: bool = False  # stand-in weights on the CPU


def from_environment(environment: Mapping[str, str]) -> Options:
    """Raises RequestError that names the setting."""
    usual = Options()
    services = _words(environment, "CALLSHEET_OLD_REQUESTS") or SERVICES
    services = () if services == ("no",) else services
    unknown = [name for name in services if name not in SERVICES]
    if unknown:
        raise RequestError(
            f"CALLSHEET_OLD_REQUESTS: {', '.join(unknown)} is none of the old services; "
            f"write {', '.join(SERVICES)}, or no"
        )
    return Options(
        to=environment.get("CALLSHEET_TO") or None,
        allow_to=_words(environment, "CALLSHEET_ALLOW_TO"),
        in_flight=int(_number(environment, "CALLSHEET_IN_FLIGHT", usual.in_flight, 1, 64)),
        served=Served(_words(environment, "CALLSHEET_SERVE"), services),
        min_free=int(_number(environment, "CALLSHEET_MIN_FREE_GB", 5, 0, 1e6) * 1e9),
        progress_every=_number(environment, "CALLSHEET_PROGRESS_EVERY", 1.0, 0.1, 3600),
        metrics_port=int(_number(environment, "CALLSHEET_METRICS_PORT", 0, 0, 65535)),
        warm_up=_warm_up(environment.get("CALLSHEET_WARM_UP") or "files"),
        rehearse=environment.get("CALLSHEET_REHEARSE", "") not in ("", "0"),
    )


def _warm_up(text: str) -> Literal["no", "files", "jobs"]:
    match text:
        case "no" | "files" | "jobs":
            return text
        case _:
            raise RequestError(f"CALLSHEET_WARM_UP={text}: write no, files or jobs")


def _words(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return (
        tuple(re.split(r"[,\s]+", environment.get(name, "").strip(", \n\t")))
        if (environment.get(name, "").strip(", \n\t"))
        else ()
    )


def _number(
    environment: Mapping[str, str], name: str, usual: float, least: float, most: float
) -> float:
    text = environment.get(name) or str(usual)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise RequestError(f"{name}={text}: it is a number from {least:g} to {most:g}")
    return value
