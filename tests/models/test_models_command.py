"""`callsheet models …` as people and programs call it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from command_line import CommandLine
from hub_site import TOKEN, Fault, Hub, sha256, tensors
from model_machine import Machine

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def models(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    environment = {
        "CALLSHEET_HOME": str(machine.folder / "home"),
        "CALLSHEET_CACHE": str(machine.folder / "cache"),
        "CALLSHEET_ALLOW_HOSTS": "127.0.0.1 localhost",
        "CALLSHEET_MIN_FREE_GB": "0",
        "HF_ENDPOINT": machine.hub.url,
        "HF_TOKEN": "",
        "MODEL_PATH": str(machine.models),
    }
    return CommandLine(capsys, monkeypatch, environment, machine.folder)


def test_check_pull_check_verify(
    machine: Machine, model: Make, models: CommandLine, hub: Hub
) -> None:
    machine.workflow(model(), model("b.safetensors", "loras", 900_000))
    said = models("models", "check", "flow.json")
    assert said.returncode == 1
    assert "missing  vae/a.safetensors  3.0 MB" in said.stdout
    assert f"{hub.url}/org/repo" in said.stdout
    assert "2 missing" in said.stdout
    assert "to fetch: 3.9 MB" in said.stdout

    planned = json.loads(models("models", "pull", "flow.json", "--dry-run", "--json").stdout)
    assert planned["bytes_left"] == sum(map(len, hub.files.values()))
    assert [m["state"] for m in planned["models"]] == ["to pull"] * 2
    assert not machine.models.exists()

    pulled = models("models", "pull", "flow.json", "--json")
    assert pulled.returncode == 0, pulled.stderr
    assert [m["verified_by"] for m in json.loads(pulled.stdout)["models"]] == ["hub", "hub"]
    assert "in all)" in pulled.stderr

    checked = json.loads(models("models", "check", "flow.json", "--json").stdout)
    assert checked["ok"]
    assert {m["place"] for m in checked["models"]} == {"volume"}
    verified = models("models", "verify", "flow.json")
    assert verified.returncode == 0
    assert "as the hub says" in verified.stdout


def test_what_is_wrong_is_said_and_mended(
    machine: Machine, model: Make, models: CommandLine, hub: Hub
) -> None:
    machine.workflow(model())
    file = machine.models / "vae" / "a.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(tensors(3_000_000, "other"))
    said = models("models", "verify", "flow.json", "--json")
    (one,) = json.loads(said.stdout)["models"]
    assert (said.returncode, one["state"]) == (1, "wrong")
    assert models("models", "pull", "flow.json").returncode == 0  # it is there
    assert models("models", "verify", "flow.json").returncode == 1
    assert models("models", "pull", "flow.json", "--replace").returncode == 0
    assert sha256(file.read_bytes()) == sha256(hub.files["org/repo/files/a.safetensors"])


def test_gated_says_how_and_the_token_is_never_shown(
    machine: Machine, model: Make, models: CommandLine, hub: Hub
) -> None:
    hub.gated.add("org/repo")
    machine.workflow(model())
    said = models("models", "pull", "flow.json")
    assert (said.returncode, "is gated" in said.stdout) == (1, True)
    hub.faults.append(Fault("status", 404, "GET"))
    failed = models("models", "pull", "flow.json", HF_TOKEN=TOKEN)
    good = models("models", "pull", "flow.json", HF_TOKEN=TOKEN)
    assert (failed.returncode, good.returncode) == (1, 0)
    assert "no such file" in failed.stdout
    assert TOKEN not in failed.stdout + failed.stderr + good.stdout + good.stderr
    assert "h1dden" not in failed.stdout + failed.stderr


def test_no_room(machine: Machine, model: Make, models: CommandLine) -> None:
    machine.workflow(model())
    said = models("models", "pull", "flow.json", "--json", CALLSHEET_MIN_FREE_GB="1000000")
    assert said.returncode == 1
    assert json.loads(said.stdout)["error"]["code"] == "disk_full"


def test_offline_asks_nobody(machine: Machine, model: Make, models: CommandLine, hub: Hub) -> None:
    machine.workflow(model())
    (one,) = json.loads(models("models", "check", "flow.json", "--offline", "--json").stdout)[
        "models"
    ]
    assert (one["state"], one["bytes"]) == ("missing", None)
    assert hub.asked == []


def test_into_another_folder(machine: Machine, model: Make, models: CommandLine) -> None:
    machine.workflow(model())
    assert models("models", "pull", "flow.json", "--into", "mine").returncode == 0
    assert (machine.folder / "mine" / "vae" / "a.safetensors").is_file()
    assert models("models", "check", "flow.json", MODEL_PATH="mine").returncode == 0


def test_a_released_workflow_with_a_mistake_in_its_name(models: CommandLine) -> None:
    assert models("models", "check", "wan-t3v").returncode == 2


def test_help_shows_every_command(models: CommandLine) -> None:
    said = models("models", "--help")
    assert said.returncode == 0, said.stderr
    for word in ("check", "pull", "verify"):
        assert word in said.stdout
        assert "Options" in models("models", word, "--help").stdout


@pytest.mark.parametrize("words", [["check"], ["pull", "--dry-run"]])
def test_a_hub_that_is_not_there_is_asked_once_and_told_once(
    machine: Machine,
    model: Make,
    models: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    machine.workflow(*(model(f"{n}.safetensors", "vae", 1000) for n in "abc"))
    asked: list[str] = []

    def silent(url: str, **_: Any) -> None:
        asked.append(url)
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", silent)
    monkeypatch.setattr("time.sleep", lambda _: None)
    said = models("models", *words, "flow.json")
    assert said.returncode == 1
    assert len(set(asked)) == 1, "of three files, the first one's question is enough"
    assert said.stdout.count("cannot be reached") == 1 and "for 3 of them" in said.stdout
