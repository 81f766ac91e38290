"""The only module that talks to ComfyUI."""

import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import requests
import urllib3
import websocket
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

from runner import parameters
from runner.comfy import fullness, waiting
from runner.errors import (
    Canceled,
    DiskFull,
    EngineError,
    EngineUnavailable,
    ExecutionFailed,
    InputError,
    Interrupted,
    InvalidParameters,
    OutOfMemory,
    OutputMissing,
    PromptRejected,
    RunnerError,
)
from runner.job import Outcome, Saved
from runner.shape import mapping, sequence

ApiPrompt = dict[str, dict[str, Any]]
_T = TypeVar("_T")

MAX_ANSWER = 256 * 1024 * 1024  # bytes of JSON; the definitions of 600 nodes are 2 MB
CHUNK = 1024 * 1024  # bytes
SLOWEST = 100_000.0  # bytes per second, once `Patience.answer` has passed
ROOM = 512 * 1024 * 1024  # bytes of the disk that a download leaves
UNDECLARED = 4 * 1024**3  # bytes of a file whose length the server does not say: it may never end
REMEMBERED = 32  # jobs that have ended, at most, in the history of a server of our own
ENVELOPE = 4096  # bytes that an upload is larger than its file, at most


@dataclass(frozen=True)
class Patience:
    """How long ComfyUI may take, in seconds."""

    tick: float = 0.25  # between two looks at the clock while no message comes
    quiet: float = 5.0  # between two questions how the job stands, whatever messages say
    connect: float = 5.0
    listen: float = 1.5  # for the websocket: tried again at the next tick
    glance: float = 3.0  # for the answer to that question: asked again, it may come later
    answer: float = 20.0  # for any other whole answer
    insist: float = 25.0  # for an answer that is asked for again when it fails or is late
    silence: float = 40.0  # without a message and without any answer: it hangs or is gone


@dataclass(frozen=True)
class Message:
    """One message of the job that is followed."""

    type: str
    data: Mapping[str, Any]

    def concerns(self, prompt_id: str) -> bool:
        # After a reconnect the server repeats `executing` without a prompt id.
        return self.data.get("prompt_id", prompt_id) == prompt_id

    @property
    def is_last(self) -> bool:
        # Not execution_success: that one is sent before the history entry exists.
        return self.type == "executing" and self.data.get("node") is None


TICK = Message("tick", {})  # nothing has come for a while: a moment to look at the clock


class _Socket(Protocol):
    def recv(self) -> str | bytes: ...
    def send(self, payload: str) -> int: ...
    def settimeout(self, timeout: float) -> None: ...
    def shutdown(self) -> None: ...


