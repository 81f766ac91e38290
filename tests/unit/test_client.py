"""The conversation with ComfyUI when it goes wrong: every job ends, and with the right word."""

import asyncio
import dataclasses
import socket
import time
from collections.abc import Mapping
from typing import Any

import pytest

from runner.comfy import client, waiting
from runner.comfy.client import TICK, Comfy, Patience
from runner.errors import (
    Canceled,
    EngineUnavailable,
    ExecutionFailed,
    Interrupted,
    InvalidParameters,
    OutOfMemory,
    PromptRejected,
    RunnerError,
)
from runner.job import Job

from fake_comfy import FakeComfy
from workflows import document, parameter

PROMPT: dict[str, dict[str, Any]] = {
    "7": {"class_type": "X", "inputs": {}, "_meta": {"title": "X"}}
}
ID = Job("job", "w").prompt_id()


HASTY = Patience(tick=0.05, quiet=0.3, glance=0.5, answer=1.0, insist=1.5, silence=1.5)


def follow(fake: FakeComfy, workflow: Mapping[str, Any] = {}, **how: Any) -> tuple[list[str], Any]:
    with fake as url, Comfy(url, patience=HASTY) as comfy:
        messages = comfy.run(how.pop("prompt", PROMPT), prompt_id=ID, workflow=workflow, **how)
        seen = [m.type for m in messages if m is not TICK]
        return seen, comfy.outcome(ID).files


async def plain(fake: FakeComfy, prompt_id: str) -> None:
    await fake.send("execution_start", prompt_id=prompt_id)
    await fake.send("executing", node="7", prompt_id=prompt_id)
    fake.end(prompt_id)
    await fake.send("executing", node=None, prompt_id=prompt_id)


def test_a_plain_job() -> None:
    seen, saved = follow(FakeComfy(plain))
    assert seen[-3:] == ["execution_start", "executing", "executing"]
    assert [(s.node_id, s.filename, s.subfolder, s.type) for s in saved] == [
        ("9", "v.mp4", "s", "output")
    ]


def test_messages_of_other_jobs_are_not_ours() -> None:
    async def script(fake: FakeComfy, prompt_id: str) -> None:
        await fake.send("executing", node=None, prompt_id="another")
        await fake.send("execution_error", prompt_id="another")
        await plain(fake, prompt_id)

    seen, _ = follow(FakeComfy(script))
    assert "execution_error" not in seen


def test_a_lost_connection_is_taken_up_again() -> None:
    async def script(fake: FakeComfy, prompt_id: str) -> None:
        await fake.send("execution_start", prompt_id=prompt_id)
        await fake.drop()
        while not fake.sockets:
            await asyncio.sleep(0.01)
        await fake.send("executing", node="7")  # the server's repetition has no prompt id
        await plain(fake, prompt_id)

    fake = FakeComfy(script)
    seen, saved = follow(fake)
    assert saved
    assert fake.connections == 2
    assert "executing" in seen


def test_a_job_that_ends_while_the_connection_is_down_ends_here_too() -> None:
    async def script(fake: FakeComfy, prompt_id: str) -> None:
        fake.end(prompt_id)
        await fake.drop()

    assert follow(FakeComfy(script))[1]


def test_a_connection_closed_in_good_order_is_taken_up_again() -> None:
    async def script(fake: FakeComfy, prompt_id: str) -> None:
        await fake.close()
        fake.end(prompt_id)

    assert follow(FakeComfy(script))[1]


def test_a_job_canceled_in_the_queue_is_canceled() -> None:
    async def script(fake: FakeComfy, prompt_id: str) -> None:
        await fake.send("status")

    fake = FakeComfy(script)
    with fake as url, Comfy(url, patience=HASTY) as comfy:
        messages = comfy.run(PROMPT, prompt_id=ID, workflow={})
        next(messages)
        comfy.cancel(ID)
        fake.known.clear()  # ComfyUI takes it out of the queue without a trace
        with pytest.raises(Canceled):
            list(messages)


def test_a_silent_websocket_does_not_hang() -> None:
    async def script(fake: FakeComfy, prompt_id: str) -> None:
        fake.end(prompt_id)  # and no message ever

    assert follow(FakeComfy(script))[1]


def test_others_chatter_does_not_hide_that_the_job_has_ended() -> None:
    async def script(fake: FakeComfy, prompt_id: str) -> None:
        fake.end(prompt_id)
        while True:
            await fake.send("status")
            await asyncio.sleep(0.02)

    assert follow(FakeComfy(script))[1]


def test_a_job_that_a_restarted_server_has_forgotten_is_given_up() -> None:
    async def script(fake: FakeComfy, prompt_id: str) -> None:
        fake.known.clear()
        await fake.drop()

    with pytest.raises(EngineUnavailable, match="does not know the job"):
        follow(FakeComfy(script))


def test_a_server_that_is_not_there_is_named() -> None:
    with Comfy("http://127.0.0.1:9", patience=HASTY) as comfy:
        with pytest.raises(EngineUnavailable, match=r"127\.0\.0\.1:9 cannot be reached"):
            comfy.object_info()
        with pytest.raises(EngineUnavailable):
            list(comfy.run(PROMPT, prompt_id=ID, workflow={}))


def test_a_dead_engine_says_why_at_once() -> None:
    with (
        Comfy("http://127.0.0.1:9", alive=lambda: "it ended with exit code 3") as comfy,
        pytest.raises(EngineUnavailable, match="exit code 3"),
    ):
        list(comfy.run(PROMPT, prompt_id=ID, workflow={}))


