"""Where model files lie: the models folder, network volumes, an extra_model_paths.yaml."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import RequestError
from runner.shape import mapping

# Directory → subfolders of a models folder, in the order in which ComfyUI looks:
# folder_paths.py of ComfyUI 0.30.0. Without custom_nodes: what lies there is run.
FOLDERS: Mapping[str, tuple[str, ...]] = {
    **{
        name: (name,)
        for name in (
            "checkpoints", "configs", "loras", "vae", "clip_vision", "style_models", "embeddings",
            "diffusers", "vae_approx", "gligen", "upscale_models", "latent_upscale_models",
            "hypernetworks", "photomaker", "classifiers", "model_patches", "audio_encoders",
            "background_removal", "frame_interpolation", "geometry_estimation", "optical_flow",
            "detection",
        )
    },
    "text_encoders": ("text_encoders", "clip"),
    "diffusion_models": ("unet", "diffusion_models"),
    "controlnet": ("controlnet", "t2i_adapter"),
}  # fmt: skip
OLD_NAMES = {"unet": "diffusion_models", "clip": "text_encoders"}
NEVER = ("custom_nodes", "datasets")  # folders of ComfyUI that hold no models

MODEL_ENDINGS = {".ckpt", ".pt", ".pt2", ".bin", ".pth", ".safetensors", ".pkl", ".sft", ".gguf"}

# Where a network volume is mounted, and what must be set for it to be one.
_MOUNTS = {"runpod-volume": None, "workspace": "RUNPOD_POD_ID"}
# Layouts seen on volumes: RunPod's worker-comfyui, and ComfyUI installed on the volume itself.
_LAYOUTS = ("models", "ComfyUI/models", "comfyui/models", "runpod-slim/ComfyUI/models", "")


@dataclass(frozen=True)
class Place:
    """A root of model files, and its folders by directory, first looked into first."""

    label: str  # for people: models folder, volume, extra_model_paths.yaml
    root: Path
    folders: Mapping[str, tuple[Path, ...]]


def directory_of(name: str) -> str:
    """ComfyUI's name of a directory: two have had another. Pure."""
    return OLD_NAMES.get(name, name)


def detected(environment: Mapping[str, str], root: Path = Path("/")) -> tuple[Path, ...]:
    """The models folders of network volumes: of `MODEL_PATH`, and of what RunPod mounts."""
    found: list[Path] = []
    if environment.get("MODEL_PATH"):
        named = Path(environment["MODEL_PATH"]).expanduser().absolute()
        found += _layouts(named) or [named]
    for mount, variable in _MOUNTS.items():
        folder = root / mount
        if folder.is_dir() and (variable is None or environment.get(variable)):
            found += _layouts(folder) or ([] if variable else [folder / "models"])
    return tuple(dict.fromkeys(found))


def places(
    models: Path, volumes: Sequence[Path] = (), extra: Path | None = None
) -> tuple[Place, ...]:
    """Every place of this machine, in the order in which ComfyUI looks. Raises RequestError."""
    own = Place("models folder", models, _folders(models))
    return (
        own,
        *(Place("volume", path, _folders(path)) for path in volumes if path != models),
        *(_extra_places(extra) if extra else ()),
    )


def directories(found: Iterable[Place]) -> set[str]:
    """The directories that a model may name: ComfyUI's, those of a YAML, those that exist."""
    return {name for place in found for name in place.folders}


def target(models: Path, directory: str, name: str) -> Path:
    """Where a model belongs in a models folder."""
    return models / name if _flat(models) else models / directory / name


def config(file: Path, volumes: Sequence[Path], extra: Path | None) -> Path | None:
    """What ComfyUI is to take as extra_model_paths.yaml: written to `file` if there are volumes.

    The given YAML is a part of it; without volumes it is taken as it is. Raises RequestError.
    """
    if not volumes:
        return extra
    sections: dict[str, Any] = {f"volume {path}": _section(path) for path in volumes}
    sections |= _absolute(extra) if extra else {}
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(sections, indent=2) + "\n", "utf-8")  # JSON is YAML, too
        part.replace(file)
    except OSError as error:
        raise RequestError(f"{file} cannot be written: {error.strerror}") from error
    return file