class Comfy:
    """A conversation with one ComfyUI server: a persistent HTTP session and one websocket.

    `alive` says why the server is gone for good, or None: it ends waiting at once. `alone` is true
    of a server that nobody else gives jobs to. Every method raises EngineUnavailable if the server cannot be reached.
    """

    def __init__(
        self,
        url: str,
        *,
        alive: Callable[[], str | None] = lambda: None,
        patience: Patience = Patience(),
        alone: bool = False,
    ) -> None:
        self.url = url.rstrip("/")
        self._alive, self._alone = alive, alone
        self._patience = patience
        self._http = waiting.session()
        self._http.trust_env = False  # ComfyUI is on this machine: no proxy of the environment's
        self._canceled: set[str] = set()
        self._submitted: set[str] = set()
        self._ended: list[str] = []  # and are not yet dropped from its history
        self._sent: set[str] = set()  # without an answer: they may still come into the queue
        self._definitions: dict[str, Any] | None = None
        self._client_id = uuid.uuid4().hex
        self._socket: _Socket | None = None
        self._missed = False  # whether messages may have been lost since the server was asked
        self._heard = 0.0  # when the server last gave a sign of life

    def __enter__(self) -> "Comfy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._hang_up()
        self._http.close()

    def object_info(self, *, fresh: bool = False) -> dict[str, Any]:
        """Node definitions. Megabytes: kept, unless `fresh`, as the files they list may be others."""
        found = self._definitions  # another thread may hang up meanwhile
        if fresh or found is None:
            found = self._definitions = self._surely(lambda: self._get("/object_info"))
        return found

    def heard_within(self, seconds: float) -> bool:
        """Whether the server has given a sign of life lately."""
        return time.monotonic() - self._heard < seconds

    def system_stats(self, *, within: float | None = None) -> dict[str, Any]:
        """`within` is in seconds; else as long as any answer may take."""
        return self._get("/system_stats", within)

    def run(
        self,
        prompt: ApiPrompt,
        *,
        prompt_id: str,
        workflow: Mapping[str, Any],
        previews: bool = False,
        known: bool = False,
    ) -> Iterator[Message]:
        """Queue an API prompt and yield its messages, and ticks, until it has ended.

        `workflow` is the UI JSON that travels in the outputs' metadata; a `known` job may be in
        ComfyUI already and is only followed then. A lost connection is taken up again; the
        server's history, not a message, decides that the job has ended.
        Raises PromptRejected or InvalidParameters, EngineUnavailable; closing the iterator leaves the job running.
        """
        self._heard = time.monotonic()
        self._listen()  # before the job exists, so that no message of its can be missed
        self._submit(prompt, prompt_id, workflow, previews=previews, known=known)
        asked = self._heard = time.monotonic()
        ended = False
        while not ended:
            message = self._receive()
            if message is None or not message.concerns(prompt_id):
                message = TICK
            yield message
            if message.is_last and message.data.get("prompt_id") == prompt_id:
                return
            now = time.monotonic()
            if message.is_last or self._missed or now - asked > self._patience.quiet:
                asked, self._missed = now, False
                ended = self._has_ended(prompt_id)

    def outcome(self, prompt_id: str) -> Outcome:
        """What a job that has ended left behind.

        Raises Canceled, Interrupted, OutOfMemory, DiskFull, ExecutionFailed, or EngineUnavailable if the
        server does not know the job.
        """
        entry = self._surely(lambda: self._entry(prompt_id))
        canceled = prompt_id in self._canceled
        self.forget(prompt_id)
        if mapping(entry["status"]).get("status_str") != "success":
            raise _failure(entry, canceled=canceled)
        return Outcome(tuple(_saved(entry["outputs"])), tuple(_texts(entry["outputs"])))

    def knows(self, prompt_id: str) -> bool:
        """Whether the server has had a job of that id since it started."""
        if self._alone:
            return prompt_id in self._submitted
        return self._surely(lambda: self._status(prompt_id)) is not None

    def busy_with(self, prompt_id: str, *, within: float | None = None) -> bool:
        """Whether the job is queued or runs, or may come into the queue."""
        status = self._status(prompt_id, within)
        return status in _ACTIVE or (status is None and prompt_id in self._sent)

    def cancel(self, prompt_id: str, *, within: float | None = None) -> None:
        """End a job, queued or running; nothing happens to one that has ended."""
        self._canceled.add(prompt_id)
        self._post(f"/api/jobs/{prompt_id}/cancel", {}, within or self._patience.glance)

    def forget(self, prompt_id: str) -> None:
        """Let go of a job that has ended; a server of our own drops such jobs from its history.

        It does so for several at a time: a request for each would be a tenth of a short job's time.
        """
        self._canceled.discard(prompt_id)
        self._sent.discard(prompt_id)
        if self._alone:
            self._ended.append(prompt_id)
        if len(self._ended) >= REMEMBERED:
            with contextlib.suppress(EngineError):  # asked again after the next job
                self._post("/history", {"delete": self._ended}, self._patience.glance)
                self._submitted.difference_update(self._ended)
                self._ended.clear()

    def free(self) -> None:
        """Have it let go of models and cached results before its next job."""
        self._post("/free", {"unload_models": True, "free_memory": True})

    # --- files of a ComfyUI whose folders are not ours --------------------------------------

    def upload(self, file: Path, subfolder: str) -> None:
        """Stream a file into ComfyUI's input folder. Raises InputError if it is too large."""
        limit = self._get("/features").get("max_upload_size")
        size = file.stat().st_size + ENVELOPE
        if isinstance(limit, int) and size > limit:
            raise InputError(_too_large(file.name, size, limit))
        body, content_type = _form(file, subfolder)
        answer = self._request(
            "POST",
            "/upload/image",
            within=self._patience.answer + size / SLOWEST,
            data=body,
            headers={"Content-Type": content_type},
        )
        if answer.status == 413:
            raise InputError(_too_large(file.name, size, limit))
        if answer.status != 200:
            raise EngineError(f"ComfyUI answered {answer.status} to the upload of {file.name}")

    def download(self, saved: Saved, target: Path) -> None:
        """Stream a job's file. Raises DiskFull; OutputMissing if it is not there, breaks off or is too slow."""
        where = {"filename": saved.filename, "subfolder": saved.subfolder, "type": saved.type}
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        try:
            with self._http.get(
                f"{self.url}/view", params=where, stream=True, timeout=self._timeout()
            ) as response:
                if response.status_code != 200:
                    said = f"ComfyUI answered {response.status_code} to /view"
                    raise OutputMissing(f"{saved.filename}: {said}")
                self._receive_file(response, part)
            part.replace(target)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"the disk of {target.parent} is full: {saved.filename} does not fit; "
                    "remove files there",
                    details={"folder": str(target.parent)},
                ) from error
            raise OutputMissing(f"{saved.filename} broke off: {_reason(error)}") from error
        finally:
            part.unlink(missing_ok=True)

    def _receive_file(self, response: requests.Response, part: Path) -> None:
        began, size = time.monotonic(), 0
        room = shutil.disk_usage(part.parent).free - ROOM
        most = room if "Content-Length" in response.headers else min(room, UNDECLARED)
        with part.open("wb") as sink:
            while piece := response.raw.read1(CHUNK, decode_content=True):
                size += sink.write(piece)
                late = time.monotonic() - began - self._patience.answer
                if late > size / SLOWEST:
                    raise requests.Timeout("it comes too slowly")
                if size > room:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if size > most:
                    raise requests.RequestException("it does not end")
                waiting.look()

    # --- one step of following ------------------------------------------------------------

    def _receive(self) -> Message | None:
        """The next message, or None when nothing came for a tick."""
        if self._socket is None:
            self._missed = True
            waiting.pause(self._patience.tick)  # between two tries to connect
            self._listen()
            return None
        try:
            received = self._socket.recv()
        except websocket.WebSocketTimeoutException:
            return None
        except (websocket.WebSocketException, OSError, UnicodeDecodeError):
            received = ""
        if not received:  # cut, or closed in good order
            self._missed = True
            self._hang_up()
            self._check_alive()
            self._listen()
            return None
        self._heard = time.monotonic()
        return _message(received)

    def _has_ended(self, prompt_id: str) -> bool:
        """Ask the server; raises EngineUnavailable if the job is gone without a trace."""
        try:
            status = self._status(prompt_id)
        except EngineUnavailable as error:
            self._check_alive()
            mute = time.monotonic() - self._heard
            if mute > self._patience.silence:
                raise EngineUnavailable(
                    f"ComfyUI has not answered for {mute:.0f} s: {error.message}"
                ) from error
            return False
        self._heard = time.monotonic()
        if status is None and prompt_id in self._canceled:
            raise Canceled("the job was canceled")  # in the queue: it leaves no trace
        if status is None:
            raise EngineUnavailable("ComfyUI does not know the job any more; was it restarted?")
        return status not in _ACTIVE

    def _status(self, prompt_id: str, within: float | None = None) -> str | None:
        within = within or self._patience.glance
        answer = self._request("GET", f"/api/jobs/{prompt_id}", within=within)
        return None if answer.status == 404 else str(answer.json()["status"])

    def _entry(self, prompt_id: str) -> Mapping[str, Any]:
        entry = mapping(self._get(f"/history/{prompt_id}").get(prompt_id))
        if not {"status", "outputs"} <= entry.keys():
            raise EngineUnavailable("ComfyUI does not know the job any more; was it restarted?")
        return entry

    def _listen(self) -> None:
        """Connect the websocket if it is not; the next tick tries again."""
        if self._socket is not None:
            return
        address = f"{self.url.replace('http', 'ws', 1)}/ws?clientId={self._client_id}"
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self._socket = websocket.create_connection(
                address,
                timeout=self._patience.listen,
                enable_multithread=True,
                http_no_proxy=["*"],
                skip_utf8_validation=True,  # decoding it says the same, in a tenth of the time
            )
        try:
            if self._socket is not None:
                self._socket.settimeout(self._patience.tick)
                self._socket.send(_FLAGS)
        except (websocket.WebSocketException, OSError):
            self._hang_up()

    def _hang_up(self) -> None:
        self._definitions = None  # a server that comes back may have other nodes
        if self._socket is not None:
            with contextlib.suppress(websocket.WebSocketException, OSError):
                self._socket.shutdown()  # close() leaks the socket when its farewell fails
            self._socket = None

    # --- HTTP -----------------------------------------------------------------------------

    def _submit(
        self,
        prompt: ApiPrompt,
        prompt_id: str,
        workflow: Mapping[str, Any],
        *,
        previews: bool,
        known: bool,
    ) -> None:
        extra: dict[str, Any] = {"extra_pnginfo": {"workflow": workflow}}
        body = {
            "prompt": prompt,
            "prompt_id": prompt_id,
            "client_id": self._client_id,
            "extra_data": {**extra, **({"preview_method": "auto"} if previews else {})},
        }
        maybe_there = known

        def submit() -> "_Answer | None":
            nonlocal maybe_there
            if maybe_there and self._status(prompt_id) is not None:
                return None  # an earlier try has reached it, only the answer was lost
            maybe_there = True
            self._submitted.add(prompt_id)
            self._sent.add(prompt_id)
            try:
                answer = self._post("/prompt", body)
            except PromptRejected:
                self._submitted.discard(prompt_id)
                self._sent.discard(prompt_id)
                raise
            self._sent.discard(prompt_id)
            if answer.status == 200:
                answer.json()  # one that breaks off is asked for again
            return answer

        answer = self._surely(submit)
        if answer is None:
            return
        try:
            said = answer.json()
        except EngineUnavailable as error:
            raise PromptRejected(f"ComfyUI answered {answer.status}: {answer.said}") from error
        # A 200 with node errors runs only a part of the graph: that is no success.
        if answer.status != 200 or said.get("node_errors"):
            if answer.status == 200:
                with contextlib.suppress(EngineError):  # whoever follows it ends it for certain
                    self.cancel(prompt_id)
            raise _rejection(said, prompt, workflow)

    def _get(self, path: str, within: float | None = None) -> dict[str, Any]:
        answer = self._request("GET", path, within=within)
        if answer.status != 200:
            raise EngineError(f"ComfyUI answered {answer.status} to {path}")
        return answer.json()

    def _post(self, path: str, body: Mapping[str, Any], within: float | None = None) -> "_Answer":
        return self._request("POST", path, within=within, json=body)

    def _request(
        self, method: str, path: str, *, within: float | None = None, **options: Any
    ) -> "_Answer":
        """A whole answer, bounded in time and size. Raises EngineUnavailable, for a 5xx too."""
        within = waiting.left(within or self._patience.answer)
        deadline = time.monotonic() + within
        try:
            with self._http.request(
                method, self.url + path, timeout=self._timeout(within), stream=True, **options
            ) as response:
                waiting.look()
                answer = _Answer(path, response.status_code, _body(response, deadline))
                self._heard = time.monotonic()
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unavailable(error) from error
        if answer.status == 413:
            raise (
                PromptRejected(
                    f"{path}: the request is larger than ComfyUI takes; start it with a larger --max-upload-size"
                )
                if path == "/prompt"
                else EngineError(f"ComfyUI answered 413 to {path}")
            )
        if answer.status >= 500:
            raise EngineUnavailable(f"ComfyUI answered {answer.status} to {path}: {answer.said}")
        return answer

    def _surely(self, call: Callable[[], _T]) -> _T:
        """Call until there is an answer, for as long as `insist` says, a last try included."""
        with waiting.limited(self._patience.insist):
            with contextlib.suppress(EngineUnavailable):
                return call()
            return self._again(call)

    def _again(self, call: Callable[[], _T]) -> _T:
        tries = Retrying(
            retry=retry_if_exception(
                lambda e: isinstance(e, EngineUnavailable) and self._alive() is None
            ),
            wait=wait_exponential(multiplier=0.1, max=3),
            stop=stop_after_delay(waiting.left(self._patience.insist)),
            sleep=waiting.pause,
            reraise=True,
        )
        return tries(call)

    def _timeout(self, within: float | None = None) -> tuple[float, float]:
        within = within or self._patience.answer
        return min(self._patience.connect, within), within

    def _check_alive(self) -> None:
        reason = self._alive()
        if reason is not None:
            raise EngineUnavailable(reason)

    def _unavailable(self, error: Exception) -> EngineUnavailable:
        reason = self._alive() or f"ComfyUI at {self.url} cannot be reached: {_reason(error)}"
        return EngineUnavailable(reason)


