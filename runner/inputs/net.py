"""Downloads from addresses that strangers name: only public ones, or those the operator allows.

The proxies, netrc and cookies of the environment are not used: a proxy would resolve the name
anew, and nobody could say any more which address was asked.
"""

import contextlib
import http.client
import ipaddress
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import TypeAlias, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import certifi
import tenacity

from runner.errors import RequestError
from runner.inputs.cache import Cache, Entry, Version, version

_T = TypeVar("_T")
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]  # host, port → addresses
Take: TypeAlias = Callable[[bytes, int | None], None]  # a piece; the file's size if it is known
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS = (80, 443, 8080, 8443)  # of hosts that nobody has allowed by name
CHUNK = 256 * 1024  # bytes
MAX_URL = 8192  # characters
_POLL = 0.1  # seconds between two looks whether the job was canceled

_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_SAFE = "/%:@!$&'()*+,;=~-._?"
_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_SECRET = re.compile(r"(?<![A-Za-z0-9_-])(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{32,}")

# Python calls these public, or did in some version: a part of 192.0.0.0/24 answers as metadata
# service in one cloud, 168.63.129.16 in another; 192.88.99.0/24 leads on to IPv6.
_NEVER = tuple(map(ipaddress.IPv4Network, ("192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24")))
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Teredo and 6to4 carry an IPv4 address of the sender's choice; the last is documentation's.
_NOT_UNICAST = tuple(map(ipaddress.IPv6Network, ("2001::/32", "2002::/16", "3fff::/20")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Unfetched(Exception):
    """Why a file could not be had, in words that hold no secret of its URL."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again  # whether trying once more may help


@dataclass(frozen=True)
class Patience:
    """How long a download may take and how often it is tried."""

    connect: float = 10.0  # seconds
    read: float = 30.0  # seconds without a byte
    total: float = 600.0  # seconds for one file, every try and redirect included
    tries: int = 4
    backoff: float = 0.5  # seconds before the second try; doubled for each further one
    redirects: int = 5


@dataclass(frozen=True)
class Allowed:
    """Hosts that may be asked although they are not public."""

    names: frozenset[str] = frozenset()
    networks: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> "Allowed":
        """From names, addresses and networks (`minio.internal`, `10.1.0.0/16`).

        Raises RequestError for what is none of these.
        """
        names: set[str] = set()
        networks: list[_Network] = []
        for entry in entries:
            try:
                networks.append(ipaddress.ip_network(entry.strip("[]")))
            except ValueError as error:
                name = entry.lower().rstrip(".")
                if not _HOST.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
                    raise RequestError(
                        f"CALLSHEET_ALLOW_HOSTS: {entry!r} is no host name, address or network, "
                        "such as minio.internal or 10.1.0.0/16"
                    ) from error
                names.add(name)
        return cls(frozenset(names), tuple(networks))

    def holds(self, host: str, addresses: Sequence[_Address]) -> bool:
        return host in self.names or all(any(a in n for n in self.networks) for a in addresses)


@dataclass(frozen=True)
class Url:
    """An http(s) URL, read once: the host that is checked is the host that is asked."""

    scheme: str
    host: str  # ASCII, small letters, no brackets
    port: int
    target: str  # path and query, percent-encoded

    @property
    def text(self) -> str:
        return f"{self.scheme}://{self.place}{self.target}"

    @property
    def shown(self) -> str:
        """For people: without query, and without what looks like a token in the path."""
        path = self.target.partition("?")[0].partition(";")[0]
        return f"{self.scheme}://{self.place}{shown_path(path)}"

    @property
    def place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        standard = 443 if self.scheme == "https" else 80
        return host if self.port == standard else f"{host}:{self.port}"


@dataclass(frozen=True)
class Request:
    """What is asked for, and as whom."""

    url: Url
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    # The operator's own cloud storage: it may be private, and gets the operator's credentials.
    service: str = ""
    known_as: str = ""  # where the URL itself differs each time

    @property
    def address(self) -> str:
        """What the cache knows the file by."""
        return self.known_as or self.url.text

    @property
    def host(self) -> str:
        """For people: where the operator keeps files is nobody's business."""
        return f"the {self.service}:// service" if self.service else self.url.host


def parse(text: str) -> Url:
    """Pure. Raises Unfetched for everything but a plain http or https URL."""
    if len(text) > MAX_URL:
        raise Unfetched(f"the URL has {len(text):,} characters; at most {MAX_URL:,} are taken")
    if re.search(r"[\x00-\x20\x7f\\]", text):
        raise Unfetched("the URL holds a space, backslash or control character; encode it as %20")
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise Unfetched("is no valid URL; write https://host/path") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise Unfetched("is no http or https URL")
    if "@" in parts.netloc:
        raise Unfetched("the URL holds a user name or password; give a signed URL instead")
    scheme = parts.scheme.lower()
    try:
        path = quote(parts.path, safe=_SAFE) or "/"
        query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    except UnicodeError:  # half a surrogate pair
        raise Unfetched("the URL holds what is no character") from None
    standard = 443 if scheme == "https" else 80
    return Url(scheme, _host(host), standard if port is None else port, path + query)


def shown_path(path: str) -> str:
    """A path without what looks like a token, and not long. Pure."""
    path = _SECRET.sub("…", path)
    return path if len(path) <= 100 else f"{path[:99]}…"


def shown(text: str) -> str:
    """A URL without query, userinfo and tokens, also where it is no valid one. Pure."""
    scheme, _, rest = text.partition("://")
    try:
        bare = rest.partition("?")[0].partition("#")[0]
        place, slash, path = bare.replace("\\", "/").partition("/")
        return parse(f"{scheme}://{place.rpartition('@')[2]}{slash}{path}").shown
    except Unfetched:
        return f"{scheme[:8]}://…"


def _host(name: str) -> str:
    """The host as DNS is asked for it."""
    if ":" in name:
        try:
            return str(ipaddress.IPv6Address(name))
        except ValueError:
            raise Unfetched("its host is no valid IPv6 address") from None
    try:
        host = name.encode("idna").decode() if not name.isascii() else name
    except UnicodeError:
        raise Unfetched("its host is no valid name") from None
    host = host.lower().rstrip(".")
    if not _HOST.fullmatch(host):
        raise Unfetched("its host is no valid name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):  # 2130706433, 0x7f.1, 127.1: all 127.0.0.1
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise Unfetched("its host is an address in an odd notation; write a.b.c.d") from None
    return host


def is_public(address: _Address) -> bool:
    """Whether an address is out in the internet, for everyone. Pure."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:  # what an IPv6-only machine gets for an IPv4 host
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST or any(address in n for n in _NOT_UNICAST):
            return False
    elif any(address in n for n in _NEVER):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_private
    )


def resolve(host: str, port: int) -> list[str]:
    """The addresses that the system gives for a host."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass
class Downloads:
    """One job's downloads: may be used by several threads, and cut off by another."""

    allowed: Allowed = field(default_factory=Allowed)
    patience: Patience = field(default_factory=Patience)
    resolve: Resolve = resolve
    cache: Cache | None = None
    canceled: threading.Event = field(default_factory=threading.Event)
    _open: dict[socket.socket, float] = field(default_factory=dict[socket.socket, float])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(
        self, request: Callable[[], Request], *, restart: Callable[[], None], take: Take
    ) -> Version | None:
        """Hand a file's bytes to `take`, with the size that the server has told, piece by piece.

        `request` and `restart` are called before each try. Returns what the cache may keep the
        file under; None if it may not, or has it. Raises Unfetched.
        """
        deadline = time.monotonic() + self.patience.total
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, Unfetched) and e.again),
            stop=tenacity.stop_after_attempt(self.patience.tries)
            | tenacity.stop_after_delay(self.patience.total)
            | tenacity.stop_when_event_set(self.canceled),
            wait=tenacity.wait_exponential(multiplier=self.patience.backoff, max=20),
            sleep=tenacity.sleep_using_event(self.canceled),
            reraise=True,
        )
        return retrying(self._try, request, deadline, restart, take)

    def cut_overdue(self) -> None:
        """End the connections whose time is up; a server may drip its headers for ever."""
        now = time.monotonic()
        self._cut(lambda deadline: deadline < now)

    def cancel(self) -> None:
        """End every connection and every wait."""
        self.canceled.set()
        self._cut(lambda _: True)

    def _cut(self, which: Callable[[float], bool]) -> None:
        with self._lock:
            for sock, deadline in self._open.items():
                if which(deadline):
                    with contextlib.suppress(OSError):
                        # Not SSLSocket's own: it would take the object from under its reader.
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _try(
        self,
        request: Callable[[], Request],
        deadline: float,
        restart: Callable[[], None],
        take: Take,
    ) -> Version | None:
        restart()
        problem: Unfetched | None = None
        found: Version | None = None
        try:
            asked = self._patiently(request, deadline, late="cannot be asked for in time")
            found = self._follow(asked, deadline, take)
        except Unfetched as error:
            problem = error
        # A connection that was cut looks like the end of the file.
        if self.canceled.is_set():
            raise Unfetched("canceled")
        if time.monotonic() >= deadline:
            raise Unfetched(f"took longer than {self.patience.total:g} s")
        if problem is not None:
            raise problem from None  # a foreign error may quote the URL
        return found

    def _follow(self, request: Request, deadline: float, take: Take) -> Version | None:
        for _ in range(self.patience.redirects + 1):
            try:
                with (
                    self._kept(request) as entry,
                    self._answer(request, deadline, entry) as response,
                ):
                    # Elsewhere the operator's credentials would not be good, or not be safe.
                    if response.status not in _REDIRECTS or request.service:
                        return self._taken(request, response, entry, take)
                    request = Request(_redirected(request.url, response))
            except (OSError, http.client.HTTPException) as error:
                raise _told(error, request.host) from None  # it may quote the URL
        raise Unfetched(f"redirects more than {self.patience.redirects} times")

    @contextlib.contextmanager
    def _kept(self, request: Request) -> Generator[Entry | None]:
        # Looked up for each hop: an ETag means something at its own address only.
        if self.cache is None:
            yield None
            return
        with self.cache.entry(request.address) as entry:
            yield entry

    def _taken(
        self,
        request: Request,
        response: http.client.HTTPResponse,
        entry: Entry | None,
        take: Take,
    ) -> Version | None:
        keep = _may_keep(request, response)
        if not keep and self.cache is not None:
            self.cache.drop(request.address)
        if entry is None or response.status != HTTPStatus.NOT_MODIFIED:
            _read(response, request, take)
            return version(request.address, response.headers.get("ETag")) if keep else None
        if not entry.read(take):
            raise Unfetched("the file in the cache is damaged", again=True)
        return None

    @contextlib.contextmanager
    def _answer(
        self, request: Request, deadline: float, entry: Entry | None
    ) -> Generator[http.client.HTTPResponse]:
        url = request.url
        sock = self._connect(request, deadline)
        if url.scheme == "https":
            sock = self._tls.wrap_socket(
                sock, server_hostname=url.host, do_handshake_on_connect=False
            )
        with contextlib.closing(sock), self._held(sock, deadline):
            sock.settimeout(self.patience.read)
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection = http.client.HTTPConnection(url.host, url.port)
            connection.sock = sock
            headers = {"Host": url.place, "User-Agent": "callsheet", "Accept": "*/*",
                       "Accept-Encoding": "identity", "Connection": "close",
                       **({"If-None-Match": entry.etag} if entry else {}),
                       **request.headers}  # fmt: skip
            connection.request("GET", url.target, headers=headers)
            with connection.getresponse() as response:
                yield response

    def _connect(self, request: Request, deadline: float) -> socket.socket:
        """A connection to one of the addresses that were checked, and to no other."""
        url = request.url
        addresses = (
            self._addresses(url, deadline, request.host)
            if request.service
            else self.checked(url, deadline)
        )
        for index, address in enumerate(addresses):
            left = deadline - time.monotonic()
            try:
                seconds = max(0.001, min(self.patience.connect, left))
                return socket.create_connection((str(address), url.port), timeout=seconds)
            except OSError:
                if index == len(addresses) - 1 or left <= 0 or self.canceled.is_set():
                    raise
        raise AssertionError("a host has an address")

    def _addresses(self, url: Url, deadline: float, host: str) -> list[_Address]:
        deadline = min(deadline, time.monotonic() + self.patience.connect)
        try:
            found = self._patiently(
                lambda: self.resolve(url.host, url.port),
                deadline,
                late=f"the name of {host} is not looked up in time",
            )
            addresses = [ipaddress.ip_address(address) for address in found]
        except socket.gaierror as error:
            again = error.errno == socket.EAI_AGAIN
            raise Unfetched(f"there is no host {host}", again=again) from None
        except (UnicodeError, ValueError):
            raise Unfetched("its host is no valid name") from None
        if not addresses:
            raise Unfetched(f"there is no host {host}")
        return addresses

    def checked(self, url: Url, deadline: float = math.inf) -> list[_Address]:
        """The addresses of a host that may be asked. Raises Unfetched."""
        addresses = self._addresses(url, deadline, url.host)
        if self.allowed.holds(url.host, addresses):
            return addresses
        # The address itself stays unsaid: it would tell strangers about the network inside.
        if not all(map(is_public, addresses)):
            raise Unfetched(
                f"{url.host} is a private, local or reserved address; give a public URL, "
                "or let the operator allow the host in CALLSHEET_ALLOW_HOSTS"
            )
        if url.port not in PORTS:
            raise Unfetched(
                f"port {url.port} is none of {', '.join(map(str, PORTS))}; "
                "the operator can allow the host in CALLSHEET_ALLOW_HOSTS"
            )
        return addresses

    def _patiently(self, action: Callable[[], _T], deadline: float, *, late: str) -> _T:
        """The answer of what nobody can cut off, such as a lookup; its thread may be left behind.

        Raises Unfetched at the deadline, with the reason `late`, and if it is canceled.
        """
        answer: Future[_T] = Future()

        def work() -> None:
            try:
                answer.set_result(action())
            except BaseException as error:  # noqa: BLE001 - it goes to whoever waits
                answer.set_exception(error)

        threading.Thread(target=work, name="input lookup", daemon=True).start()
        while not answer.done():
            if self.canceled.is_set():
                raise Unfetched("canceled")
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unfetched(late, again=True)
            wait([answer], timeout=min(left, _POLL))
        return answer.result()

    @contextlib.contextmanager
    def _held(self, sock: socket.socket, deadline: float) -> Generator[None]:
        with self._lock:
            self._open[sock] = deadline
        try:
            if self.canceled.is_set():
                raise Unfetched("canceled")
            yield
        finally:
            with self._lock:
                del self._open[sock]

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()  # the system's, or SSL_CERT_FILE's
        context.load_verify_locations(certifi.where())
        return context


