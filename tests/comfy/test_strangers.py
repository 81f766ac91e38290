"""Workflows that know nothing of us: official templates that need no weights, run as they are."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner import workflow as workflows
from runner.comfy.engine import Engine
from runner.job import Job, Result
from runner.request import check
from runner.run import run
from runner.storage.local import LocalStorage

TEMPLATES = resources.files("comfyui_workflow_templates_json") / "templates"
INPUTS = {"example.png": 96, "pray.png": 48, **{f"angle_{i}.png": 40 for i in range(1, 5)}}


@pytest.fixture(scope="module", autouse=True)
def input_images(engine: Engine) -> None:
    for index, (name, size) in enumerate(INPUTS.items()):
        picture = np.full((size, size, 3), 40 * (index + 1), dtype=np.uint8)
        Image.fromarray(picture).save(engine.input / name)


def render(engine: Engine, folder: Path, template: str, **params: object) -> Result:
    found = workflows.load(Path(str(TEMPLATES / f"{template}.json")))
    job = Job(f"stranger-{template}", "w", params)
    return run(check(job, found), engine=engine, storage=LocalStorage(folder))


def test_numbers_and_texts_come_as_text_files(engine: Engine, tmp_path: Path) -> None:
    result = render(engine, tmp_path, "basic_datatype_conversion")
    assert len(result.artifacts) == 13
    assert {a.probe.kind for a in result.artifacts} == {"text"}
    texts = [Path(a.location).read_text() for a in result.artifacts]
    assert all(texts)
    assert len({a.location for a in result.artifacts}) == 13


def test_images_are_stitched(engine: Engine, tmp_path: Path) -> None:
    (artifact,) = render(engine, tmp_path, "utility_image_stitch").artifacts
    assert artifact.probe.kind == "image"
    picture = np.asarray(Image.open(artifact.location).convert("RGB"))
    shades = {int(v) for v in np.unique(picture)}
    assert {120, 160, 200, 240} <= shades  # all four


def test_an_image_is_scaled_and_any_widget_may_be_set(engine: Engine, tmp_path: Path) -> None:
    template = "utility_interpolation_image_upscale"
    (artifact,) = render(engine, tmp_path / "a", template).artifacts
    found = workflows.load(Path(str(TEMPLATES / f"{template}.json")))
    scale = next(n for n in found.document["nodes"] if n["type"] == "ImageScaleBy")
    factor = scale["widgets_values"][1]
    assert artifact.probe.width == round(48 * factor)
    (other,) = render(
        engine, tmp_path / "b", template, **{f"{scale['id']}.scale_by": 3.0}
    ).artifacts
    assert (other.probe.width, other.probe.height) == (144, 144)


def test_previews_stand_in_where_nothing_is_saved(engine: Engine, tmp_path: Path) -> None:
    artifacts = render(engine, tmp_path, "basic_mask_operations_and_compositing").artifacts
    assert len(artifacts) == 18
    assert {a.probe.kind for a in artifacts} == {"image"}