def _layouts(folder: Path) -> list[Path]:
    """The models folders below a volume."""
    below = [folder / layout if layout else folder for layout in _LAYOUTS]
    return [path for path in below if path.is_dir() and (path.name == "models" or _holds(path))]


def _holds(folder: Path) -> bool:
    names = {*FOLDERS, *OLD_NAMES}
    return _flat(folder) or any((folder / name).is_dir() for name in names)


def _flat(folder: Path) -> bool:
    """Whether model files lie in the folder itself, and in none of ComfyUI's subfolders."""
    if any((folder / name).is_dir() for name in (*FOLDERS, *OLD_NAMES)):
        return False
    return folder.is_dir() and any(file.suffix in MODEL_ENDINGS for file in folder.iterdir())


def _section(folder: Path) -> dict[str, str]:
    """A volume as ComfyUI's YAML has it."""
    if _flat(folder):
        return {"base_path": str(folder), **dict.fromkeys(FOLDERS, ".")}
    listed = {name: "\n".join(subfolders) for name, subfolders in FOLDERS.items()}
    return {"base_path": str(folder), **listed, **{name: name for name in _others(folder)}}


def _folders(folder: Path) -> dict[str, tuple[Path, ...]]:
    if _flat(folder):
        return dict.fromkeys(FOLDERS, (folder,))
    listed = {name: tuple(folder / sub for sub in subs) for name, subs in FOLDERS.items()}
    return {**listed, **{name: (folder / name,) for name in _others(folder)}}


def _others(folder: Path) -> list[str]:
    """Subfolders that node packs have added."""
    known = {*FOLDERS, *NEVER, *(sub for subs in FOLDERS.values() for sub in subs)}
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(f.name for f in there if f.is_dir() and f.name[0] != "." and f.name not in known)


def _extra_places(file: Path) -> Iterator[Place]:
    for section in _absolute(file).values():
        base = Path(section.get("base_path") or file.parent)
        folders: dict[str, tuple[Path, ...]] = {}
        for name, lines in section.items():
            if name in ("base_path", "is_default", *NEVER):
                continue
            directory = directory_of(name)
            paths = tuple(base / line for line in lines.split("\n") if line)
            folders[directory] = (*folders.get(directory, ()), *paths)
        yield Place(file.name, base, folders)


def _absolute(file: Path) -> dict[str, dict[str, Any]]:
    """The sections of a YAML, free of where it lies. Raises RequestError."""
    found: dict[str, dict[str, Any]] = {}
    for title, section in _read(file).items():
        if section is None:
            continue
        values = dict(mapping(section))
        wrong = [
            k for k, v in values.items() if not isinstance(v, bool if k == "is_default" else str)
        ]
        if not values or wrong:
            raise RequestError(
                f"{file}: {title} is to have lines like `checkpoints: models/checkpoints`"
            )
        if "base_path" in values:
            values["base_path"] = _path(values["base_path"], file.parent)
        else:
            values = {name: _lines(lines, file.parent) for name, lines in values.items()}
        found[str(title)] = values
    return found


def _lines(lines: Any, folder: Path) -> Any:
    if not isinstance(lines, str):  # is_default
        return lines
    return "\n".join(str((folder / line).absolute()) for line in lines.split("\n") if line)


def _path(text: str, folder: Path) -> str:
    return os.path.normpath(folder.absolute() / os.path.expandvars(Path(text).expanduser()))


def _read(file: Path) -> Mapping[Any, Any]:
    import yaml

    try:
        loaded: Any = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{file} is no YAML: {' '.join(str(error).split())[:200]}") from error
    sections = mapping(loaded)
    if loaded is not None and not sections:
        raise RequestError(f"{file} is to have sections of paths, as ComfyUI's own example has")
    return sections
