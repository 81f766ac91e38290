"""Finding: where ComfyUI looks, under every name that a workflow allows; volumes and YAML."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import models, settings, volumes, workflow
from runner.entrypoints import setup
from runner.errors import RequestError
from runner.modelfiles import finding

from hub_site import tensors
from model_machine import Machine

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = ROOT / "vendor" / "comfyui"
NAMED = {
    "name": "a.safetensors",
    "directory": "vae",
    "url": "https://huggingface.co/o/r/resolve/main/a",
}


def put(file: Path, content: bytes = b"") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content or tensors(100))
    return file


def test_the_folders_are_comfyuis_own() -> None:
    source = (COMFYUI / "folder_paths.py").read_text()
    found = dict(re.findall(r'folder_names_and_paths\["(\w+)"\] = \(\[(.*?)\],', source))
    theirs = {
        name: tuple(re.findall(r'models_dir, "(\w+)"', paths))
        for name, paths in found.items()
        if name not in volumes.NEVER
    }
    assert dict(volumes.FOLDERS) == theirs
    legacy = re.search(r"legacy = (\{.*?\})", source, re.DOTALL)
    assert legacy
    assert ast.literal_eval(legacy[1]) == volumes.OLD_NAMES


def test_every_released_workflows_models_can_lie_where_they_belong() -> None:
    needed = finding.wanted(workflow.released([ROOT / "workflows"]))
    assert len(needed) > 20
    assert [m.shown for m in needed if finding.refusal(m, volumes.FOLDERS)] == []


@pytest.mark.parametrize("folder", ["diffusion_models", "unet"])
def test_either_folder_of_a_directory(machine: Machine, folder: str) -> None:
    file = put(machine.models / folder / "a.safetensors")
    (found,) = machine.found({**NAMED, "directory": "diffusion_models"})
    assert (found.state, found.path) == ("found", file)
    (found,) = machine.found({**NAMED, "directory": "unet"})  # as older files say
    assert found.path == file


def test_the_models_folder_comes_before_a_volume(machine: Machine, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    there = put(volume / "vae" / "a.safetensors")
    machine.places = volumes.places(machine.models, [volume])
    (found,) = machine.found(NAMED)
    assert found.place
    assert (found.path, found.place.label) == (there, "volume")
    here = put(machine.models / "vae" / "a.safetensors")
    assert machine.found(NAMED)[0].path == here


def lora(name: str, also: str, *more: str) -> dict[str, Any]:
    entries = [{"name": n, "directory": "loras"} for n in (name, *more)]
    return {
        "id": 1, "type": "CallsheetLora", "properties": {"models": entries},
        "inputs": [{"name": "model"}, {"name": "lora_name", "widget": {"name": "lora_name"}},
                   {"name": "strength", "widget": {"name": "strength"}}, {"name": "also", "widget": {"name": "also"}}],
        "widgets_values": [name, 1.0, also],
    }  # fmt: skip


def test_other_names_that_the_workflow_allows(machine: Machine) -> None:
    node = lora(
        "new.safetensors",
        "old.safetensors\nother.safetensors = theirs.safetensors",
        "other.safetensors",
    )
    document = {"nodes": [node]}
    file = machine.folder / "flow.json"
    file.write_text(json.dumps(document))
    theirs = put(machine.models / "loras" / "theirs.safetensors")
    needed = finding.wanted([workflow.load(file)])
    found = finding.find(needed, machine.places)
    assert [(f.state, f.path, f.alias) for f in found] == [
        ("missing", None, None), ("found", theirs, "theirs.safetensors")
    ]  # fmt: skip
    assert [m.choice for m in needed] == [False, True]
    old = put(machine.models / "loras" / "old.safetensors")
    assert finding.find(needed, machine.places)[0].path == old


def test_another_name_cannot_lead_out(machine: Machine, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside.safetensors")
    (machine.models / "loras").mkdir(parents=True)
    file = machine.folder / "flow.json"
    also = f"{outside}\n../../outside.safetensors"
    file.write_text(json.dumps({"nodes": [lora("new.safetensors", also)]}))
    (found,) = finding.find(finding.wanted([workflow.load(file)]), machine.places)
    assert found.state == "missing"


def test_released_loras_are_found_under_their_old_names(machine: Machine) -> None:
    old = put(machine.models / "loras" / "ltx-video-2b-v0.9.7-detailer-lora-768.safetensors")
    needed = finding.wanted([workflow.find("ltx2-lipsync", [ROOT / "workflows"])])
    found = {f.model.name: f for f in finding.find(needed, machine.places)}
    detailer = found["ltx-2-19b-ic-lora-detailer.safetensors"]
    assert (detailer.path, detailer.alias) == (old, old.name)
    chosen = [m.name for m in needed if m.directory == "loras" and not m.choice]
    assert "ltx-2-19b-lora-camera-control-dolly-in.safetensors" in chosen
    assert "ltx-2-19b-lora-camera-control-jib-up.safetensors" not in chosen


def test_a_file_of_the_name_elsewhere_is_pointed_at(machine: Machine) -> None:
    put(machine.models / "vae" / "wan" / "a.safetensors")
    (found,) = machine.found(NAMED)
    assert found.state == "missing"
    assert found.hint
    assert "which ComfyUI lists in vae as wan/a.safetensors" in found.hint


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"<html>log in", "web page"), (tensors(1000)[:500], "its header says 1,0"),
     (tensors(1000)[:5], "no safetensors"), (b"\xff" * 900, "no safetensors"),
     (b"\x10" + bytes(7) + b"{" * 16 + b"x", "no safetensors"),
     (b"\x00\x10" + bytes(6) + b"{", "cut off"),
     (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git's pointer")],
)  # fmt: skip
def test_a_file_that_cannot_be_a_model_is_broken(machine: Machine, body: bytes, says: str) -> None:
    put(machine.models / "vae" / "a.safetensors", body)
    (found,) = machine.found(NAMED)
    assert found.state == "broken"
    assert found.problem
    assert says in found.problem


def test_an_empty_file_is_broken(machine: Machine) -> None:
    put(machine.models / "vae" / "a.safetensors").write_bytes(b"")
    assert machine.found(NAMED)[0].problem == "the file is empty"


def test_the_same_file_of_two_workflows_is_one(machine: Machine) -> None:
    one, other = (machine.folder / f"{n}.json" for n in "ab")
    for file, more in ((one, {}), (other, {"hash": "A" * 64, "hash_type": "SHA256"})):
        node = {"type": "VAELoader", "properties": {"models": [{**NAMED, **more}]}}
        file.write_text(json.dumps({"nodes": [node], "extra": {"info": {"name": file.stem}}}))
    (model,) = finding.wanted([workflow.load(one), workflow.load(other)])
    assert model.sha256 == "a" * 64
    assert [w.partition("@")[0] for w in model.workflows] == ["a", "b"]


def test_models_of_subgraphs_and_of_values_by_name_are_read() -> None:
    node = {
        "widgets_values": {"lora_name": "a", "also": "b"},
        "properties": {"models": [{"name": "a", "directory": "loras"}]},
    }
    document: dict[str, Any] = {"nodes": [], "definitions": {"subgraphs": [{"nodes": [node]}]}}
    (model,) = models.needed(document)
    assert models.other_files(document) == {model: ("b",)}
    assert models.choices(document) == frozenset()


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["runpod-volume/models/vae/"], ["runpod-volume/models"]),
        (["runpod-volume/ComfyUI/models/loras/"], ["runpod-volume/ComfyUI/models"]),
        (["runpod-volume/checkpoints/"], ["runpod-volume"]),
        (["runpod-volume/x.safetensors"], ["runpod-volume"]),
        (["runpod-volume/"], ["runpod-volume/models"]),
        (["runpod-volume/models/", "runpod-volume/loras/"], ["runpod-volume/models", "runpod-volume"]),
        (["workspace/models/vae/"], []),
        ([], []),
    ],
)  # fmt: skip
def test_volumes_by_their_layout(tmp_path: Path, there: list[str], found: list[str]) -> None:
    for name in there:
        path = tmp_path / name
        path.mkdir(parents=True) if name.endswith("/") else put(path)
    assert volumes.detected({}, tmp_path) == tuple(tmp_path / f for f in found)


def test_a_pods_workspace_is_a_volume_on_a_pod(tmp_path: Path) -> None:
    (tmp_path / "workspace" / "ComfyUI" / "models" / "vae").mkdir(parents=True)
    found = volumes.detected({"RUNPOD_POD_ID": "x"}, tmp_path)
    assert found == (tmp_path / "workspace" / "ComfyUI" / "models",)


def test_model_path_comes_first_even_before_it_exists(tmp_path: Path) -> None:
    (tmp_path / "runpod-volume" / "models").mkdir(parents=True)
    found = volumes.detected({"MODEL_PATH": str(tmp_path / "mine")}, tmp_path)
    assert found == (tmp_path / "mine", tmp_path / "runpod-volume" / "models")
    named = volumes.detected({"MODEL_PATH": str(tmp_path / "runpod-volume")}, tmp_path)
    assert named == (tmp_path / "runpod-volume" / "models",)


def test_settings_pull_into_the_volume_unless_a_folder_is_named(tmp_path: Path) -> None:
    there = {"MODEL_PATH": str(tmp_path), "CALLSHEET_HOME": str(tmp_path / "home")}
    assert settings.from_environment(there).pull_into == tmp_path
    own = {**there, "CALLSHEET_MODELS": str(tmp_path / "own")}
    assert settings.from_environment(own).pull_into is None
    assert settings.from_environment(own).models == tmp_path / "own"


LISTED = """
import sys, json
sys.argv = ["main.py", "--models-directory", sys.argv[2], "--cpu"]
import comfy.options; comfy.options.enable_args_parsing()
import folder_paths
from utils.extra_config import load_extra_path_config
load_extra_path_config(sys.stdin.read())
names = ["vae", "loras", "text_encoders", "diffusion_models", "sams"]
print(json.dumps({n: sorted(folder_paths.get_filename_list(n)) for n in names
                  if n in folder_paths.folder_names_and_paths}))
