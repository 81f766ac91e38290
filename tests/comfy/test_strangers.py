"""Workflows that know nothing of us: official templates that need no weights, run as they are."""

import sys
import uuid
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runner import workflow as workflows
from runner.comfy.engine import Engine
from runner.errors import InputError, PromptRejected
from runner.inputs import Access, Allowed
from runner.job import Job, Result
from runner.request import check
from runner.run import run
from runner.storage.local import LocalStorage
from runner.workflow import Workflow

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from media_site import SECRET, Site, animation, film, picture, sound

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


# --- files for widgets that are not ours ---------------------------------------------------------

LOADERS = {
    "image": ("LoadImage", "image", "SaveImage", "images"),
    "video": ("LoadVideo", "file", "SaveVideo", "video"),
    "audio": ("LoadAudio", "audio", "SaveAudio", "audio"),
}
SITE = Access(hosts=Allowed.of(["127.0.0.1"]))


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as running:
        yield running


def saved(engine: Engine, kind: str, value: str, *, app: bool, to: Path, access: Access) -> Result:
    """What a stranger's loader of that kind of file makes of a value, by App view or by title."""
    loader, widget, saver, slot = LOADERS[kind]
    more: list[Any] = {"video": ["auto", "auto"]}.get(kind, [])
    nodes = [
        {"id": 1, "type": loader, "title": "Load", "inputs": [], "widgets_values": ["none"],
         "outputs": [{"name": "0", "type": "*", "links": [1]}]},
        {"id": 2, "type": saver, "title": "made", "outputs": [], "widgets_values": ["x", *more],
         "inputs": [{"name": slot, "type": "*", "link": 1}]},
    ]  # fmt: skip
    linear = {"inputs": [[1, widget]] if app else [], "outputs": [2]}
    document = {"version": 0.4, "nodes": nodes, "links": [[1, 1, 0, 2, 0, "*"]],
                "extra": {"linearData": linear}}  # fmt: skip
    job = Job(uuid.uuid4().hex, "w", {widget if app else f"Load.{widget}": value})
    ready = check(job, Workflow(document, None, "stranger", "0.0.0"))
    return run(ready, engine=engine, storage=LocalStorage(to), access=access)


@pytest.mark.parametrize("app", [True, False])
@pytest.mark.parametrize(
    ("kind", "data"), [("image", picture()), ("video", film()), ("audio", sound(2.0))]
)
def test_a_strangers_loader_takes_an_address(
    engine: Engine, tmp_path: Path, site: Site, kind: str, data: bytes, app: bool
) -> None:
    site.put("/a", data)
    url = site.url("/a", host="127.0.0.1")
    result = saved(engine, kind, url, app=app, to=tmp_path, access=SITE)
    (artifact,) = result.artifacts
    assert artifact.probe.kind == kind
    assert (artifact.probe.width or artifact.probe.duration) in (
        24,
        32,
        pytest.approx(2.0, abs=0.1),
    )
    assert list(result.params.values()) == [url.partition("?")[0]]
    assert not list((engine.input / "callsheet").iterdir())
    everything = [file.read_bytes() for file in tmp_path.iterdir()] + [engine.log.read_bytes()]
    assert not [text for text in everything if SECRET.encode() in text]


@pytest.mark.parametrize("app", [True, False])
def test_a_strangers_loader_takes_files_by_path_where_the_caller_may_and_by_name(
    engine: Engine, tmp_path: Path, app: bool
) -> None:
    (tmp_path / "mine.png").write_bytes(picture(size=(31, 17)))
    path, to = str(tmp_path / "mine.png"), tmp_path / "out"
    (artifact,) = saved(engine, "image", path, app=app, to=to, access=Access(local=True)).artifacts
    assert (artifact.probe.width, artifact.probe.height) == (31, 17)
    with pytest.raises(InputError, match=r"image: .*mine\.png: is no URL"):
        saved(engine, "image", path, app=app, to=to, access=Access())
    for name in ("pray.png", "pray.png [input]"):  # in ComfyUI's input folder
        (artifact,) = saved(engine, "image", name, app=app, to=to, access=Access()).artifacts
        assert artifact.probe.width == 48


def test_a_strangers_loader_gets_no_file_of_another_kind(
    engine: Engine, tmp_path: Path, site: Site
) -> None:
    site.put("/moving", animation())
    url = site.url("/moving", host="127.0.0.1")
    with pytest.raises(InputError, match=r"^Load\.image: .*/moving is an animation \(GIF\)"):
        saved(engine, "image", url, app=False, to=tmp_path, access=SITE)
    with pytest.raises(InputError, match="private, local or reserved"):
        saved(engine, "image", url, app=False, to=tmp_path, access=Access())
    with pytest.raises(PromptRejected):
        saved(engine, "image", "gone.png [output]", app=False, to=tmp_path, access=Access())
