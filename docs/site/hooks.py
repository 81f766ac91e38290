"""What mkdocs asks while it builds the site: the pages that are written from the project itself."""

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

import pages

ROOT = Path(__file__).resolve().parents[2]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation lists what is there."""
    _fill(config.nav, "Workflows", [f"workflows/{name}.md" for name in pages.workflows()])
    _fill(config.nav, "Nodes", [f"nodes/{file.name}" for file in pages.help_pages()])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages without a file under docs/."""
    for path, text in pages.written().items():
        if files.get_file_from_path(path) is None:
            files.append(File.generated(config, path, content=text))
    for picture in pages.help_pictures():
        path = f"nodes/pictures/{picture.name}"
        files.append(File.generated(config, path, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """A workflow's page: what is said about it by hand, then what its file says."""
    name = page.file.src_uri.removeprefix("workflows/").removesuffix(".md")
    if page.file.src_uri == f"workflows/{name}.md" and name in pages.workflows():
        return markdown + "\n" + pages.workflow(name)
    return markdown


def _fill(nav: Any, section: str, entries: list[str]) -> None:
    for item in nav:
        for title, value in item.items():
            if title == section:
                item[title] = entries
            elif isinstance(value, list):
                _fill([part for part in value if isinstance(part, dict)], section, entries)
