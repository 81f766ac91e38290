"""Where a missing model comes from: its address asked for size and hash, before anything is fetched."""

import dataclasses
import ipaddress
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import tenacity

from runner.inputs.net import Allowed, Unfetched, parse, shown
from runner.modelfiles.faults import Unavailable, Unreachable
from runner.modelfiles.finding import Wanted

HUB = "https://huggingface.co"
_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0  # seconds; a host may ask for more, and is not waited for longer


@dataclass(frozen=True)
class Patience:
    """How long a host is waited for, in seconds, and how often it is tried without a new byte."""

    tries: int = 5
    backoff: float = 1.0  # before the second try; doubled for each further one
    connect: float = 10.0
    silence: float = 30.0  # without a byte

    def insist(self, action: Callable[[], Any]) -> Any:
        """The action's answer; tried again while its Unavailable says that it may help."""

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.after if isinstance(error, Unavailable) else 0.0
            return max(asked, self.backoff * 2 ** (state.attempt_number - 1))

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.tries),
            wait=pause,
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, Unavailable) and e.again),
            reraise=True,
        )(action)


@dataclass(frozen=True)
class Source:
    """A file to fetch."""

    url: str
    shown: str  # for people: no query, no token
    size: int | None = None  # bytes
    sha256: str | None = None
    known_by: str | None = None  # who says so: workflow or hub
    version: str | None = None  # the same for the same bytes, as far as is known
    headers: Mapping[str, str] = field(
        default_factory=dict[str, str], repr=False
    )  # for its host only


class Silence:
    """Whether the hub is there: the first question finds out, the others wait for its answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard = False
        self._silent: Unreachable | None = None

    def ask(self, question: Callable[[], Source]) -> Source:
        """Raises what the question raises, and Unreachable without asking where nobody answers."""
        if not self._heard:
            with self._lock:
                if self._silent is not None:
                    raise self._silent
                if not self._heard:
                    return self._first(question)
        return question()

    def _first(self, question: Callable[[], Source]) -> Source:
        try:
            return question()
        except Unreachable as error:
            self._silent = error
            raise
        finally:
            self._heard = self._silent is None


@dataclass(frozen=True)
class Access:
    """Whom models may be asked from, and as whom."""

    endpoint: str = HUB  # of the hub, or of a mirror
    token: str | None = field(default=None, repr=False)  # for the endpoint's own host only
    hosts: Allowed = field(default_factory=Allowed)  # that may be asked by http, too
    patience: Patience = Patience()
    hub: Silence = field(default_factory=Silence, compare=False, repr=False)


def source_of(model: Wanted, access: Access) -> Source:
    """Asks the hub, or takes another host's address as it is. Raises Unavailable."""
    if not model.url:
        raise Unavailable("its workflow names no address for it; put the file there yourself")
    on_hub = hub_file(model.url)
    found = _on_hub(on_hub, access) if on_hub else _elsewhere(model.url, access)
    if model.sha256 and found.sha256 and model.sha256 != found.sha256:
        raise Unavailable(
            f"the workflow says sha256 {model.sha256[:12]}…, the hub has {found.sha256[:12]}…: "
            "another file lies there than the workflow was made with"
        )
    if not model.sha256:
        return found
    version = found.version or model.sha256
    return dataclasses.replace(found, sha256=model.sha256, known_by="workflow", version=version)


def client() -> Any:
    """huggingface_hub, asked for files' facts only.

    Else it fetches a list of agents from the hub, too, and tells it which of them it runs under.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read while it is imported
    import huggingface_hub

    return huggingface_hub


@dataclass(frozen=True)
class HubFile:
    repo: str
    revision: str
    path: str


def hub_file(url: str) -> HubFile | None:
    """A hub's address taken apart; a page's (`/blob/`) means the file. None for other hosts. Pure."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or (parts.hostname or "") not in _HUB_HOSTS:
        return None
    match = re.fullmatch(r"/([^/]+/[^/]+)/(?:resolve|blob)/([^/]+)/(.+)", unquote(parts.path))
    return HubFile(*match.groups()) if match else None


