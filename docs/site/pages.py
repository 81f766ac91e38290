"""Pages written from the project itself: workflows, commands, nodes, errors' tree, changes. Pure but for reading."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner import contract, parameters
from runner.contract import Contract
from runner.entrypoints import cli
from runner.models import Model
from runner.parameters import Parameter
from runner.workflow import Workflow, find, released

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "workflows",)
SIZES: dict[str, int] = json.loads((Path(__file__).parent / "sizes.json").read_text())


@cache
def workflows() -> tuple[str, ...]:
    """The names of the released workflows."""
    return tuple(dict.fromkeys(found.name for found in released(FOLDERS)))


def help_pages() -> list[Path]:
    """The help pages of the pack's nodes, as the editor shows them."""
    return sorted((ROOT / "custom_nodes" / "callsheet" / "web" / "docs").glob("*.md"))


def help_pictures() -> list[Path]:
    """The pictures that the help pages show."""
    return sorted((ROOT / "custom_nodes/callsheet/web/docs/pictures").glob("*.png"))


def written() -> dict[str, str]:
    """Path in the site → text of the pages that have no file under docs/."""
    return {
        **{f"workflows/{name}.md": "" for name in workflows()},
        **{f"nodes/{file.name}": file.read_text() for file in help_pages()},
        "reference/commands.md": commands(),
        "reference/architecture.md": _of_the_repository("ARCHITECTURE.md"),
        "reference/changes.md": _of_the_repository("CHANGELOG.md"),
    }


def workflow(name: str) -> str:
    """What the newest file of a workflow says: parameters, outputs, models, an example request."""
    found = find(name, FOLDERS)
    promised = contract.read(found.document)
    return "\n".join(
        (
            f"*Version {found.version}.* {found.description}",
            _parameters(promised),
            _outputs(promised),
            _models(promised.models),
            _request(found, promised),
        )
    )


def commands() -> str:
    """The help of every command, as the terminal shows it."""
    parts = ["# Commands", "", _help()]
    for name in (name for named in cli.COMMANDS.values() for name in named):
        parts += [f"## callsheet {name}", "", _help(name)]
        parts += [_help(name, inner) for inner in _names(_help(name))]
    return "\n".join(f"\n{part}\n" for part in parts)


def _parameters(promised: Contract) -> str:
    rows = [_parameter(found) for found in promised.parameters]
    return _table("## Parameters", ("name", "takes", "default", "what it does"), rows)


def _parameter(found: Parameter) -> tuple[str, ...]:
    default = "**required**" if found.required else _default(found)
    return f"`{found.name}`", _takes(found), default, found.description


def _takes(found: Parameter) -> str:
    limits = found.limits
    if "enum" in limits:
        return " · ".join(f"`{choice}`" for choice in limits["enum"])
    said = [found.kind]
    low, high = limits.get("minimum"), limits.get("maximum")
    if low is not None and high is not None:
        said.append(f"{low:g} to {high:g}")
    if "x-step" in limits:
        said.append(f"in steps of {limits['x-step']['by']:g}")
    if "maxLength" in limits:
        said.append(f"up to {limits['maxLength']} characters")
    if "x-max-duration" in limits:
        said.append(f"up to {limits['x-max-duration']:g} s")
    if "maxItems" in limits:
        said.append(f"{limits.get('minItems', 0)} to {limits['maxItems']}")
    return ", ".join(said)


def _default(found: Parameter) -> str:
    value = found.default
    if found.kind == "seed":
        return "drawn"
    if value in (None, "", []):
        return "by rule"
    text = str(value)
    return f"`{text if len(text) < 40 else text[:38] + ' …'}`"


def _outputs(promised: Contract) -> str:
    rows = [(f"`{output.name}`", output.type) for output in promised.outputs]
    return _table("## Outputs", ("name", "saved by"), rows)


def _models(models: tuple[Model, ...]) -> str:
    rows = [
        (model.directory, _linked(model), _gigabytes(SIZES.get(model.name))) for model in models
    ]
    known = sum(SIZES.get(model.name, 0) for model in models)
    table = _table("## Models", ("folder", "file", "size"), rows)
    return f"{table}\nTogether {known / 1e9:.1f} GB where the size is known. Not every preset needs them all.\n"


def _linked(model: Model) -> str:
    return f"[{model.name}]({model.url})" if urlsplit(model.url).scheme == "https" else model.name


def _gigabytes(size: int | None) -> str:
    return f"{size / 1e9:.2f} GB" if size else "not known"


def _request(found: Workflow, promised: Contract) -> str:
    schema = parameters.schema(promised.parameters, name=found.reference)
    values = {
        one.name: _example(one, schema["properties"][one.name])
        for one in promised.parameters
        if one.required or one.name == "seed"
    }
    body = {"input": {"workflow": f"{found.name}@{found.version.split('.')[0]}", "params": values}}
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return (
        f"## A request\n\nAs a service sends it; `callsheet run {found.name} --params FILE.json` takes what stands"
        f" under `params`.\n\n```json\n{text}\n```\n\n`callsheet schema {found.name}` prints the JSON Schema of the"
        " parameters.\n"
    )


def _example(found: Parameter, schema: dict[str, Any]) -> Any:
    media = {"image": "https://example.com/picture.png", "audio": "https://example.com/speech.wav"}
    rows = {
        "keyframes": [
            {"image_url": media["image"], "frame_position": "first"},
            {"image_url": "https://example.com/end.png", "frame_position": "last"},
        ],
        "speakers": [{"audio_url": media["audio"]}],
    }
    if found.kind in media:
        return media[found.kind]
    if found.kind in rows:
        return rows[found.kind]
    if found.kind == "seed":
        return 7
    return schema.get("default") or "a small boat on a calm lake at dawn"


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    cells = [
        " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in lines
    ]
    return "\n".join((f"\n{title}\n", *(f"| {row} |" for row in cells), ""))


@cache
def _help(*names: str) -> str:
    asked = subprocess.run(
        [sys.executable, "-m", "runner.entrypoints.cli", *names, "--help"],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"},
    )  # fmt: skip
    return f"```text\n{asked.stdout.strip()}\n```"


def _names(text: str) -> list[str]:
    """The commands that a command of commands lists."""
    listed = text.partition("\nCommands\n")[2].partition("\n\n")[0]
    return re.findall(r"^  ([a-z][a-z-]*)  +\S", listed, re.MULTILINE)


def _of_the_repository(name: str) -> str:
    """A file of the repository; its links to other files of it become plain names."""
    text = (ROOT / name).read_text()
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)[^)]+\)", r"\1", text)