def wait_until_ready(
    comfy: Comfy,
    *,
    deadline: float,
    poll: float = 0.2,
) -> None:
    """Return once the server answers. `deadline` is in seconds from now.

    Raises EngineUnavailable when it has not answered by then, or at once when it is gone.
    """
    end = time.monotonic() + deadline
    while True:
        waiting.look()
        try:
            comfy.system_stats(within=max(0.1, min(5.0, end - time.monotonic())))
            comfy._check_alive()  # pyright: ignore[reportPrivateUsage]  # not another's answer
            return
        except EngineUnavailable:
            comfy._check_alive()  # pyright: ignore[reportPrivateUsage]
            if time.monotonic() > end:
                raise
        waiting.pause(poll)


_ACTIVE = ("pending", "in_progress")
_FLAGS = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})


@dataclass(frozen=True)
class _Answer:
    path: str
    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """Raises EngineUnavailable if it breaks off or is no JSON object: asked again, it may be."""
        try:
            parsed: Any = json.loads(self.body)
        except ValueError as error:
            raise self._broken() from error
        if not isinstance(parsed, dict):
            raise self._broken()
        return cast(dict[str, Any], parsed)

    @property
    def said(self) -> str:
        return self.body[:200].decode(errors="replace")

    def _broken(self) -> EngineUnavailable:
        return EngineUnavailable(f"ComfyUI answered {self.path} with what is no JSON: {self.said}")


