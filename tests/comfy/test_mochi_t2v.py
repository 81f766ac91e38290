"""mochi-t2v on the real ComfyUI: added as one workflow file, and what is asked is what comes."""

from typing import Any

import numpy as np
import pytest

from runner import workflow as workflows
from runner.comfy.engine import Engine
from runner.errors import InvalidParameters
from runner.graph import to_api
from runner.graph.prune import drop_decided
from runner.job import Job, Result
from runner.request import check
from runner.settings import Settings
from runner.workflow import Workflow

from rendering import Render, difference, pictures


@pytest.fixture
def mochi(settings: Settings) -> Workflow:
    return workflows.find("mochi-t2v@1.0.0", settings.workflows)


@pytest.fixture
def video(render: Render, mochi: Workflow) -> Render:
    def rendered(**params: Any) -> Result:
        return render(mochi, **{"num_frames": 13, **params})

    return rendered


@pytest.mark.parametrize(
    ("params", "width", "height", "frames", "fps"),
    [
        ({"num_frames": 84}, 128, 96, 84, 30),  # 85 made, 84 kept
        ({"num_frames": 85}, 128, 96, 85, 30),
        ({"num_frames": 86}, 128, 96, 86, 30),  # 91 made
        ({"num_frames": 7, "width": 64, "height": 112, "fps": 24}, 64, 112, 7, 24),
    ],
)
def test_the_video_is_as_asked(
    video: Render, params: dict[str, Any], width: int, height: int, frames: int, fps: int
) -> None:
    probe = video(**params).artifacts[0].probe
    assert (probe.width, probe.height, probe.frames, probe.fps) == (width, height, frames, fps)
    assert probe.duration == pytest.approx(frames / fps)


def test_the_last_frame_is_dropped_and_no_other(video: Render) -> None:
    asked, made = (pictures(video(num_frames=count)).astype(float) for count in (84, 85))
    # Each is compressed anew, so they are not equal; but every frame is nearest to its own.
    nearest = [int(np.abs(made - frame).mean(axis=(1, 2, 3)).argmin()) for frame in asked]
    assert nearest == list(range(84))


def test_84_frames_are_the_default(mochi: Workflow) -> None:
    assert check(Job("default", "mochi-t2v", {"prompt": "x"}), mochi).values["num_frames"] == 84


def test_the_same_request_renders_the_same_frames(video: Render) -> None:
    assert difference(video(), video()) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a green forest at night"},
        {"negative_prompt": "yellow"},
        {"seed": 2},
        {"steps": 6},
        {"guidance_scale": 6},
        {"scheduler": "linear_quadratic"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_parameter_changes_the_picture(video: Render, change: dict[str, Any]) -> None:
    assert difference(video(), video(**change)) > 0.5


def test_tiles_do_not_show(video: Render) -> None:
    # 256 pixels and 10 latent frames are a tile: two of them side by side, two in a row.
    large = {"width": 272, "height": 64, "num_frames": 67}
    tiled, whole = (pictures(video(**large, tiled=on)).astype(float) for on in (True, False))
    columns = np.abs(tiled - whole).mean(axis=(0, 1, 3))
    assert columns.mean() < 2  # compressed anew: some 1.4
    assert columns.max() < 2 * np.median(columns)  # a seam would stand out


@pytest.mark.parametrize(("tiled", "decoder"), [(True, "VAEDecodeTiled"), (False, "VAEDecode")])
def test_only_the_chosen_decoder_is_sent(
    mochi: Workflow, engine: Engine, tiled: bool, decoder: str
) -> None:
    ready = check(Job("tiles", "mochi-t2v", {"prompt": "x", "tiled": tiled}), mochi)
    definitions = engine.comfy.object_info()
    sent = drop_decided(to_api(ready.document, definitions), definitions)
    classes = {node["class_type"] for node in sent.values()}
    assert {c for c in classes if c.startswith("VAEDecode")} == {decoder}


def test_a_prompts_colours_are_seen(video: Render) -> None:
    """What the stand-in weights promise."""
    red, green, blue = pictures(video(prompt="a green forest")).mean(axis=(0, 1, 2))
    assert green > 1.3 * max(red, blue)


def test_what_cannot_be_is_refused_before_anything_starts(mochi: Workflow) -> None:
    params = {"prompt": "x", "width": 850, "num_frames": 164, "scheduler": "karras", "fps": 7}
    with pytest.raises(InvalidParameters) as caught:
        check(Job("bad", "mochi-t2v", params), mochi)
    assert {p.parameter for p in caught.value.problems} == {
        "width", "num_frames", "scheduler", "fps",
    }  # fmt: skip
