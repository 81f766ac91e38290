"""Which files are compared: every official template and blueprint, our workflows, the hard cases."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
HARD_CASES = Path(__file__).with_name("hard_cases")
PACK = CHECKOUT / "custom_nodes" / "callsheet"
KINDS = ("hard", "own", "blueprint", "template")


@dataclass(frozen=True)
class Case:
    """One workflow file in the editor's format."""

    kind: str
    name: str
    path: Path

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    def workflow(self) -> dict[str, Any]:
        return json.loads(self.path.read_bytes())

    def digest(self) -> str:
        """Changes with whatever the editor's answer depends on, beside its version."""
        content = self.path.read_bytes()
        found = hashlib.sha256(content)
        if b'"Callsheet' in content:
            found.update(_pack_digest())
        return found.hexdigest()[:12]


def all_cases(comfyui_dir: Path) -> list[Case]:
    """In the order in which they are loaded: the few that change most often first."""
    package = find_spec("comfyui_workflow_templates_json")
    templates = Path(str(package.origin)).parent / "templates" if package else Path()
    return [
        *hard_cases(),
        *_files("own", CHECKOUT / "workflows", "*/*.json"),
        *_files("blueprint", comfyui_dir / "blueprints", "*.json"),
        *_files("template", templates, "*.json"),
    ]


def hard_cases() -> list[Case]:
    return list(_files("hard", HARD_CASES, "*.json"))


def _files(kind: str, folder: Path, pattern: str) -> Iterator[Case]:
    for path in sorted(folder.glob(pattern)):
        if _is_workflow(path):
            name = path.relative_to(folder).with_suffix("").as_posix()
            yield Case(kind, name, path)


def _is_workflow(path: Path) -> bool:
    """Indexes and options lie among the templates, prompts among the hard cases."""
    content = json.loads(path.read_bytes())
    return isinstance(content, dict) and isinstance(content.get("nodes"), list)


def _pack_digest() -> bytes:
    found = hashlib.sha256()
    for path in sorted([*PACK.rglob("*.py"), *PACK.rglob("*.js")]):
        found.update(path.read_bytes())
    return found.digest()
