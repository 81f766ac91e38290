"""The only module that talks to RunPod's job API: requests, their answers and how often they are tried.

Facts of RunPod's documentation (docs.runpod.io, "Send requests"): `POST run`, `GET status/ID`,
`POST cancel/ID`, `GET health`; 10 MB for a request; 429 for too many of them.
"""

import email.utils
import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlsplit

import requests
import urllib3.exceptions
from requests.auth import AuthBase
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    wait_random_exponential,
)

from runner.errors import RequestError
from runner.remote.errors import EndpointError, EndpointUnavailable

API = "https://api.runpod.ai/v2"
MOST = 10_000_000  # bytes of a request
_LONGEST_ANSWER = 64_000_000  # bytes
_SAID = 200  # characters of an answer that are repeated
_LATER = (408, 425, 429)  # and all from 500 on
Tell = Callable[[str], None]  # what is waited for, in words
_ENDPOINT = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class Patience:
    """How long an endpoint and the network may take, in seconds."""

    connect: float = 10.0
    answer: float = 60.0  # for one whole answer
    trying: float = 120.0  # for which a request that does not get through is tried again
    refused: float = 3.0  # the same, where nothing listens on this machine
    wait: float = 1.0  # before the second try, at most; then twice as long each time
    poll: float = 1.0  # between two questions how a job stands, while it moves
    slowest: float = 5.0  # between two of them, while it does not
    lost: float = 900.0  # without an answer, after which a job is no longer asked for
    cancel: float = 10.0  # for a canceled job to end

    def bears(self, error: BaseException | None, usual: float) -> float:
        """For how many seconds an error is borne, where most are for `usual` ones."""
        return min(usual, self.refused) if isinstance(error, NothingListens) else usual


class NotThere(EndpointError):
    """RunPod knows no such endpoint or job."""


class NothingListens(EndpointUnavailable):
    """This machine refuses: no worker runs at that port. Waiting long for one helps nobody."""


class _NotThisWay(EndpointError):
    """The address is there, but takes another method."""


def address(endpoint: str, base: str = API) -> str:
    """Where an endpoint is asked: of `ENDPOINT_ID`, `runpod://ENDPOINT_ID` or a whole http(s) URL.

    A `base` without a path is the SDK's local server, which has one endpoint. Pure. Raises
    RequestError.
    """
    if re.match(r"https?://", endpoint):
        return _checked(endpoint)
    name = endpoint.removeprefix("runpod://")
    if not _ENDPOINT.fullmatch(name):
        raise RequestError(f"{endpoint!r} names no endpoint; write runpod://ENDPOINT_ID")
    base = _checked(base)
    return f"{base}/{name}" if urlsplit(base).path else base