"""


def comfyui_lists(yaml: Path, own: Path) -> dict[str, list[str]]:
    said = subprocess.run(
        [sys.executable, "-c", LISTED, "x", str(own)],
        input=str(yaml), capture_output=True, text=True, check=True, cwd=COMFYUI,
    )  # fmt: skip
    return json.loads(said.stdout.splitlines()[-1])


def test_comfyui_reads_what_is_written(tmp_path: Path) -> None:
    volume, flat, own = tmp_path / "volume", tmp_path / "flat", tmp_path / "own"
    put(volume / "clip" / "gemma.safetensors")
    put(volume / "diffusion_models" / "wan.safetensors")
    put(volume / "sams" / "sam.pth", b"x")
    put(flat / "any.safetensors")
    put(tmp_path / "lists" / "more" / "vae.safetensors")
    put(tmp_path / "bare" / "lora.safetensors")
    theirs = tmp_path / "lists" / "extra.yaml"
    theirs.write_text("a:\n  base_path: more\n  vae: .\nb:\n  loras: ../bare\nempty:\n")
    own.mkdir()
    written = volumes.config(tmp_path / "home" / "extra.yaml", [volume, flat], theirs)
    assert written
    assert comfyui_lists(written, own) == {
        "vae": ["any.safetensors", "vae.safetensors"],
        "loras": ["any.safetensors", "lora.safetensors"],
        "text_encoders": ["any.safetensors", "gemma.safetensors"],
        "diffusion_models": ["any.safetensors", "wan.safetensors"],
        "sams": ["sam.pth"],
    }
    # and we find the same files
    places = volumes.places(own, [volume, flat], theirs)
    for directory, name in (("vae", "vae"), ("loras", "lora"), ("text_encoders", "gemma")):
        one = finding.Wanted(f"{name}.safetensors", directory, None, None, (), False, ("w",))
        assert finding.find([one], places)[0].state == "found"


def test_the_engine_is_given_volumes_and_a_rehearsal_is_not(tmp_path: Path) -> None:
    environment = {"MODEL_PATH": str(tmp_path), "CALLSHEET_HOME": str(tmp_path / "home")}
    found = settings.from_environment(environment)
    written = setup.engine_options(found, rehearse=False).extra_model_paths
    assert written == tmp_path / "home" / "extra_model_paths.yaml"
    assert str(tmp_path) in written.read_text()
    assert setup.engine_options(found, rehearse=True).extra_model_paths is None


@pytest.mark.parametrize("text", ["- a", "a: [", "a: b", "a:\n  vae: 3", "\xff"])
def test_a_yaml_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "extra.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(RequestError, match=r"extra\.yaml"):
        volumes.places(tmp_path, (), file)


def test_a_yaml_cannot_name_custom_nodes_as_models(tmp_path: Path) -> None:
    file = tmp_path / "extra.yaml"
    file.write_text("a:\n  custom_nodes: nodes\n  vae: vae\n")
    assert "custom_nodes" not in volumes.directories(volumes.places(tmp_path, (), file))


def test_names_with_subfolders_are_found(machine: Machine, model: Callable[..., Any]) -> None:
    file = put(machine.models / "vae" / "wan" / "b.safetensors")
    assert machine.found({**NAMED, "name": "wan/b.safetensors"})[0].path == file
    assert machine.found({**NAMED, "name": "wan/b.safetensors"})[0].alias is None