def _on_hub(file: HubFile, access: Access) -> Source:
    return access.hub.ask(lambda: access.patience.insist(lambda: _ask_hub(file, access)))


def _ask_hub(file: HubFile, access: Access) -> Source:
    hub = client()
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    def address(revision: str) -> str:
        at = access.endpoint
        return hub.hf_hub_url(file.repo, file.path, revision=revision, endpoint=at)

    try:
        found = hub.get_hf_file_metadata(
            address(file.revision),
            token=access.token or False,
            timeout=access.patience.silence,
            endpoint=access.endpoint,
        )
    except HfHubHTTPError as error:
        raise _refused(file, error, access) from None  # it quotes headers
    except HFValidationError as error:
        raise Unavailable(f"{file.repo} is no name of a repository: {error}") from None
    except Exception as error:  # noqa: BLE001 - its transport's own errors change with its versions
        raise Unreachable(f"{access.endpoint} cannot be reached: {type(error).__name__}") from None  # fmt: skip
    etag = found.etag or ""
    hashed = bool(_SHA256.fullmatch(etag))  # of a file in Git itself, the etag is Git's own hash
    headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
    return Source(
        address(found.commit_hash or file.revision),
        f"{access.endpoint}/{file.repo}",
        found.size,
        etag if hashed else None,
        "hub" if hashed else None,
        etag or found.commit_hash,
        headers,
    )


def _refused(file: HubFile, error: Any, access: Access) -> Unavailable:
    """The hub's no, in words that say what to do."""
    from huggingface_hub import errors

    status = getattr(error.response, "status_code", None)
    page = f"{access.endpoint}/{file.repo}"
    known = (
        "the token in HF_TOKEN may not see it" if access.token else "set HF_TOKEN if it is private"
    )
    if isinstance(error, errors.GatedRepoError):
        mend = "with the account of HF_TOKEN" if access.token else "and set HF_TOKEN"
        return Unavailable(f"{file.repo} is gated: accept its terms at {page} {mend}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return Unavailable(f"there is no repository {file.repo} at {access.endpoint}, or {known}")
    if isinstance(error, errors.RevisionNotFoundError):
        return Unavailable(f"{file.repo} has no revision {file.revision}")
    if isinstance(error, errors.EntryNotFoundError):
        return Unavailable(f"{file.repo} has no file {file.path} (revision {file.revision})")
    if status in (401, 403):
        return Unavailable(f"{page} refuses access ({status}): {known}")
    return answered(f"{access.endpoint}", status or 0, error.response.headers)


def answered(host: str, status: int, headers: Mapping[str, str]) -> Unavailable:
    """A status that is no success. Pure."""
    asked = headers.get("Retry-After", headers.get("retry-after", ""))
    after = min(float(asked), _LONGEST_WAIT) if re.fullmatch(r"\d{1,9}", asked) else 0.0
    words = {
        401: "asks for a login",
        403: "refuses access",
        404: "has no such file",
        410: "has no such file any more",
        429: "asks to slow down",
    }
    said = words.get(status, "fails" if status >= 500 else "does not give the file")
    return Unavailable(f"{host} {said} ({status})", again=status in _AGAIN, after=after)


def _elsewhere(url: str, access: Access) -> Source:
    require_safe(url, access.hosts)
    return Source(parse(url).text, shown(url))


def require_safe(url: str, hosts: Allowed) -> None:
    """Raises Unavailable unless it is an https URL, or an http one of a host that is allowed."""
    try:
        found = parse(url)
    except Unfetched as error:
        raise Unavailable(f"its address {error.reason}") from None
    if found.scheme != "https" and found.host not in hosts.names and not _within(found.host, hosts):
        raise Unavailable(f"{found.shown}: https is needed, or the host in CALLSHEET_ALLOW_HOSTS")


def _within(host: str, hosts: Allowed) -> bool:
    try:
        return hosts.holds(host, [ipaddress.ip_address(host)])
    except ValueError:
        return False
