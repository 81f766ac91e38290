"""The three services as tests see them: how to reach them, what they hold, how they say no."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.storage import Storage, open_storage
from runner.storage.faults import Patience

from cloud_proxy import Fault, Proxy

QUICK = Patience(attempts=3, wait=0.01, longest_wait=0.02, connect=2, silence=1, recovery=0.2)
BUCKET = "generated-assets"
SECRET = "hush-0123456789-hush"


@dataclass(frozen=True)
class Emulator:
    """Google's service, without the proxy."""

    url: str
    wipe: Callable[[], None]


@dataclass(frozen=True)
class Held:
    content: bytes
    content_type: str


@dataclass(frozen=True)
class Cloud:
    scheme: str
    proxy: Proxy
    held: Callable[[str], Held | None]  # by key; asks the service behind the proxy
    large: int  # bytes that go in several requests
    whole: str  # method of the request that sends a small file
    part: str  # method of the requests that send a large one
    body: Callable[[int, str], tuple[str, str]]  # status and words → error body, content type
    site: Any = None  # the service itself, where it is ours
    refusal: int | None = None  # HTTP status of every refusal, if there is one for all

    def open(self, path: str = "", *, bucket: str = BUCKET, **more: object) -> Storage:
        destination = f"{self.scheme}://{bucket}/{path}"
        return open_storage(destination, **{"patience": QUICK, **more})  # pyright: ignore

    def fail(self, kind: str, *, large: bool = False, times: int = 1) -> None:
        method = self.part if large else self.whole
        within = {"s3": "partNumber=2" if large else "", "gs": "upload"}.get(self.scheme, "")
        self.proxy.faults.append(Fault(method, kind, times, within))

    def refuse(self, status: int, words: str = "no", *, times: int = 1) -> None:
        body, content_type = self.body(status, words)
        for method in ("POST", "PUT"):
            answer = Fault(method, "answer", times, "", self.refusal or status, body, content_type)
            self.proxy.faults.append(answer)
