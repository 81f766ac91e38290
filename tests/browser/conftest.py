"""The real editor for tests: ComfyUI on a CPU with the pack linked in, and Chromium before it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from runner import settings as runner_settings
from runner import workflow as workflows
from runner.comfy.engine import LocalEngine
from runner.entrypoints import editor as editors
from runner.settings import Settings

from editor import Editor

PATIENCE = 30_000  # milliseconds; machines that test are busy
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--mute-audio",
]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """This machine's, but for a data folder of the tests' own."""
    found = runner_settings.from_environment()
    return dataclasses.replace(found, home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[LocalEngine]:
    """That of `callsheet edit wan-t2v --rehearse`: the editor, the pack, stand-in weights."""
    wan = workflows.find("wan-t2v", settings.workflows)
    with editors.running(settings, wan, rehearse=True, port=0) as (engine, _):
        yield engine


@pytest.fixture(scope="session")
def server(engine: LocalEngine) -> str:
    """The editor's address."""
    return engine.url


@pytest.fixture(scope="session")
def object_info(server: str) -> dict[str, Any]:
    """Every node as the server describes it."""
    return get_json(f"{server}/object_info")


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


@pytest.fixture(scope="session")
def editor_page(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not executable:
        pytest.fail("no Chromium: set CHROMIUM=/path or put `chromium` on the PATH")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=executable,
            headless=True,
            args=CHROMIUM_ARGS,
            viewport={"width": 1500, "height": 1000},
            permissions=["clipboard-read", "clipboard-write"],
        )
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        editor = Editor(context.new_page(), server)
        editor.open()
        yield editor
        context.close()


@pytest.fixture
def editor(editor_page: Editor) -> Editor:
    """An empty graph in an editor with Vue nodes."""
    editor_page.clear()
    return editor_page