ERROR = {
    "node_id": "7",
    "node_type": "X",
    "exception_type": "ValueError",
    "exception_message": "bad size\n",
    "traceback": ["line 1"],
}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (("execution_error", ERROR), ExecutionFailed),
        (("execution_error", {**ERROR, "exception_type": "torch.OutOfMemoryError"}), OutOfMemory),
        (("execution_error", {**ERROR, "exception_type": "MemoryError"}), OutOfMemory),
        (("execution_interrupted", {}), Interrupted),
    ],
)
def test_failures_are_told_apart(message: tuple[str, dict[str, Any]], expected: type) -> None:
    async def script(fake: FakeComfy, prompt_id: str) -> None:
        fake.end(prompt_id, error=message)
        await fake.send("executing", node=None, prompt_id=prompt_id)

    with pytest.raises(expected) as caught:
        follow(FakeComfy(script))
    assert caught.type is expected
    if expected is ExecutionFailed:
        assert str(caught.value) == "Sample: ValueError: bad size"


def rejected(problem: dict[str, Any]) -> dict[str, Any]:
    return {"node_errors": {"7": {"class_type": "X", "errors": [problem, problem]}}}


def test_node_errors_in_a_200_are_a_rejection() -> None:
    problem = {"type": "value_not_in_list", "message": "Value not in list", "details": "a: 'b'"}
    fake = FakeComfy(plain, answer=rejected(problem))
    with pytest.raises(PromptRejected) as caught:
        follow(fake)
    assert str(caught.value) == "X (node 7): Value not in list: a: 'b'"
    assert fake.canceled == [ID]


SIZE = "a plan - width: 992 is not a multiple of 64 (two stages); nearest 960 or 1024"


@pytest.mark.parametrize(
    ("class_type", "kind", "details", "error"),
    [
        ("CallsheetLtxPlan", "custom_validation_failed", SIZE, InvalidParameters),
        ("CallsheetLora", "custom_validation_failed", "a - lora_name: gone", PromptRejected),
        ("CallsheetLtxPlan", "value_bigger_than_max", SIZE, PromptRejected),
        ("Theirs", "custom_validation_failed", SIZE, PromptRejected),
    ],
)
def test_what_our_nodes_say_of_parameters_is_the_callers_to_mend(
    class_type: str, kind: str, details: str, error: type[RunnerError]
) -> None:
    problem = {"type": kind, "message": "Custom validation failed for node", "details": details}
    answer = {"node_errors": {"7": {"class_type": class_type, "errors": [problem, problem]}}}
    width = parameter("Integer", 1, 992, "width", "", False, 64, 2048, 32)
    with pytest.raises(RunnerError) as caught:
        follow(
            FakeComfy(plain, answer=answer, status=400),
            workflow=document(width),
            prompt={"7": {"class_type": class_type, "inputs": {}}},
        )
    assert type(caught.value) is error
    if error is InvalidParameters:
        assert caught.value.details["problems"] == [
            {"parameter": "width", "message": SIZE.partition("width: ")[2]}
        ]


def test_a_nodes_own_words_come_through_alone_and_once() -> None:
    problem = {
        "type": "custom_validation_failed",
        "message": "Custom validation failed for node",
        "details": "value - width: 1000 is not a multiple of 16",
    }
    other = {**problem, "details": "min - width: 1000 is not a multiple of 16"}
    answer = {"node_errors": {"7": {"class_type": "X", "errors": [problem, other]}}}
    with pytest.raises(PromptRejected) as caught:
        follow(FakeComfy(plain, answer=answer, status=400))
    assert str(caught.value) == "X (node 7): width: 1000 is not a multiple of 16"


def test_answers_that_are_late_have_one_time_together() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        patience = dataclasses.replace(HASTY, answer=1.0, insist=1.3)
        with Comfy(f"http://127.0.0.1:{mute.getsockname()[1]}", patience=patience) as comfy:
            began = time.monotonic()
            with pytest.raises(EngineUnavailable, match="no answer in time"):
                comfy.object_info()
            assert 1.2 < time.monotonic() - began < 1.8


def test_waiting_for_an_answer_ends_when_the_caller_wants_it() -> None:
    def check() -> None:
        if time.monotonic() > began + 0.3:
            raise Canceled("enough")

    with socket.create_server(("127.0.0.1", 0)) as mute:
        patience = dataclasses.replace(HASTY, answer=60.0, insist=60.0)
        with Comfy(f"http://127.0.0.1:{mute.getsockname()[1]}", patience=patience) as comfy:
            began = time.monotonic()
            with pytest.raises(Canceled), waiting.watched(check):
                comfy.object_info()
            assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("alone", [True, False])
def test_what_jobs_leave_in_a_server_of_our_own_is_dropped(
    alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REMEMBERED", 3)
    fake = FakeComfy(plain)
    with fake as url, Comfy(url, patience=HASTY, alone=alone) as comfy:
        for number in range(7):
            list(comfy.run(PROMPT, prompt_id=f"{ID}-{number}", workflow={}))
            comfy.outcome(f"{ID}-{number}")
            assert comfy.knows(f"{ID}-{number}") is (f"{ID}-{number}" in fake.history)
            assert len(fake.history) == ((number + 1) % 3 if alone else number + 1)
