"""The real graph editor with our pack and a workflow open in it, for `callsheet edit`."""

import dataclasses
import json
import shutil
from collections.abc import Generator
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
    with scratch.folder() as folder:
        templates, name = _templates(settings, opened, folder)
        packs = [*options.packs, settings.custom_nodes[0] / _MENU_PACK, templates]
        options = dataclasses.replace(options, packs=packs, port=port)
        with engine.running(options) as running_engine:
            if rehearse:
                _make_stand_ins(settings, opened, running_engine)
            query = f"?template={name}&source={_TEMPLATES}" if name else ""
            yield running_engine, f"{running_engine.url}/{query}"


def _make_stand_ins(settings: Settings, opened: Workflow | None, running: LocalEngine) -> None:
    """For all workflows that the template browser offers, in one go."""
    definitions = running.comfy.object_info()
    wanted: dict[StandIn, None] = {}
    for found in _shown(settings, opened).values():
        try:
            wanted |= dict.fromkeys(rehearsal.plan(to_api(found.document, definitions)))
        except WorkflowError as error:
            console.show_error(error)  # what is wrong with the file is mended in the editor
    rehearsal.ensure(
        tuple(wanted), models_dir=setup.rehearsal_models(settings), comfyui_dir=settings.comfyui_dir
    )


def _shown(settings: Settings, opened: Workflow | None) -> dict[str, Workflow]:
    """The released workflows and the opened one, by the names of their files."""
    found = [*workflows.released(settings.workflows), *([opened] if opened else [])]
    return {slug(workflow.name): workflow for workflow in found}


def _templates(
    settings: Settings, opened: Workflow | None, scratch: Path
) -> tuple[Path, str | None]:
    """A pack of all released workflows and the opened one, and the opened one's name in it."""
    pack = scratch / _TEMPLATES
    for folder in ("example_workflows", "released", "web"):
        (pack / folder).mkdir(parents=True)
    (pack / "__init__.py").write_text('NODE_CLASS_MAPPINGS = {}\nWEB_DIRECTORY = "./web"\n')
    for found in workflows.released(settings.workflows):
        assert found.path
        (pack / "released" / found.name).symlink_to(found.path.parent.resolve())
    shown = _shown(settings, opened)
    for name, found in shown.items():
        _add_template(pack / "example_workflows", name, found)
    about = [{"name": name, "description": found.description} for name, found in shown.items()]
    (pack / "web" / "templates.json").write_text(json.dumps(about))
    return pack, slug(opened.name) if opened else None


def _add_template(folder: Path, name: str, found: Workflow) -> None:
    """The file, as a copy: ComfyUI serves no links that lead out of the folder; and its picture."""
    assert found.path
    shutil.copyfile(found.path, folder / f"{name}.json")
    thumbnail.draw(found.document).save(folder / f"{name}.jpg", quality=88)