def _may_keep(request: Request, response: http.client.HTTPResponse) -> bool:
    rules = {
        rule.partition("=")[0].strip().lower()
        for line in response.headers.get_all("Cache-Control", [])
        for rule in line.split(",")
    }
    # What is private to the operator is the operator's to keep.
    never = {"no-store"} if request.service else {"no-store", "private"}
    return not rules & never and "*" not in response.headers.get("Vary", "")


def _read(response: http.client.HTTPResponse, request: Request, take: Take) -> None:
    if response.status != HTTPStatus.OK:
        again = response.status in _AGAIN
        raise Unfetched(_refusal(response.status, request), again=again)
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise Unfetched("comes compressed though we asked for it plain; store the file as it is")
    size = response.length
    take(b"", size)
    # Not read(): that one waits for a whole piece, however slowly it comes.
    while piece := response.read1(CHUNK):
        take(piece, size)
    if response.length:
        raise _cut_short()


def _refusal(status: int, request: Request) -> str:
    if request.service and status in (401, 403, 404):
        return "there is no such object, or the operator's credentials may not read it"
    try:
        said = f"the server answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = f"the server answered {status}"
    if status in (401, 403):
        return f"{said}; give a public URL, or a signed one that has not expired"
    return said


def _redirected(url: Url, response: http.client.HTTPResponse) -> Url:
    location = response.headers.get("Location") or ""
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode()  # as browsers read it
    try:
        return parse(urljoin(url.text, location))
    except ValueError:
        raise Unfetched("redirects to what is no valid URL") from None
    except Unfetched as error:
        raise Unfetched(f"redirects to a place that is not taken: {error.reason}") from None


def _told(error: Exception, host: str) -> Unfetched:
    match error:
        case ssl.SSLCertVerificationError():
            return Unfetched(f"the certificate of {host} is not valid: {error.verify_message}")
        case ssl.SSLError():
            return Unfetched(f"there is no encrypted connection to {host}", again=True)
        case TimeoutError():
            return Unfetched(f"{host} does not answer in time", again=True)
        case ConnectionRefusedError():
            return Unfetched(f"{host} refuses the connection", again=True)
        case http.client.IncompleteRead():
            return _cut_short()
        case OSError():
            return Unfetched(f"the connection to {host} was lost", again=True)
        case _:
            return Unfetched(f"{host} does not answer as a web server does")


def _cut_short() -> Unfetched:
    return Unfetched("the connection ended before the file did", again=True)
