"""The real graph editor with our pack and a workflow open in it, for `callsheet edit`."""

import dataclasses
import json
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from runner import rehearsal
from runner import workflow as workflows
from runner.comfy import engine, scratch
from runner.comfy.engine import LocalEngine
from runner.entrypoints import console, setup, thumbnail
from runner.errors import WorkflowError
from runner.graph import to_api
from runner.outputs import slug
from runner.rehearsal import StandIn
from runner.settings import Settings
from runner.workflow import Workflow

# The pack behind the editor's Callsheet menu.
_MENU_PACK = "callsheet_editor"
# A pack made for the session: ComfyUI serves its folder as templates, and the editor opens a
# template that the address names. The menu's pack knows the name.
_TEMPLATES = "callsheet_workflows"


@contextmanager
def running(
    settings: Settings, opened: Workflow | None, *, rehearse: bool, port: int
) -> Generator[tuple[LocalEngine, str]]:
    """The engine and the address to open in a browser."""
    user = settings.home / "editor"
    user.mkdir(parents=True, exist_ok=True)
    options = setup.engine_options(settings, rehearse=rehearse, user=user)
    released = readable(settings.workflows)
    shown = {slug(one.name): one for one in (*released, *([opened] if opened else []))}
    with scratch.folder() as folder:
        templates = _templates(released, shown, folder)
        packs = [*options.packs, settings.custom_nodes[0] / _MENU_PACK, templates]
        options = dataclasses.replace(options, packs=packs, port=port)
        with engine.running(options) as running_engine:
            if rehearse:
                _make_stand_ins(settings, shown.values(), running_engine)
            query = f"?template={slug(opened.name)}&source={_TEMPLATES}" if opened else ""
            yield running_engine, f"{running_engine.url}/{query}"


def readable(folders: Sequence[Path]) -> list[Workflow]:
    """The released workflows; of a file that cannot be read the terminal says what is wrong."""
    broken: list[WorkflowError] = []
    found = list(workflows.released(folders, broken=broken))
    for error in broken:
        console.show_error(error)
    return found


def _make_stand_ins(
    settings: Settings, shown: Iterable[Workflow], running_engine: LocalEngine
) -> None:
    """For all workflows that the template browser offers, in one go."""
    definitions = running_engine.comfy.object_info()
    wanted: dict[StandIn, None] = {}
    for found in shown:
        try:
            wanted |= dict.fromkeys(
                rehearsal.plan(to_api(found.document, definitions), choices=True)
            )
        except WorkflowError as error:
            console.show_error(error)  # what is wrong with the file is mended in the editor
    rehearsal.ensure(
        tuple(wanted), models_dir=setup.rehearsal_models(settings), comfyui_dir=settings.comfyui_dir
    )


def _templates(released: Iterable[Workflow], shown: Mapping[str, Workflow], scratch: Path) -> Path:
    """A pack of the shown workflows, by the names of their files, with all versions beside."""
    pack = scratch / _TEMPLATES
    for folder in ("example_workflows", "released", "web"):
        (pack / folder).mkdir(parents=True)
    (pack / "__init__.py").write_text('NODE_CLASS_MAPPINGS = {}\nWEB_DIRECTORY = "./web"\n')
    for found in released:
        assert found.path
        (pack / "released" / found.name).symlink_to(found.path.parent.resolve())
    for name, found in shown.items():
        _add_template(pack / "example_workflows", name, found)
    about = [{"name": name, "description": found.description} for name, found in shown.items()]
    (pack / "web" / "templates.json").write_text(json.dumps(about))
    return pack


def _add_template(folder: Path, name: str, found: Workflow) -> None:
    """The file, as a copy: ComfyUI serves no links that lead out of the folder; and its picture."""
    assert found.path
    shutil.copyfile(found.path, folder / f"{name}.json")
    thumbnail.draw(found.document).save(folder / f"{name}.jpg", quality=88)
