"""From settings to a running engine, as every entry point needs it."""

import dataclasses
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner import rehearsal, volumes
from runner.comfy import engine
from runner.comfy.client import ApiPrompt
from runner.comfy.engine import EngineOptions, LocalEngine
from runner.inputs import Access, Allowed, Buckets, Cache
from runner.run import Prepare
from runner.settings import Settings

PACK, ENGINE_PACK, REHEARSAL_PACK = "callsheet", "callsheet_engine", "callsheet_rehearsal"


def engine_options(
    settings: Settings, *, rehearse: bool, user: Path | None = None
) -> EngineOptions:
    """Real models on the GPU, or stand-in weights on the CPU."""
    ours, *others = settings.custom_nodes
    packs = [ours / PACK, ours / ENGINE_PACK, *([ours / REHEARSAL_PACK] if rehearse else [])]
    return EngineOptions(
        comfyui_dir=settings.comfyui_dir,
        models=rehearsal_models(settings) if rehearse else settings.models,
        packs=packs,
        log_dir=settings.home / "logs",
        custom_nodes=[folder for folder in others if folder.is_dir()],
        extra_model_paths=None if rehearse else extra_model_paths(settings),
        user=user,
        pycache=settings.cache / "pycache",
        cpu=rehearse or settings.cpu,
    )


def extra_model_paths(settings: Settings) -> Path | None:
    """The YAML for ComfyUI: network volumes, and what `CALLSHEET_EXTRA_MODEL_PATHS` lists."""
    file = settings.home / "extra_model_paths.yaml"
    return volumes.config(file, settings.volumes, settings.extra_model_paths)


def places(settings: Settings) -> tuple[volumes.Place, ...]:
    """Where model files may lie."""
    return volumes.places(settings.models, settings.volumes, settings.extra_model_paths)


def rehearsal_models(settings: Settings) -> Path:
    return settings.cache / "rehearsal" / "models"


def stand_ins(settings: Settings) -> Prepare:
    """Builds the stand-in weights that a prompt's loaders ask for, as far as they are not there."""

    def prepare(prompt: ApiPrompt) -> None:
        rehearsal.ensure(
            rehearsal.plan(prompt),
            models_dir=rehearsal_models(settings),
            comfyui_dir=settings.comfyui_dir,
        )

    return prepare


def access(settings: Settings, *, local: bool) -> Access:
    """Where inputs may come from. Raises RequestError for settings that mean nothing."""
    return Access(
        local=local,
        hosts=Allowed.of(settings.allow_hosts),
        buckets=Buckets.of(settings.allow_buckets),
        cache=Cache(settings.cache / "inputs", settings.input_cache, settings.min_free),
        min_free=settings.min_free,
    )


@contextmanager
def started(settings: Settings, *, rehearse: bool) -> Generator[LocalEngine]:
    with engine.running(engine_options(settings, rehearse=rehearse)) as running:
        yield running


@contextmanager
def definitions(settings: Settings) -> Generator[dict[str, Any]]:
    """The node definitions of a ComfyUI started for them."""
    on_any_machine = dataclasses.replace(engine_options(settings, rehearse=False), cpu=True)
    with engine.running(on_any_machine) as running:
        yield running.comfy.object_info()
