"""What can go wrong at a cloud's door: foreign failures → StorageError, retried where it helps."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import tenacity

from runner.errors import StorageError

_T = TypeVar("_T")
Worded = Callable[[], AbstractContextManager[object]]

_MEANINGS = {
    401: "the credentials are not accepted",
    403: "access is denied: the credentials must allow writing there",
    404: "there is no such bucket, or the credentials may not see it",
    409: "there is another file of that name: allow overwriting, or name it otherwise",
    412: "there is another file of that name: allow overwriting, or name it otherwise",
    413: "the file is larger than the bucket takes",
    429: "the service asks to slow down",
}
_AGAIN = {408, 423, 425, 429}  # and all from 500 on
_REASON = 300  # characters of what the service says

# What gives access, wherever a service repeats it.
_TOKENS = re.compile(
    r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]+"
    r"|(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bya29\.[\w.-]+|\bsb_secret_\w+"
    r"|\b(?:(?:x-(?:amz|goog)-)?(?:signature|credential|security-token)|apikey|token|upload_id)[=:]\s*[^&\s\"',}]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*-----)?"
)


class StorageRefused(StorageError):
    """The service says no, and will say so again until somebody changes something."""

    retryable: ClassVar[bool] = False


@dataclass(frozen=True)
class Patience:
    """How long a service is waited for, in seconds."""

    attempts: int = 5  # of each request
    wait: float = 0.5  # before the second attempt, at most; then twice as long each time
    longest_wait: float = 20.0
    connect: float = 10.0
    silence: float = 60.0  # without a byte
    recovery: float = 30.0  # that Google's client tries for one chunk, by itself

    def insist(self, action: Callable[[], _T], worded: Worded = nullcontext) -> _T:
        """The action's answer; tried again after a random pause while its StorageError is retryable.

        `worded` surrounds each try, and makes a StorageError of what a service's client raises.
        """

        def attempt() -> _T:
            with worded():
                return action()

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=tenacity.wait_random_exponential(self.wait, self.longest_wait),
            retry=tenacity.retry_if_exception(_helps_again),
            reraise=True,
        )
        return retrying(attempt)


@dataclass(frozen=True)
class Door:
    """Words a service's failures: names the place and never what gives access to it."""

    place: str  # s3://bucket
    secrets: tuple[str, ...] = ()

    def refused(self, reason: str) -> StorageRefused:
        return StorageRefused(f"{self.place}: {self.clean(reason)}")

    def failed(self, reason: str) -> StorageError:
        return StorageError(f"{self.place}: {self.clean(reason)}")

    def too_large(self, key: str, size: int, most: int) -> StorageRefused:
        return self.refused(f"{key} has {size} bytes; {most} can be read back")

    def answered(self, status: int, reason: str, *, again: bool = False) -> StorageError:
        """The error for an HTTP status and the service's own words."""
        retryable = again or status in _AGAIN or status >= 500
        meaning = "the service fails" if status >= 500 else _MEANINGS.get(status, "not stored")
        kind = StorageError if retryable else StorageRefused
        details = {"status": status}
        return kind(f"{self.place}: {meaning} ({self.clean(reason)})", details=details)

    def clean(self, text: str) -> str:
        """A text on one line, short and without what gives access."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "…")
        text = " ".join(_TOKENS.sub("…", text).split())
        return text if len(text) <= _REASON else f"{text[: _REASON - 1]}…"

    def cause(self, error: BaseException) -> BaseException | None:
        """The error as a cause to show in a traceback: only if its own text is clean."""
        text = " ".join(str(error).split())
        return error if _TOKENS.sub("…", text) == text and not self._told(text) else None

    def _told(self, text: str) -> bool:
        return any(secret in text for secret in filter(None, self.secrets))


def found(ask: Callable[[], _T]) -> _T | None:
    """What a service answers, or None where it says that there is nothing of that name."""
    try:
        return ask()
    except StorageError as error:
        if error.details.get("status") == 404:
            return None
        raise


def _helps_again(error: BaseException) -> bool:
    return isinstance(error, StorageError) and error.retryable
