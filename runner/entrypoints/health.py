"""What `callsheet doctor` finds on this machine, and the command to type next."""

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import parameters, volumes
from runner import workflow as workflows
from runner.comfy.engine import check_version
from runner.errors import RunnerError, WorkflowError
from runner.modelfiles import finding
from runner.modelfiles.finding import Found
from runner.settings import Settings
from runner.volumes import Place
from runner.workflow import Workflow

ROOM = 5e9  # bytes that a few jobs and their stand-in weights take
_EXTRAS = {
    "storage": ("boto3", "google.cloud.storage", "storage3"),
    "worker": ("runpod", "prometheus_client"),
}


@dataclass(frozen=True)
class Look:
    """One thing looked at."""

    good: bool | None  # None: nothing is wrong, but something is not there
    what: str
    detail: str
    fix: str | None = None  # a command


@dataclass(frozen=True)
class Step:
    command: str
    why: str


@dataclass(frozen=True)
class Missing:
    """A model file that is not there, and the workflows that name it."""

    file: str  # with its folder
    workflows: tuple[str, ...]


@dataclass(frozen=True)
class Health:
    looks: tuple[Look, ...]
    missing: tuple[Missing, ...]
    next_steps: tuple[Step, ...]

    @property
    def ill(self) -> bool:
        return any(look.good is False for look in self.looks)


def examine(settings: Settings) -> Health:
    """Look at everything."""
    broken: list[WorkflowError] = []
    found = list(workflows.released(settings.workflows, broken=broken))
    places = volumes.places(settings.models, settings.volumes, settings.extra_model_paths)
    files = finding.find(finding.wanted(found), places)
    missing = _missing(files)
    gpu = _gpu()
    looks = [
        _comfyui(settings),
        gpu,
        *(_folder("node packs", folder) for folder in settings.custom_nodes),
        _released(found, settings.workflows),
        *(Look(False, "workflow", error.message) for error in broken),
        _models(files, missing, places),
        *(_extra(name, modules) for name, modules in _EXTRAS.items()),
        _disk(settings.cache),
    ]
    return Health(tuple(looks), missing, next_steps(looks, found, missing, gpu=gpu.good is True))


def _missing(found: Sequence[Found]) -> tuple[Missing, ...]:
    """Sorted by the workflows that name them."""
    named = [
        Missing(f.model.shown, tuple(name.partition("@")[0] for name in f.model.workflows))
        for f in found
        if f.state != "found"
    ]
    return tuple(sorted(named, key=lambda missing: (missing.workflows, missing.file)))


def next_steps(
    looks: Sequence[Look], found: Sequence[Workflow], missing: Sequence[Missing], *, gpu: bool
) -> tuple[Step, ...]:
    """What is broken is mended first; then the shortest way to a video. Pure."""
    ill = [look for look in looks if look.good is False]
    if ill or not found:
        fixes = {look.fix: look for look in ill if look.fix}
        return tuple(Step(fix, f"{look.what}: {look.detail}") for fix, look in fixes.items())
    easy = [w for w in found if _asks_for(w) == {"prompt"}]
    first = (easy or found)[0]
    lacking = {name for entry in missing for name in entry.workflows}
    asked = ' -p prompt="a red kite"' if easy else " --params request.json"
    steps = [Step(f"callsheet run {first.name} --rehearse{asked}", "needs no GPU and no models")]
    if gpu and first.name in lacking:
        steps.insert(0, Step(f"callsheet models pull {first.name}", "fetches what it lacks"))
    elif gpu:
        steps.insert(0, Step(f"callsheet run {first.name}{asked}", "renders a video"))
    return tuple(steps)


def _asks_for(workflow: Workflow) -> set[str]:
    return {p.name for p in parameters.read(workflow.document) if p.required}


def _comfyui(settings: Settings) -> Look:
    try:
        version = check_version(settings.comfyui_dir)
    except RunnerError as error:
        return Look(False, "ComfyUI", error.message, "make setup")
    return Look(True, "ComfyUI", f"{version} in {settings.comfyui_dir}")


def _gpu() -> Look:
    try:
        import torch  # the one thing that only the engine and this look need
    except ImportError:
        return Look(False, "torch", "not installed", "pip install 'callsheet[comfy]'")
    if torch.cuda.is_available():
        _, memory = torch.cuda.mem_get_info(0)
        name = torch.cuda.get_device_name(0)
        return Look(True, "GPU", f"{name}, {memory / 1e9:.0f} GB (torch {torch.__version__})")
    said = f"none (torch {torch.__version__}): rehearsals work, real models need one"
    return Look(None, "GPU", said)


def _folder(what: str, folder: Path) -> Look:
    if folder.is_dir():
        return Look(True, what, str(folder))
    return Look(False, what, f"there is no folder {folder}")


def _released(found: Sequence[Workflow], folders: Sequence[Path]) -> Look:
    if found:
        return Look(True, "workflows", ", ".join(w.reference for w in found))
    looked = ", ".join(map(str, folders))
    return Look(False, "workflows", f"none in {looked}; CALLSHEET_WORKFLOWS names more folders")


def _models(files: Sequence[Found], missing: Sequence[Missing], places: Sequence[Place]) -> Look:
    looked = ", ".join(str(place.root) for place in places)
    there = len(files) - len(missing)
    if not missing:
        return Look(True, "models", f"all {len(files)} in {looked}")
    return Look(None, "models", f"{there} of {len(files)} are in {looked}")


def _extra(name: str, modules: Sequence[str]) -> Look:
    absent = [module for module in modules if not _installed(module)]
    if not absent:
        return Look(True, name, "installed")
    listed = ", ".join(absent)
    return Look(None, name, f"without {listed}: pip install 'callsheet[{name}]'")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor the package around it
        return False


def _disk(cache: Path) -> Look:
    existing = next(p for p in (cache, *cache.parents) if p.is_dir())
    free = shutil.disk_usage(existing).free
    enough = free > ROOM
    advice = "" if enough else f"; {ROOM / 1e9:.0f} GB are wanted, or CALLSHEET_CACHE elsewhere"
    return Look(enough, "free disk", f"{free / 1e9:.0f} GB at {existing}{advice}")
