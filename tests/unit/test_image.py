"""The image's files: linted, ordered so that a workflow moves only the last layer, with nothing in it that is secret or large."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"


def steps() -> list[str]:
    return [
        line
        for line in re.sub(r"\\\n\s*", "", DOCKERFILE.read_text()).splitlines()
        if line and not line.startswith("#")
    ]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_workflow_moves_no_other_layer() -> None:
    copied = [index for index, step in enumerate(steps()) if step.startswith("COPY workflows/")]
    ran = [index for index, step in enumerate(steps()) if "docker/install" in step]
    assert len(copied) == 1
    assert copied[0] > max(ran)


def test_packages_come_before_our_own_code() -> None:
    packages = next(i for i, step in enumerate(steps()) if "install packages" in step)
    assert packages < next(i for i, step in enumerate(steps()) if step.startswith("COPY runner/"))


def test_it_is_pinned_and_runs_as_nobody_special() -> None:
    [base] = [step for step in steps() if step.startswith("FROM ")]
    assert re.search(r":\d[\w.-]+$", base)
    assert [step for step in steps() if step.startswith("USER ")] == ["USER 1000"]


@pytest.mark.parametrize("word", ["KEY", "TOKEN", "SECRET", "PASSWORD", ".safetensors"])
def test_no_secret_and_no_model(word: str) -> None:
    assert word not in "\n".join(steps()).upper().replace(".SAFETENSORS", ".safetensors")


def test_the_context_is_what_the_image_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    let_through = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for step in steps()
        if step.startswith("COPY ")
        for source in step.split()[1:-1]
    }
    assert lines[0] == "*"
    assert let_through == copied


def test_the_lock_is_a_part_of_the_whole() -> None:
    def pins(file: Path) -> set[str]:
        return set(re.findall(r"^[\w.-]+==\S+", file.read_text(), re.MULTILINE))

    image, whole = pins(ROOT / "docker/requirements.lock"), pins(ROOT / "requirements.lock")
    assert image <= whole
    assert not any(pin.startswith(("pytest", "playwright", "moto")) for pin in image)
    assert any(pin.startswith("runpod==") for pin in image)
