"""Pulling: from a hub that fails in every way, into folders that are never left with half a file."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import Canceled
from runner.inputs.disk import DiskFull
from runner.modelfiles import pulling
from runner.modelfiles.pulling import part_of

from hub_site import TOKEN, Fault, Hub, sha256, tensors
from model_machine import Machine

Make = Callable[..., dict[str, Any]]


def only(pulled: tuple[Any, ...]) -> Any:
    (one,) = pulled
    return one


def content(hub: Hub) -> bytes:
    return hub.files["org/repo/files/a.safetensors"]


def test_a_missing_file_comes_whole_and_verified(machine: Machine, model: Make, hub: Hub) -> None:
    pulled = only(machine.pull(model()))
    assert (pulled.state, pulled.verified_by) == ("pulled", "hub")
    assert pulled.sha256 == sha256(content(hub))
    assert pulled.path == machine.models / "vae" / "a.safetensors"
    assert pulled.path.read_bytes() == content(hub)
    assert machine.left() == ["vae/a.safetensors"]  # no part, note or lock
    asked = len(hub.asked)
    assert only(machine.pull(model())).state == "present"
    assert len(hub.asked) == asked


def test_many_come_side_by_side(machine: Machine, model: Make, hub: Hub) -> None:
    models = [model(f"{i}.safetensors", size=300_000) for i in range(6)]
    hub.faults.append(Fault("slow", 0.15, times=6))  # 0.75 s each
    start = time.monotonic()
    pulled = machine.pull(*models, parallel=6)
    assert [p.state for p in pulled] == ["pulled"] * 6
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_host_that_fails_twice_is_asked_again(
    machine: Machine, model: Make, hub: Hub, status: int, method: str
) -> None:
    hub.faults.append(Fault("status", status, method, times=2))
    assert only(machine.pull(model())).state == "pulled"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_host_that_keeps_failing_is_named(
    machine: Machine, model: Make, hub: Hub, method: str
) -> None:
    hub.faults.append(Fault("status", 500, method, times=99))
    pulled = only(machine.pull(model()))
    assert pulled.state == "failed"
    assert "fails (500)" in pulled.reason
    assert "vae/a.safetensors" not in machine.left()


def test_cut_in_the_middle_goes_on_there(machine: Machine, model: Make, hub: Hub) -> None:
    hub.faults += [Fault("cut", 983_040), Fault("cut", 983_040)]
    assert only(machine.pull(model())).state == "pulled"
    ranges = [asked.headers.get("Range") for asked in hub.gets()]
    assert ranges == [None, "bytes=983040-", "bytes=1966080-"]
    assert (machine.models / "vae" / "a.safetensors").read_bytes() == content(hub)


def test_bytes_that_come_keep_it_trying(machine: Machine, model: Make, hub: Hub) -> None:
    hub.faults.append(Fault("cut", 400_000, times=7))  # more often than `tries`
    assert only(machine.pull(model())).state == "pulled"


@pytest.mark.parametrize("kind", ["no-range", "wrong-range"])
def test_a_host_that_cannot_go_on_starts_anew(
    machine: Machine, model: Make, hub: Hub, kind: str
) -> None:
    hub.faults += [Fault("cut", 1_000_000), Fault(kind)]
    assert only(machine.pull(model())).state == "pulled"
    assert (machine.models / "vae" / "a.safetensors").read_bytes() == content(hub)


@pytest.mark.parametrize("kind", ["long", "short"])
def test_a_wrong_length_is_refused(machine: Machine, model: Make, hub: Hub, kind: str) -> None:
    hub.faults.append(Fault(kind, times=9))
    pulled = only(machine.pull(model()))
    assert pulled.state == "failed"
    assert f"the file has {len(content(hub)):,}" in pulled.reason
    assert "vae/a.safetensors" not in machine.left()


def test_wrong_bytes_are_not_kept(machine: Machine, model: Make, hub: Hub) -> None:
    hub.faults.append(Fault("swapped", times=9))
    pulled = only(machine.pull(model()))
    assert pulled.state == "failed"
    assert "sha256" in pulled.reason
    assert "vae/a.safetensors" not in machine.left()
    assert not part_of(machine.models / "vae" / "a.safetensors").path.exists()


def test_a_beginning_of_other_bytes_is_thrown_away(machine: Machine, model: Make, hub: Hub) -> None:
    named = model()
    planned = only(machine.plan(named))
    part = part_of(planned.target)
    part.path.parent.mkdir(parents=True)
    part.path.write_bytes(b"x" * 1_000_000)
    part.begin(planned.source.version, None)
    assert only(machine.pull(named)).state == "pulled"
    assert (machine.models / "vae" / "a.safetensors").read_bytes() == content(hub)


def test_the_workflow_and_the_hub_must_agree(machine: Machine, model: Make, hub: Hub) -> None:
    wrong = model(hash="0" * 64, hash_type="SHA256")
    pulled = only(machine.pull(wrong))
    assert pulled.state == "failed"
    assert "another file lies there" in pulled.reason
    right = model(hash=sha256(content(hub)).upper(), hash_type="SHA256")
    assert only(machine.pull(right)).verified_by == "workflow"


def test_gated_without_a_token_says_what_to_do(machine: Machine, model: Make, hub: Hub) -> None:
    hub.gated.add("org/repo")
    reason = only(machine.pull(model())).reason
    assert f"accept its terms at {hub.url}/org/repo" in reason
    assert "HF_TOKEN" in reason


def test_gated_with_a_token_of_another(member: Machine, model: Make, hub: Hub) -> None:
    hub.gated.add("org/repo")
    member.token = "hf_of_another"
    reason = only(member.pull(model())).reason
    assert "accept its terms" in reason
    assert "hf_of_another" not in reason


def test_the_token_goes_to_the_hub_only(member: Machine, model: Make, hub: Hub) -> None:
    hub.gated.add("org/repo")
    assert only(member.pull(model())).state == "pulled"
    sent = {asked.host: asked.headers.get("Authorization") for asked in hub.asked}
    assert sent == {"127.0.0.1": f"Bearer {TOKEN}", "localhost": None}
    assert TOKEN not in repr(member.access) + repr(member.plan(model()))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://huggingface.co/org/nothing/resolve/main/x.safetensors", "no repository org/nothing"),
        ("https://huggingface.co/org/repo/resolve/main/x.safetensors", "no file x.safetensors"),
        ("https://huggingface.co/org/repo/resolve/v9/x.safetensors", "no revision v9"),
        ("https://huggingface.co/org/re..po/resolve/main/x.safetensors", "no name of a repository"),
        ("http://models.example/x.safetensors", "https is needed"),
        ("file:///etc/passwd", "no http or https URL"),
        ("https://u:p@models.example/x.safetensors", "user name or password"),
        (None, "names no address"),
        ("https://models.example/x.safetensors?token=hush", "nobody says its sha256"),
    ],
)  # fmt: skip
def test_addresses_that_lead_nowhere(
    machine: Machine, model: Make, hub: Hub, url: str | None, says: str
) -> None:
    model()
    pulled = only(machine.pull({"name": "x.safetensors", "directory": "vae", "url": url}))
    assert pulled.state == "failed"
    assert says in pulled.reason
    assert "hush" not in pulled.reason
    assert "u:p@" not in pulled.reason


def test_a_page_of_the_hub_means_the_file(machine: Machine, model: Make) -> None:
    named = model()
    named["url"] = f"{named['url'].replace('/resolve/', '/blob/')}?download=true"
    assert only(machine.pull(named)).state == "pulled"


def test_another_host_with_a_sha256(machine: Machine, hub: Hub) -> None:
    hub.files["x.safetensors"] = tensors(2_000_000)
    named = {
        "name": "x.safetensors", "directory": "loras", "url": f"{hub.url}/raw/x.safetensors",
        "hash": sha256(hub.files["x.safetensors"]), "hash_type": "SHA256",
    }  # fmt: skip
    hub.faults.append(Fault("cut", 655_360))
    assert only(machine.pull(named)).verified_by == "workflow"
    assert [a.headers.get("Range") for a in hub.gets("/raw/")] == [None, "bytes=655360-"]


def test_another_host_whose_file_changes_between_two_attempts(machine: Machine, hub: Hub) -> None:
    hub.files["x.safetensors"] = tensors(2_000_000, "old")
    named = {"name": "x.safetensors", "directory": "vae", "url": f"{hub.url}/raw/x.safetensors"}
    hub.faults += [Fault("cut", 700_000), Fault("status", 403)]
    assert only(machine.pull(named, unverified=True)).state == "failed"
    hub.files["x.safetensors"] = tensors(2_000_000, "new")
    pulled = only(machine.pull(named, unverified=True))
    assert (pulled.state, pulled.verified_by) == ("pulled", None)
    assert hub.gets("/raw/")[-1].headers["If-Range"]  # the old one's: so all of it came
    assert pulled.path.read_bytes() == hub.files["x.safetensors"]


def test_a_web_page_is_no_model(machine: Machine, model: Make, hub: Hub) -> None:
    hub.faults.append(Fault("html"))
    pulled = only(machine.pull(model()))
    assert pulled.state == "failed"
    assert "a web page instead of a file" in pulled.reason


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"<!DOCTYPE html><p>log in", "web page"), (tensors(1000)[:-10], "its header says"),
     (b"version https://git-lfs.github.com/spec/v1\n", "Git's pointer")],
)  # fmt: skip
def test_an_unverified_file_must_look_like_one(
    machine: Machine, hub: Hub, body: bytes, says: str
) -> None:
    hub.files["x.safetensors"] = body
    named = {"name": "x.safetensors", "directory": "vae", "url": f"{hub.url}/raw/x.safetensors"}
    pulled = only(machine.pull(named, unverified=True))
    assert says in pulled.reason
    assert "vae/x.safetensors" not in machine.left()


def test_a_file_in_git_itself_has_no_sha256(machine: Machine, model: Make, hub: Hub) -> None:
    named = model()
    hub.plain.add("org/repo/files/a.safetensors")
    pulled = only(machine.pull(named))
    assert (pulled.state, pulled.verified_by) == ("pulled", None)


@pytest.mark.parametrize(
    "name", ["../../etc/x.safetensors", "/etc/x.safetensors", "a\\..\\x.safetensors", "a//x", ".", "",
             "x\n.safetensors", "x" * 300]
)  # fmt: skip
def test_names_that_lead_out_are_refused(machine: Machine, model: Make, name: str) -> None:
    pulled = only(machine.pull({**model(), "name": name}))
    assert pulled.state == "failed"
    assert not machine.models.exists()


@pytest.mark.parametrize(
    "directory", ["custom_nodes", "/etc", "..", "vae/../..", "nodes", "", "datasets"]
)
def test_directories_that_are_none_of_comfyuis_are_refused(
    machine: Machine, model: Make, directory: str
) -> None:
    machine.models.mkdir()
    (machine.models / "custom_nodes").mkdir()
    machine.look_again()
    pulled = only(machine.pull({**model(), "directory": directory}))
    assert "no folder of ComfyUI's models; there are" in pulled.reason
    assert machine.left() == []


def test_what_a_pack_has_added_is_a_directory_too(machine: Machine, model: Make) -> None:
    (machine.models / "sams").mkdir(parents=True)
    machine.look_again()
    assert only(machine.pull(model(directory="sams"))).state == "pulled"


def test_no_room_is_known_before_the_first_byte(machine: Machine, model: Make, hub: Hub) -> None:
    planned = machine.plan(model(), model("b.safetensors", size=2_000_000))
    pulling.require_room(planned, 0)
    with pytest.raises(DiskFull, match=r"the models need 0\.01 GB") as caught:
        pulling.require_room(planned, 10**15)
    assert caught.value.details["least"] == 10**15 + sum(map(len, hub.files.values()))
    assert hub.gets() == []


def test_one_that_fails_does_not_stop_the_others(machine: Machine, model: Make) -> None:
    bad = {**model("bad.safetensors"), "url": "https://huggingface.co/org/none/resolve/main/b"}
    states = [p.state for p in machine.pull(bad, model(), model("c.safetensors"))]
    assert states == ["failed", "pulled", "pulled"]


def test_canceled_in_the_middle_goes_on_later(machine: Machine, model: Make, hub: Hub) -> None:
    hub.faults.append(Fault("slow", 0.05))
    stop = threading.Event()

    def see(*said: Any) -> None:
        if said[2] > 500_000:
            stop.set()

    with pytest.raises(Canceled):
        machine.pull(model(), see=see, canceled=stop)
    assert only(machine.pull(model())).state == "pulled"
    assert hub.gets()[-1].headers["Range"]


PULL = """
import sys
from pathlib import Path
from model_machine import Machine
from hub_site import Hub
hub = Hub(port=int(sys.argv[1]))
machine = Machine(Path(sys.argv[2]), hub)
model = {"name": "a.safetensors", "directory": "vae", "url": sys.argv[3]}
(pulled,) = machine.pull(model)
print(pulled.state, pulled.sha256, flush=True)
"""


def another_process(machine: Machine, named: dict[str, Any]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PULL, str(machine.hub.port), str(machine.folder), named["url"]],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(true: Callable[[], bool], within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def test_killed_in_the_middle_goes_on_where_it_ended(
    machine: Machine, model: Make, hub: Hub
) -> None:
    named = model()
    hub.faults.append(Fault("slow", 0.1))
    part = part_of(machine.models / "vae" / "a.safetensors")
    process = another_process(machine, named)
    wait_for(lambda: part.path.exists() and part.path.stat().st_size > 900_000)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = part.path.stat().st_size
    assert only(machine.pull(named)).state == "pulled"
    assert hub.gets()[-1].headers["Range"] == f"bytes={there}-"
    assert machine.left() == ["vae/a.safetensors"]


def test_two_at_once_fetch_it_once(machine: Machine, model: Make, hub: Hub) -> None:
    named = model()
    hub.faults.append(Fault("slow", 0.05, times=9))
    processes = [another_process(machine, named) for _ in range(2)]
    said = sorted((process.communicate()[0] or "").split()[0] for process in processes)
    assert said == ["present", "pulled"]
    assert len(hub.gets()) == 1
    assert machine.left() == ["vae/a.safetensors"]


def test_a_broken_file_is_replaced_where_it_lies(machine: Machine, model: Make, hub: Hub) -> None:
    named = model()
    file = machine.models / "vae" / "a.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(content(hub)[:1_000_000])
    assert only(machine.pull(named)).state == "pulled"
    assert file.read_bytes() == content(hub)


def test_another_file_of_the_name_is_left_alone(machine: Machine, model: Make, hub: Hub) -> None:
    named = model()
    file = machine.models / "vae" / "a.safetensors"
    file.parent.mkdir(parents=True)
    own = tensors(1000, "my own")
    file.write_bytes(own)
    assert only(machine.pull(named)).state == "present"
    assert file.read_bytes() == own
    wrong = [found.model for found in machine.found(named)]
    assert only(machine.pull(named, wrong=wrong)).state == "pulled"
    assert file.read_bytes() == content(hub)


def test_progress_only_grows_and_ends_at_all(machine: Machine, model: Make, hub: Hub) -> None:
    seen: list[tuple[int, int | None]] = []
    hub.faults.append(Fault("cut", 1_500_000))
    machine.pull(model(), see=lambda *said: seen.append(said[2:]))
    there = [at for at, _ in seen]
    assert there == sorted(there)
    assert seen[-1] == (len(content(hub)), len(content(hub)))


def test_the_hubs_client_asks_for_nothing_else() -> None:
    code = (
        "from runner.modelfiles.sources import client; client(); "
        "from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "True"
