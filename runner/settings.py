"""Where things are on this machine: environment → values. Read by entry points only."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from runner import volumes
from runner.errors import RequestError
from runner.job import Deadlines

_CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    comfyui_dir: Path  # a ComfyUI checkout
    custom_nodes: tuple[Path, ...]  # folders of node packs, ours first
    workflows: tuple[Path, ...]  # folders of released workflows, first found wins
    models: Path  # ComfyUI's models folder: diffusion_models/, vae/, …
    extra_model_paths: Path | None  # a ComfyUI extra_model_paths.yaml
    home: Path  # logs and what the editor saves
    cache: Path  # what can be made again: stand-in weights
    cpu: bool  # run ComfyUI without a GPU
    allow_hosts: tuple[
        str, ...
    ] = ()  # names and networks that inputs may come from, though private
    allow_buckets: tuple[str, ...] = ()  # that inputs may come from: s3://media-in, gs://a/uploads
    input_cache: int = 0  # bytes of downloads that are kept for later jobs
    min_free: int = 1_000_000_000  # bytes that a disk must have free before a job starts
    deadlines: Deadlines = Deadlines()  # noqa: RUF009 - frozen
    comfy: str | None = None  # address of a ComfyUI that runs elsewhere
    volumes: tuple[Path, ...] = ()  # models folders of network volumes
    pull_into: Path | None = None  # where models are fetched to, if not into `models`


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of this process. `COMFYUI_DIR` points at an existing ComfyUI checkout."""

    def path(name: str, default: Path) -> Path:
        return Path(environment[name]).expanduser() if environment.get(name) else default

    def seconds(name: str, default: float) -> float:
        text = environment.get(name) or str(default)
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not value > 0:
            raise RequestError(f"{name}={text}: it is a number of seconds above 0")
        return value

    def listed(name: str) -> tuple[str, ...]:
        return tuple(environment.get(name, "").replace(",", " ").split())

    def gigabytes(name: str, default: float) -> int:
        text = environment.get(name) or str(default)
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < math.inf:
            raise RequestError(f"{name}={text}: it is a number of gigabytes, 0 or more")
        return int(value * 1e9)

    usual = Deadlines()
    home = path("CALLSHEET_HOME", platformdirs.user_data_path("callsheet"))
    comfyui = path("COMFYUI_DIR", _CHECKOUT / "vendor" / "comfyui").absolute()
    own = bool(environment.get("COMFYUI_DIR"))
    extra = environment.get("CALLSHEET_EXTRA_MODEL_PATHS")
    workflows = environment.get("CALLSHEET_WORKFLOWS", "").split(os.pathsep)
    mounted = volumes.detected(environment)
    return Settings(
        comfyui_dir=comfyui,
        custom_nodes=(_CHECKOUT / "custom_nodes", *([comfyui / "custom_nodes"] if own else [])),
        workflows=(*(Path(w) for w in workflows if w), _CHECKOUT / "workflows"),
        models=path("CALLSHEET_MODELS", comfyui / "models" if own else home / "models").absolute(),
        extra_model_paths=Path(extra).absolute() if extra else None,
        home=home.absolute(),
        cache=path("CALLSHEET_CACHE", platformdirs.user_cache_path("callsheet")).absolute(),
        cpu=environment.get("CALLSHEET_CPU", "") not in ("", "0"),
        allow_hosts=listed("CALLSHEET_ALLOW_HOSTS"),
        allow_buckets=listed("CALLSHEET_ALLOW_BUCKETS"),
        input_cache=gigabytes("CALLSHEET_INPUT_CACHE_GB", 0),
        min_free=gigabytes("CALLSHEET_MIN_FREE_GB", 1),
        deadlines=Deadlines(
            total=seconds("CALLSHEET_TIMEOUT", usual.total),
            queue=seconds("CALLSHEET_QUEUE_TIMEOUT", usual.queue),
            stalled=seconds("CALLSHEET_STALL_TIMEOUT", usual.stalled),
        ),
        comfy=environment.get("CALLSHEET_COMFY") or None,
        volumes=mounted,
        # What a volume holds is there for the next machine, too.
        pull_into=mounted[0] if mounted and not environment.get("CALLSHEET_MODELS") else None,
    )