class Api:
    """One endpoint. Its key is sent to its own address only, and stands in no error."""

    def __init__(self, url: str, key: str | None, patience: Patience) -> None:
        """Raises RequestError for a key that is missing, or would travel in the clear."""
        parts = urlsplit(url)
        near = _is_loopback(parts.hostname or "")
        if not key and not near:
            raise RequestError("there is no key for RunPod; set RUNPOD_API_KEY")
        if key and re.search(r"[^\x21-\x7e]", key):
            raise RequestError("RUNPOD_API_KEY holds what no key holds: a space or a line's end?")
        if parts.scheme == "http" and not near:
            raise RequestError(f"{parts.hostname}: the key would travel in the clear; write https")
        self.name, self._near = f"{parts.netloc}{parts.path}", near
        self._url, self._key, self._patience = url, key or "", patience
        self._http = requests.Session()
        self._auth = _Bearer(self._key)
        self._asks_by_post = False

    def close(self) -> None:
        self._http.close()

    def submit(self, request: Mapping[str, Any], tell: Tell = lambda _: None) -> str:
        """Queue a job; returns RunPod's id of it. `tell` hears of each further try.

        Raises RequestError, EndpointError.
        """
        body = json.dumps(request, ensure_ascii=False, allow_nan=False).encode()
        if len(body) > MOST:
            raise _too_large(len(body))
        try:
            said = self._surely("POST", "run", body=body, tell=tell)
        except NotThere as error:
            raise EndpointError(
                f"{self.name}: there is no such endpoint, or the key may not use it"
            ) from error
        if not isinstance(said.get("id"), str) or not said["id"]:
            raise EndpointError(f"{self.name}: the job was taken, but it has no id")
        return said["id"]

    def status(self, job_id: str) -> Mapping[str, Any]:
        """How a job stands, asked once. Raises EndpointUnavailable, NotThere, EndpointError."""
        path = f"status/{quote(job_id, safe='')}"
        if not self._asks_by_post:
            try:
                return self._once("GET", path)
            except _NotThisWay:
                self._asks_by_post = True
        # The SDK's local server renders while it is asked.
        return self._once("POST", path, within=None)

    def cancel(self, job_id: str) -> bool:
        """Ask RunPod to end a job; False if it cannot. Raises EndpointError."""
        try:
            self._surely("POST", f"cancel/{quote(job_id, safe='')}", trying=self._patience.cancel)
        except (NotThere, _NotThisWay):
            return False
        return True

    def health(self) -> Mapping[str, Any]:
        """Counts of workers and jobs, as RunPod tells them. Raises EndpointError."""
        try:
            return self._surely("GET", "health")
        except NotThere as error:
            raise EndpointError(
                f"{self.name}: there is no such endpoint, or the key may not use it"
            ) from error

    def _surely(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        trying: float | None = None,
        tell: Tell = lambda _: None,
    ) -> Mapping[str, Any]:
        trying = self._patience.trying if trying is None else trying

        def left(state: RetryCallState) -> float:
            """Seconds for further tries, when the next pause is over."""
            within = self._patience.bears(_error_of(state), trying)
            return within - (state.seconds_since_start or 0.0) - state.upcoming_sleep

        def say(state: RetryCallState) -> None:
            more = f"{state.attempt_number + 1}, for up to {max(1, round(left(state)))} s more"
            tell(f"no answer from {self.name}, trying again (try {more})")

        tries = Retrying(
            retry=retry_if_exception_type(EndpointUnavailable),
            wait=self._pause,
            stop=lambda state: left(state) <= 0,
            before_sleep=say,
            reraise=True,
        )
        return tries(self._once, method, path, body=body, within=self._patience.answer)

    def _pause(self, state: RetryCallState) -> float:
        """As long as the service asks for, else a random while, longer each time."""
        error = _error_of(state)
        asked = retry_after(error) if isinstance(error, EndpointError) else None
        usual = wait_random_exponential(self._patience.wait, 30.0)
        return usual(state) if asked is None else asked

    def _once(
        self, method: str, path: str, *, body: bytes | None = None, within: float | None = 60.0
    ) -> Mapping[str, Any]:
        """A whole answer as JSON, bounded in size and in time; `within` None: however long it takes."""
        within = within and min(within, self._patience.answer)
        try:
            with self._http.request(
                method,
                f"{self._url}/{path}",
                data=body,
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                auth=self._auth,
                timeout=(self._patience.connect, within),
                allow_redirects=False,
                stream=True,
            ) as response:
                text = _whole(response, within)
        except requests.exceptions.SSLError as error:
            raise EndpointError(f"{self.name}: {self._clean(_reason(error))}") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if self._near and any(isinstance(e, ConnectionRefusedError) for e in _chain(error)):
                raise NothingListens(
                    f"nothing listens at {self.name}: start a worker there "
                    "(callsheet worker --rp_serve_api), or write runpod://ENDPOINT_ID"
                ) from error
            reason = self._clean(_reason(error))
            raise EndpointUnavailable(f"{self.name} is not reached: {reason}") from error
        if 200 <= response.status_code < 300:
            return self._object(text)
        raise self._refusal(response.status_code, response.headers, text)

    def _object(self, text: bytes) -> Mapping[str, Any]:
        try:
            said: Any = json.loads(text)
        except ValueError:
            said = None
        if not isinstance(said, dict):  # mostly a proxy's page: asked again, it may be JSON
            raise EndpointUnavailable(
                f"{self.name} answers with what is no JSON: {self._words(text)}"
            )
        return cast(dict[str, Any], said)

    def _refusal(self, status: int, headers: Mapping[str, str], text: bytes) -> Exception:
        words, details = self._words(text), {"status": status}
        if status in _LATER or status >= 500:
            why = "asks to slow down" if status == 429 else f"answers {status}"
            seconds = _seconds(headers.get("Retry-After"))
            more = {} if seconds is None else {"retry_after": seconds}
            return EndpointUnavailable(f"{self.name} {why} ({words})", details=details | more)
        if status in (401, 403):
            return EndpointError(
                f"{self.name}: RunPod does not accept the key; check RUNPOD_API_KEY",
                details=details,
            )
        if status in (404, 410) or "does not exist" in words:
            return NotThere(f"{self.name}: not found ({words})", details=details)
        if status == 405:
            return _NotThisWay(f"{self.name} answers 405 ({words})", details=details)
        if status == 413:
            return _too_large(None)
        if 300 <= status < 400:
            return EndpointError(
                f"{self.name} sends us to another address, where the key is not sent",
                details=details,
            )
        return EndpointError(f"{self.name} answers {status} ({words})", details=details)

    def _words(self, text: bytes) -> str:
        said = " ".join(text[: 4 * _SAID].decode(errors="replace").split())
        return self._clean(said)[:_SAID] or "nothing said"

    def _clean(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


def retry_after(error: EndpointError) -> float | None:
    """The seconds after which the service wants to be asked again, if it has said so."""
    return cast("float | None", error.details.get("retry_after"))


@dataclass(frozen=True, repr=False)
class _Bearer(AuthBase):
    """The key. Given as `auth`, no .netrc takes its place."""

    key: str

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.key:
            request.headers["Authorization"] = f"Bearer {self.key}"
        return request


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise RequestError("the endpoint's address is no http(s) URL without a query")
    if parts.username is not None:  # it may be a password: it is not repeated
        raise RequestError("the endpoint's address holds a user; the key goes into RUNPOD_API_KEY")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _too_large(size: int | None) -> RequestError:
    has = "" if size is None else f"; it has {size / 1e6:,.1f} MB"
    return RequestError(
        f"RunPod takes requests of up to {MOST / 1e6:g} MB{has}: "
        "say where media files may be put, such as --media-to s3://bucket/prefix"
    )


def _seconds(said: str | None) -> float | None:
    """A Retry-After header: seconds or a date."""
    if not said:
        return None
    if re.fullmatch(r"\d{1,6}", said.strip(), re.ASCII):
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _whole(response: requests.Response, within: float | None) -> bytes:
    end = None if within is None else time.monotonic() + within
    text = bytearray()
    for piece in response.iter_content(1 << 16):
        text += piece
        if len(text) > _LONGEST_ANSWER:
            raise OSError(f"the answer has more than {_LONGEST_ANSWER // 1_000_000} MB")
        if end is not None and time.monotonic() > end:
            raise OSError(f"the answer is not whole after {within:g} s")
    return bytes(text)


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(error: Exception) -> str:
    """What happened, without the libraries' wrapping."""
    inner: Any = error
    while getattr(inner, "reason", None) or (inner.args and isinstance(inner.args[0], Exception)):
        inner = getattr(inner, "reason", None) or inner.args[0]
        if not isinstance(inner, Exception):
            break
    return str(inner) or type(error).__name__
