"""Verifying: every byte once, and not again while the file stays the same."""

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from runner.errors import Canceled
from runner.modelfiles import hashing
from runner.modelfiles.hashing import Verdict

from hub_site import Fault, Hub, sha256, tensors
from model_machine import Machine

Make = Callable[..., dict[str, Any]]


def verdict(
    machine: Machine, named: dict[str, Any], *, offline: bool = False, **more: Any
) -> Verdict:
    (one,) = hashing.verify(
        machine.found(named),
        access=None if offline else machine.access,
        hashes=machine.hashes,
        **more,
    )
    return one


def test_right_by_the_hub_then_by_the_workflow(machine: Machine, model: Make, hub: Hub) -> None:
    named = model()
    machine.pull(named)
    digest = sha256(hub.files["org/repo/files/a.safetensors"])
    found = verdict(machine, named)
    assert (found.state, found.known_by, found.sha256) == ("right", "hub", digest)
    asked = len(hub.asked)
    said = {**named, "hash": digest, "hash_type": "SHA256"}
    assert verdict(machine, said).known_by == "workflow"
    assert len(hub.asked) == asked


def test_a_byte_that_has_turned_is_seen(machine: Machine, model: Make) -> None:
    named = model()
    machine.pull(named)
    file = machine.models / "vae" / "a.safetensors"
    body = bytearray(file.read_bytes())
    body[-1] ^= 1
    file.write_bytes(body)
    found = verdict(machine, named)
    assert found.state == "wrong"
    assert "is expected" in (found.reason or "")


def test_another_length_needs_no_reading(machine: Machine, model: Make) -> None:
    named = model()
    file = machine.models / "vae" / "a.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(tensors(1000, "my own"))
    seen: list[int] = []
    found = verdict(machine, named, see=lambda *said: seen.append(1))
    assert (found.state, found.sha256, seen) == ("wrong", None, [])


def test_it_is_read_once_until_it_changes(machine: Machine, model: Make) -> None:
    named = model()
    file = machine.models / "vae" / "a.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(tensors(20_000_000, "x"))
    reads: list[int] = []

    def see(_: Any, there: int, size: int) -> None:
        reads.append(there)

    first = verdict(machine, named, offline=True, see=see)
    assert (first.state, len(reads)) == ("unknown", 3)
    reads.clear()
    assert verdict(machine, named, offline=True, see=see).sha256 == first.sha256
    assert len(reads) == 1
    os.utime(file, (1, 1))
    reads.clear()
    verdict(machine, named, offline=True, see=see)
    assert len(reads) == 3


def test_a_cache_that_cannot_be_written_costs_nothing_else(machine: Machine, model: Make) -> None:
    named = model()
    machine.pull(named)
    for note in machine.hashes.folder.iterdir():
        note.write_text("{")
    assert verdict(machine, named).state == "right"
    hashes = hashing.Hashes(machine.models / "vae" / "a.safetensors")  # a file, no folder
    (found,) = hashing.verify(machine.found(named), access=machine.access, hashes=hashes)
    assert found.state == "right"


def test_without_the_hub_nothing_can_be_compared(machine: Machine, model: Make, hub: Hub) -> None:
    named = model()
    machine.pull(named)
    hub.faults.append(Fault("status", 500, "HEAD", times=99))
    found = verdict(machine, named)
    assert found.state == "unknown"
    assert "fails (500)" in (found.reason or "")


def test_missing_refused_and_broken_are_told_apart(machine: Machine, model: Make) -> None:
    assert verdict(machine, model()).state == "missing"
    assert verdict(machine, {**model(), "name": "../x"}).state == "refused"
    machine.pull(model())
    file = machine.models / "vae" / "a.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert verdict(machine, model()).state == "broken"


def test_canceled(machine: Machine, model: Make) -> None:
    machine.pull(model())
    (machine.models / "vae" / "a.safetensors").touch()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Canceled):
        verdict(machine, model(), canceled=stop)
