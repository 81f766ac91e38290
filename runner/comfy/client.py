"""The only module that talks to ComfyUI."""

import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import requests
import websocket
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

from runner.errors import (
    Canceled,
    EngineError,
    EngineUnavailable,
    ExecutionFailed,
    OutOfMemory,
    PromptRejected,
)
from runner.job import Outcome, Saved
from runner.shape import mapping, sequence

ApiPrompt = dict[str, dict[str, Any]]

QUIET = 5.0  # seconds without a message after which the server is asked how the job stands
HTTP_TIMEOUT = (5.0, 60.0)  # seconds to connect, to answer
RECONNECT = 30.0  # seconds for which a lost connection is tried again


@dataclass(frozen=True)
class Message:
    """One websocket message of the job that is followed."""

    type: str
    data: Mapping[str, Any]

    def concerns(self, prompt_id: str) -> bool:
        # After a reconnect the server repeats `executing` without a prompt id.
        return self.data.get("prompt_id", prompt_id) == prompt_id

    @property
    def is_last(self) -> bool:
        # Not execution_success: that one is sent before the history entry exists.
        return self.type == "executing" and self.data.get("node") is None


class _Socket(Protocol):
    def recv(self) -> str | bytes: ...
    def shutdown(self) -> None: ...


class Comfy:
    """A conversation with one ComfyUI server: a persistent HTTP session and one websocket.

    `alive` says why the server is gone for good, or None: it ends waiting at once.
    Every method raises EngineUnavailable if the server cannot be reached.
    """

    def __init__(self, url: str, *, alive: Callable[[], str | None] = lambda: None) -> None:
        self.url = url.rstrip("/")
        self._alive = alive
        self._http = requests.Session()
        self._http.trust_env = False  # ComfyUI is on this machine: no proxy of the environment's
        self._canceled: set[str] = set()
        self._client_id = uuid.uuid4().hex
        self._socket: _Socket | None = None

    def __enter__(self) -> "Comfy":
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        self._http.close()

    def object_info(self, class_type: str | None = None) -> dict[str, Any]:
        """Node definitions, of all nodes or of one."""
        path = "/object_info" if class_type is None else f"/object_info/{class_type}"
        return self._get(path)

    def system_stats(self) -> dict[str, Any]:
        return self._get("/system_stats")

    def run(
        self, prompt: ApiPrompt, *, prompt_id: str, workflow: Mapping[str, Any]
    ) -> Iterator[Message]:
        """Queue an API prompt and yield its messages until it has ended.

        `workflow` is the UI JSON that travels in the outputs' metadata. A lost connection is taken
        up again; the server's history, not a message, decides that the job has ended.
        Raises PromptRejected, EngineUnavailable; closing the iterator leaves the job running.
        """
        self._listen()  # before the job exists, so that no message of its can be missed
        self._submit(prompt, prompt_id, workflow)
        ended = False
        while not ended:
            message = self._receive()
            if message is not None and message.concerns(prompt_id):
                yield message
            if message is None or message.is_last:
                ended = self._has_ended(prompt_id)

    def outcome(self, prompt_id: str) -> Outcome:
        """What a job that has ended left behind.

        Raises Canceled, OutOfMemory, ExecutionFailed, or EngineUnavailable if the server does not
        know the job.
        """
        entry = self._get(f"/history/{prompt_id}").get(prompt_id)
        if entry is None:
            raise EngineUnavailable("ComfyUI does not know the job any more; was it restarted?")
        if entry["status"]["status_str"] != "success":
            raise _failure(entry)
        return Outcome(tuple(_saved(entry["outputs"])), tuple(_texts(entry["outputs"])))

    def knows(self, prompt_id: str) -> bool:
        """Whether the server has had a job of that id since it started."""
        return self._status(prompt_id) is not None

    def cancel(self, prompt_id: str) -> None:
        """End a job, queued or running; nothing happens to one that has ended."""
        self._canceled.add(prompt_id)
        self._post(f"/api/jobs/{prompt_id}/cancel", {})

    # --- one step of following ------------------------------------------------------------

    def _receive(self) -> Message | None:
        """The next message, or None when nothing came and the server had better be asked."""
        assert self._socket is not None
        try:
            received = self._socket.recv()
        except websocket.WebSocketTimeoutException:
            return None
        except (websocket.WebSocketException, OSError):
            self._reconnect()
            return None
        if not received:  # closed in good order
            self._reconnect()
            return None
        if not isinstance(received, str):
            return Message("preview", {})
        message = json.loads(received)
        return Message(message["type"], message.get("data") or {})

    def _has_ended(self, prompt_id: str) -> bool:
        """Ask the server; raises EngineUnavailable if the job is gone without a trace."""
        status = self._status(prompt_id)
        if status is None and prompt_id in self._canceled:
            raise Canceled("the job was canceled")  # in the queue: it leaves no trace
        if status is None:
            raise EngineUnavailable("ComfyUI does not know the job any more; was it restarted?")
        return status not in ("pending", "in_progress")

    def _status(self, prompt_id: str) -> str | None:
        response = self._request("GET", f"/api/jobs/{prompt_id}")
        return None if response.status_code == 404 else str(_json(response)["status"])

    def _listen(self) -> None:
        if self._socket is None:
            self._reconnect()

    def _reconnect(self) -> None:
        self._hang_up()
        address = f"{self.url.replace('http', 'ws', 1)}/ws?clientId={self._client_id}"

        @retry(
            retry=retry_if_exception_type((websocket.WebSocketException, OSError)),
            wait=wait_exponential(multiplier=0.1, max=3),
            stop=stop_after_delay(RECONNECT),
            reraise=True,
        )
        def connect() -> _Socket:
            self._check_alive()
            connected = websocket.create_connection(
                address, timeout=HTTP_TIMEOUT[0], enable_multithread=True, http_no_proxy=["*"]
            )
            connected.settimeout(QUIET)
            return connected

        try:
            self._socket = connect()
        except (websocket.WebSocketException, OSError) as error:
            raise self._unavailable(error) from error

    def _hang_up(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(websocket.WebSocketException, OSError):
                self._socket.shutdown()  # close() leaks the socket when its farewell fails
            self._socket = None

    # --- HTTP -----------------------------------------------------------------------------

    def _submit(self, prompt: ApiPrompt, prompt_id: str, workflow: Mapping[str, Any]) -> None:
        body = {
            "prompt": prompt,
            "prompt_id": prompt_id,
            "client_id": self._client_id,
            "extra_data": {"extra_pnginfo": {"workflow": workflow}},
        }
        response = self._post("/prompt", body)
        try:
            answer = response.json()
        except requests.JSONDecodeError as error:
            raise PromptRejected(
                f"ComfyUI answered {response.status_code}: {response.text[:300]}"
            ) from error
        # A 200 with node errors runs only a part of the graph: that is no success.
        if response.status_code != 200 or answer.get("node_errors"):
            if response.status_code == 200:
                self.cancel(prompt_id)
            raise _rejection(answer, prompt)

    def _get(self, path: str) -> dict[str, Any]:
        response = self._request("GET", path)
        if response.status_code != 200:
            raise EngineError(f"ComfyUI answered {response.status_code} to {path}")
        return _json(response)

    def _post(self, path: str, body: Mapping[str, Any]) -> requests.Response:
        return self._request("POST", path, json=body)

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            return self._http.request(method, self.url + path, timeout=HTTP_TIMEOUT, **options)
        except requests.RequestException as error:
            raise self._unavailable(error) from error

    def _check_alive(self) -> None:
        reason = self._alive()
        if reason is not None:
            raise EngineUnavailable(reason)

    def _unavailable(self, error: Exception) -> EngineUnavailable:
        reason = self._alive() or f"ComfyUI at {self.url} cannot be reached: {_reason(error)}"
        return EngineUnavailable(reason)


def wait_until_ready(comfy: Comfy, *, deadline: float, poll: float = 0.2) -> None:
    """Return once the server answers. `deadline` is in seconds from now.

    Raises EngineUnavailable when it has not answered by then, or at once when it is gone.
    """
    end = time.monotonic() + deadline
    while True:
        try:
            comfy.system_stats()
            comfy._check_alive()  # pyright: ignore[reportPrivateUsage]  # not another's answer
            return
        except EngineUnavailable:
            comfy._check_alive()  # pyright: ignore[reportPrivateUsage]
            if time.monotonic() > end:
                raise
        time.sleep(poll)


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        return response.json()
    except requests.JSONDecodeError as error:
        said = response.text[:200]
        raise EngineError(f"ComfyUI answered {response.status_code}: {said}") from error


def _reason(error: Exception) -> str:
    return "connection refused" if "refused" in str(error) else type(error).__name__


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


def _failure(entry: Mapping[str, Any]) -> EngineError:
    said = dict(entry["status"]["messages"])
    if "execution_interrupted" in said:
        return Canceled("the job was canceled")
    error = said.get("execution_error")
    if error is None:
        return ExecutionFailed("ComfyUI reports a failure without a reason")
    prompt = entry["prompt"][2]
    node = prompt.get(error["node_id"], {}).get("_meta", {}).get("title") or error["node_type"]
    exception = str(error["exception_type"])
    details = {
        "node_id": error["node_id"],
        "node_type": error["node_type"],
        "node": node,
        "exception": exception,
        "traceback": "".join(error.get("traceback") or [])[-4000:],
    }
    message = f"{node}: {exception.rsplit('.', 1)[-1]}: {str(error['exception_message']).strip()}"
    # As ComfyUI's own is_oom: some drivers report it as another kind of error.
    full = "OutOfMemory" in exception or "out of memory" in str(error["exception_message"]).lower()
    kind = OutOfMemory if full else ExecutionFailed
    return kind(message, details=details)


def _rejection(answer: Mapping[str, Any], prompt: ApiPrompt) -> PromptRejected:
    errors = [
        _rejected_node(str(node_id), mapping(error), prompt)
        for node_id, wrong in mapping(answer.get("node_errors")).items()
        for error in sequence(mapping(wrong).get("errors"))
    ]
    # A failed validate_inputs is reported once per argument, with the same reason each time.
    problems = list({(p["node_id"], p["message"]): p for p in errors}.values())
    lines = [f"{p['node']} (node {p['node_id']}): {p['message']}" for p in problems]
    general = answer.get("error")
    said = mapping(general).get("message") or str(general)
    return PromptRejected(
        "\n".join(lines) or f"ComfyUI refused the graph: {said}",
        details={"error": general, "nodes": problems},
    )


def _rejected_node(node_id: str, error: Mapping[str, Any], prompt: ApiPrompt) -> dict[str, str]:
    node = mapping(prompt.get(node_id))
    title = mapping(node.get("_meta")).get("title") or node.get("class_type") or "?"
    kind, details = str(error.get("type")), str(error.get("details") or "")
    own = kind == "custom_validation_failed"  # `details` is "<argument> - <the node's own words>"
    message = details.partition(" - ")[2] if own else f"{error.get('message')}: {details}"
    return {"node_id": node_id, "node": str(title), "type": kind, "message": message.rstrip(": ")}