def _body(response: requests.Response, deadline: float) -> bytes:
    """The body as it comes: a server that sends a byte now and then does not hold us."""
    pieces: list[bytes] = []
    size = 0
    while piece := response.raw.read1(CHUNK, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        waiting.look()
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer takes too long")
        if size > MAX_ANSWER:
            raise requests.RequestException(f"the answer is larger than {MAX_ANSWER} bytes")
    return b"".join(pieces)


def _form(file: Path, subfolder: str) -> tuple[Iterator[bytes], str]:
    """The body of an upload, read as it is sent, and its content type."""
    boundary = uuid.uuid4().hex
    fields = {"subfolder": subfolder, "type": "input", "overwrite": "true"}
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    name = file.name.replace('"', "%22")
    head += (f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
             "Content-Type: application/octet-stream\r\n\r\n")  # fmt: skip

    def body() -> Iterator[bytes]:
        yield head.encode()
        with file.open("rb") as stream:
            while piece := stream.read(CHUNK):
                waiting.look()
                yield piece
        yield f"\r\n--{boundary}--\r\n".encode()

    return body(), f"multipart/form-data; boundary={boundary}"


def _too_large(name: str, size: int, limit: Any) -> str:
    known = f", that is more than its {limit:,}" if isinstance(limit, int) else ""
    return (f"{name} has {size:,} bytes{known}: start ComfyUI with "
            f"--max-upload-size {-(-size // 1024**2)}")  # fmt: skip


def _message(received: str | bytes) -> Message | None:
    """What a frame says; None for what is no message of ComfyUI's."""
    if isinstance(received, bytes):
        return _binary(received)
    try:
        said = json.loads(received)
        return Message(str(said["type"]), mapping(said.get("data")))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _binary(frame: bytes) -> Message | None:
    """Previews and texts: a 4-byte kind, then lengths and parts (ComfyUI's protocol.py)."""
    kind, rest = int.from_bytes(frame[:4], "big"), frame[4:]
    length = int.from_bytes(rest[:4], "big")
    if kind == 1:  # rest: the picture's format, the picture
        return Message("preview", {"image": rest[4:]})
    if kind == 3:  # rest: length of the node id, node id, text
        node, text = rest[4 : 4 + length], rest[4 + length :]
        return Message(
            "progress_text",
            {"node": node.decode(errors="replace"), "text": text.decode(errors="replace")},
        )
    if kind == 4:  # rest: length of the metadata, metadata, the picture
        with contextlib.suppress(ValueError):
            about = mapping(json.loads(rest[4 : 4 + length]))
            return Message("preview", {**about, "image": rest[4 + length :]})
    return None


def _reason(error: Exception) -> str:
    if "refused" in str(error):
        return "connection refused"
    late = isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError)
    return "no answer in time" if late else type(error).__name__


