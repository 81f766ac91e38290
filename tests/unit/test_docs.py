"""The documentation says what the project does: every code explained, every Python example runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import runner.inputs.disk
import runner.modelfiles.faults
import runner.release
import runner.remote
import runner.service.service
import runner.storage  # noqa: F401 - their errors are in the tree
from runner.errors import RunnerError

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def tree(error: type[RunnerError] = RunnerError) -> Iterator[type[RunnerError]]:
    yield error
    for kind in error.__subclasses__():
        yield from tree(kind)


def test_every_error_has_cause_and_cure() -> None:
    page = (DOCS / "reference" / "errors.md").read_text()
    explained = set(re.findall(r"^### ([a-z_]+)$", page, re.MULTILINE))
    ours = {kind.code for kind in tree() if kind.__module__.startswith("runner.")}
    assert ours - explained == set()


def test_every_workflow_has_a_page() -> None:
    pages = {file.stem for file in (DOCS / "workflows").glob("*.md")}
    assert pages == {folder.name for folder in (ROOT / "workflows").iterdir() if folder.is_dir()}


@pytest.mark.parametrize("page", list(DOCS.rglob("*.md")), ids=lambda file: file.stem)
def test_python_examples_are_python(page: Path) -> None:
    for example in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        names: dict[str, object] = {}
        imports = [line for line in example.splitlines() if re.match(r"(from|import) ", line)]
        exec("\n".join(imports), names)  # what it imports is there
        compile(example, page.name, "exec")
