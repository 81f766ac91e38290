"""A hub on loopback, machines that pull from it, and files on it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import hub_site
from hub_site import TOKEN, Hub
from model_machine import Machine


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_site.running() as site:
        yield site


@pytest.fixture
def machine(tmp_path: Path, hub: Hub) -> Machine:
    return Machine(tmp_path, hub)


@pytest.fixture
def member(tmp_path: Path, hub: Hub) -> Machine:
    """With a token."""
    return Machine(tmp_path, hub, TOKEN)


@pytest.fixture
def model(hub: Hub) -> Callable[..., dict[str, Any]]:
    """A file on the hub, as a workflow names it."""

    def make(
        name: str = "a.safetensors", directory: str = "vae", size: int = 3_000_000, **more: Any
    ) -> dict[str, Any]:
        url = hub.put(f"org/repo/files/{name}", hub_site.tensors(size, name))
        return {"name": name, "directory": directory, "url": url, **more}

    return make
