"""The real graph editor with our pack and a workflow open in it, for `callsheet edit`."""

import dataclasses
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from runner import workflow as workflows
from runner.comfy import engine
from runner.comfy.engine import Engine
from runner.entrypoints import console, setup
from runner.errors import WorkflowError
from runner.graph import to_api
from runner.outputs import slug
from runner.settings import Settings
from runner.workflow import Workflow

# A pack made for the session: ComfyUI serves its folder as templates, and the editor opens a
# template that the address names.
_TEMPLATES = "callsheet_workflows"


@contextmanager
def running(
    settings: Settings, opened: Workflow | None, *, rehearse: bool, port: int
) -> Generator[tuple[Engine, str]]:
    """The engine and the address to open in a browser."""
    user = settings.home / "editor"
    user.mkdir(parents=True, exist_ok=True)
    options = setup.engine_options(settings, rehearse=rehearse, user=user)
    with tempfile.TemporaryDirectory(prefix="callsheet-") as scratch:
        templates, name = _templates(settings, opened, Path(scratch))
        options = dataclasses.replace(options, packs=[*options.packs, templates], port=port)
        with engine.running(options) as running_engine:
            if opened and rehearse:
                _make_stand_ins(settings, opened, running_engine)
            query = f"?template={name}&source={_TEMPLATES}" if name else ""
            yield running_engine, f"{running_engine.url}/{query}"


def _make_stand_ins(settings: Settings, opened: Workflow, running: Engine) -> None:
    try:
        setup.stand_ins(settings)(to_api(opened.document, running.comfy.object_info()))
    except WorkflowError as error:
        console.show_error(error)  # what is wrong with the file is mended in the editor


def _templates(
    settings: Settings, opened: Workflow | None, scratch: Path
) -> tuple[Path, str | None]:
    """A pack of all released workflows and the opened one, and the opened one's name in it."""
    pack = scratch / _TEMPLATES
    folder = pack / "example_workflows"
    folder.mkdir(parents=True)
    (pack / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n")
    for found in [*workflows.released(settings.workflows), *([opened] if opened else [])]:
        if found.path:
            shutil.copyfile(found.path, folder / f"{slug(found.name)}.json")
    return pack, slug(opened.name) if opened else None
