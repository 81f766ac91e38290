"""wan-t2v on the real ComfyUI: what is asked is what comes, and every knob is in the loop."""

import copy
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import av
import pytest

from runner import parameters
from runner.comfy.engine import Engine
from runner.errors import WorkflowError
from runner.job import Job
from runner.request import check
from runner.run import run
from runner.storage.local import LocalStorage
from runner.workflow import Workflow

from rendering import SMALL, Render, difference


@pytest.mark.parametrize(
    ("params", "width", "height", "frames", "fps"),
    [
        ({}, 128, 96, 17, 16),
        ({"num_frames": 5, "width": 96, "height": 160, "fps": 24}, 96, 160, 5, 24),
        ({"num_frames": None, "duration": 1.0}, 128, 96, 16, 16),  # 17 made, 16 kept
        ({"num_frames": None, "duration": 0.8, "fps": 30}, 128, 96, 24, 30),
    ],
)
def test_the_video_is_as_asked(
    render: Render, params: dict[str, Any], width: int, height: int, frames: int, fps: int
) -> None:
    probe = render(**params).artifacts[0].probe
    assert (probe.width, probe.height, probe.frames, probe.fps) == (width, height, frames, fps)
    assert probe.duration == pytest.approx(frames / fps)


def test_the_same_request_renders_the_same_frames(render: Render) -> None:
    assert difference(render(), render()) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a green forest at night"},
        {"negative_prompt": "yellow"},
        {"seed": 2},
        {"quality_preset": "fast"},
        {"steps": 6},
        {"guidance_scale": 6, "guidance_scale_2": 3.5},
        {"guidance_scale_2": 8},
        {"flow_shift": 9},
        {"boundary": 0.6},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_parameter_changes_the_picture(render: Render, change: dict[str, Any]) -> None:
    base = render()
    assert difference(base, render(**change)) > 0.5


def test_the_result_tells_all(render: Render, wan: Workflow) -> None:
    result = render(seed=77)
    artifact = result.artifacts[0]
    file = Path(artifact.location)
    assert artifact.name == "video"
    assert artifact.bytes == file.stat().st_size
    assert artifact.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (result.seed, result.workflow, result.rehearsal) == (77, "wan-t2v@1.0.0", True)
    assert set(result.timings) == {"convert", "fetch", "prepare", "render", "store"}
    beside = json.loads((file.parent / f"{result.job_id}.json").read_text())
    assert beside == json.loads(json.dumps(result.to_dict()))


def test_the_video_carries_the_workflow_that_made_it(render: Render) -> None:
    result = render(seed=5)
    with av.open(result.artifacts[0].location) as container:
        carried = json.loads(container.metadata["workflow"])
    values = {p.name: p.value for p in parameters.read(carried)}
    assert values["prompt"] == SMALL["prompt"]
    assert values["seed"] == 5
    again = check(Job("again", "w", {"prompt": values["prompt"]}), _workflow(carried))
    assert again.values["seed"] == 5


def test_a_drawn_seed_is_reported_and_renders_the_same_again(render: Render) -> None:
    first = render(seed=None)
    assert difference(first, render(seed=first.seed)) == 0


def renamed(workflow: Workflow, old: str, new: str) -> Workflow:
    """The workflow with a model file under another name, in loader and `properties.models`."""
    text = json.dumps(workflow.document).replace(f"{old}_noise", f"{new}_noise")
    return dataclasses.replace(workflow, document=json.loads(text))


def test_a_missing_model_is_named_with_its_folder_and_source(
    engine: Engine, wan: Workflow, tmp_path: Path
) -> None:
    broken = renamed(wan, "t2v_high", "t2v_nosuch")
    ready = check(Job("missing", "w", SMALL), broken)
    with pytest.raises(WorkflowError) as caught:
        run(ready, engine=engine, storage=LocalStorage(tmp_path))
    message = str(caught.value)
    assert "wan2.2_t2v_nosuch_noise_14B_fp8_scaled.safetensors" in message
    assert "models/diffusion_models/" in message
    assert "https://huggingface.co/" in message


def test_a_model_that_only_another_preset_needs_may_be_missing(
    engine: Engine, wan: Workflow, render: Render, tmp_path: Path
) -> None:
    render()  # the stand-ins of everything else are there now
    without_lora = renamed(wan, "lora_v1.1_high", "lora_v9_high")
    render_params = {**SMALL, "quality_preset": "balanced"}
    ready = check(Job("balanced", "w", render_params), without_lora)
    result = run(ready, engine=engine, storage=LocalStorage(tmp_path))
    assert result.artifacts[0].probe.frames == 17
    ready = check(Job("fast", "w", {**SMALL, "quality_preset": "fast"}), without_lora)
    with pytest.raises(WorkflowError, match="lora_v9_high_noise"):
        run(ready, engine=engine, storage=LocalStorage(tmp_path))


def test_a_loader_without_stand_in_is_named(render: Render, wan: Workflow) -> None:
    document = copy.deepcopy(wan.document)
    loader = next(n for n in document["nodes"] if n["type"] == "VAELoader")
    loader["widgets_values"][0] = "someone_elses_vae.safetensors"
    with pytest.raises(WorkflowError, match=r"someone_elses_vae\.safetensors"):
        render(dataclasses.replace(wan, document=document))


def _workflow(document: dict[str, Any]) -> Workflow:
    return Workflow(document, None, "carried", "0.0.0")