def _saved(outputs: Mapping[str, Any]) -> Iterator[Saved]:
    """Files by node, whatever key they come under: SaveVideo says `images`, others `audio`, …"""
    for node_id, output in outputs.items():
        for listed in mapping(output).values():
            for item in map(mapping, sequence(listed)):
                if "filename" in item:
                    subfolder, kind = item.get("subfolder") or "", item.get("type") or "output"
                    yield Saved(node_id, str(item["filename"]), str(subfolder), str(kind))


def _texts(outputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for node_id, output in outputs.items():
        shown = [str(text) for text in sequence(mapping(output).get("text"))]
        if shown:
            yield node_id, "\n".join(shown)


# As the system words EFBIG, ENOSPC and EDQUOT.
_NO_ROOM = re.compile(r"\[Errno (?:27|28|122)\]|No space left on device|Disk quota exceeded")


def _failure(entry: Mapping[str, Any], *, canceled: bool) -> RunnerError:
    said = {
        str(m[0]): mapping(m[1])
        for m in map(sequence, sequence(entry["status"].get("messages")))
        if len(m) > 1
    }
    if "execution_interrupted" in said:
        return (
            Canceled("the job was canceled")
            if canceled
            else Interrupted("the job was interrupted in ComfyUI")
        )
    error = said.get("execution_error")
    if error is None:
        return ExecutionFailed("ComfyUI reports a failure without a reason")
    prompt = mapping(entry["prompt"][2])
    about = mapping(mapping(prompt.get(str(error.get("node_id")))).get("_meta"))
    node = about.get("title") or error.get("node_type")
    exception, text = str(error.get("exception_type")), str(error.get("exception_message")).strip()
    details: dict[str, Any] = {
        "node_id": error.get("node_id"),
        "node_type": error.get("node_type"),
        "node": node,
        "exception": exception,
        "traceback": "".join(map(str, sequence(error.get("traceback"))))[-4000:],
    }
    message = f"{node}: {exception.rsplit('.', 1)[-1]}: {text}"
    if _NO_ROOM.search(text):
        return DiskFull(f"{message}: ComfyUI's disk is full; remove files there", details=details)
    full = fullness.in_exception(exception, text)
    return (
        OutOfMemory(message, details={**details, **full})
        if full
        else ExecutionFailed(message, details=details)
    )


def _rejection(
    answer: Mapping[str, Any], prompt: ApiPrompt, workflow: Mapping[str, Any]
) -> PromptRejected | InvalidParameters:
    """InvalidParameters where nodes of the pack say all of it, about the workflow's parameters."""
    errors = [
        _rejected_node(str(node_id), mapping(error), prompt)
        for node_id, wrong in mapping(answer.get("node_errors")).items()
        for error in sequence(mapping(wrong).get("errors"))
    ]
    # A failed validate_inputs is reported once per argument, with the same reason each time.
    problems = list({(p["node_id"], p["message"]): p for p in errors}.values())
    known = parameters.read(workflow) if workflow else ()
    blamed = [parameters.blamed(known, p["message"]) if _ours(p, prompt) else [] for p in problems]
    if blamed and all(blamed):
        return InvalidParameters(list(dict.fromkeys(itertools.chain.from_iterable(blamed))))
    lines = [f"{p['node']} (node {p['node_id']}): {p['message']}" for p in problems]
    general = answer.get("error")
    said = mapping(general).get("message") or str(general)
    return PromptRejected(
        "\n".join(lines) or f"ComfyUI refused the graph: {said}",
        details={"error": general, "nodes": problems},
    )


def _ours(problem: Mapping[str, str], prompt: ApiPrompt) -> bool:
    """Whether a node of the pack has refused what it was given."""
    class_type = str(mapping(prompt.get(problem["node_id"])).get("class_type"))
    return problem["type"] == _OWN_WORDS and class_type.startswith("Callsheet")


_OWN_WORDS = "custom_validation_failed"


def _rejected_node(node_id: str, error: Mapping[str, Any], prompt: ApiPrompt) -> dict[str, str]:
    node = mapping(prompt.get(node_id))
    title = mapping(node.get("_meta")).get("title") or node.get("class_type") or "?"
    kind, details = str(error.get("type")), str(error.get("details") or "")
    own = kind == _OWN_WORDS  # `details` is "<argument> - <the node's own words>"
    message = details.partition(" - ")[2] if own else f"{error.get('message')}: {details}"
    return {"node_id": node_id, "node": str(title), "type": kind, "message": message.rstrip(": ")}
