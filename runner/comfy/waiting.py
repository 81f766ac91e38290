"""Waiting that ends when the caller wants it to: pauses, locks, and answers of a server."""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import requests
import requests.adapters
import urllib3
import urllib3.connection

Check = Callable[[], None]  # called while something is waited for; ends the waiting by raising

TICK = 0.1  # seconds between two looks
LAST = 0.2  # seconds that an answer may take at least
GAP = 5.0  # seconds at most between two parts of one answer


def _nothing() -> None: ...


class _Looking(threading.local):
    check: Check = staticmethod(_nothing)
    end: float = float("inf")  # of time.monotonic()


_looking = _Looking()


@contextlib.contextmanager
def watched(check: Check) -> Generator[None]:
    """All that this thread waits for inside, with `look`, `pause` or a `session`, ends by `check`.

    A watch outside goes on.
    """
    before = _looking.check

    def both() -> None:
        before()
        check()

    with _set(both):
        yield


@contextlib.contextmanager
def limited(seconds: float) -> Generator[None]:
    """All answers that this thread waits for inside come within so many seconds, together."""
    before, _looking.end = _looking.end, time.monotonic() + seconds
    try:
        yield
    finally:
        _looking.end = before


def left(within: float) -> float:
    """How much of a time for an answer there is: less if it is `limited`."""
    return min(within, max(LAST, _looking.end - time.monotonic()))


def unwatched() -> contextlib.AbstractContextManager[None]:
    """For what has to be done when a check has ended all else."""
    return _set(_nothing)


@contextlib.contextmanager
def _set(check: Check) -> Generator[None]:
    before, _looking.check = _looking.check, check
    try:
        yield
    finally:
        _looking.check = before


def look() -> None:
    """Raises what the caller's check raises."""
    _looking.check()


def pause(seconds: float) -> None:
    """Wait; for what nothing tells when it comes."""
    end = time.monotonic() + seconds
    look()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(TICK, left))
        look()


@contextlib.contextmanager
def held(lock: threading.Lock) -> Generator[None]:
    """The lock, waited for."""
    while not lock.acquire(timeout=TICK):
        look()
    try:
        yield
    finally:
        lock.release()


def session() -> requests.Session:
    """A session whose requests look while the server thinks, not only when it speaks."""
    http = requests.Session()
    for scheme in ("http://", "https://"):
        http.mount(scheme, _Adapter())
    return http


class _LookingHTTP(urllib3.connection.HTTPConnection):
    def getresponse(self) -> Any:
        _wait_readable(self.sock, self.timeout)
        response = super().getresponse()
        _shorten(self.sock)
        return response


class _LookingHTTPS(urllib3.connection.HTTPSConnection):
    def getresponse(self) -> Any:
        _wait_readable(self.sock, self.timeout)
        response = super().getresponse()
        _shorten(self.sock)
        return response


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls: Any = _LookingHTTP


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls: Any = _LookingHTTPS


class _Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


def _wait_readable(sock: socket.socket, timeout: Any) -> None:
    """Until the answer begins. Raises TimeoutError, and what the check raises."""
    end = time.monotonic() + timeout if isinstance(timeout, int | float) else None
    poll = select.poll()  # not select(): that one takes no handle above 1023
    poll.register(sock, select.POLLIN)
    while not poll.poll(TICK * 1000):
        look()
        if end is not None and time.monotonic() > end:
            raise TimeoutError("timed out")


def _shorten(sock: socket.socket | None) -> None:
    """An answer that has begun comes on: nobody can look while a part of it is waited for."""
    if sock is not None and (sock.gettimeout() or GAP) > GAP:
        sock.settimeout(GAP)
