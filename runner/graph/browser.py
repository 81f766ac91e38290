"""Inputs that only a browser can make: 3D views, drawings, camera pictures, recordings. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.graph.definitions import Definitions, Widget, read

# What to do instead, by the type of the widget.
_INSTEAD = {
    "LOAD_3D": "link an image, or render the view in the editor and save the file",
    "LOAD_3D_ADVANCED": "render the view in the editor and save the file",
    "PAINTER": "link a mask, or paint one in the editor and save the file",
    "WEBCAM": "use a Load Image node",
    "AUDIO_RECORD": "use a Load Audio node",
}


@dataclass(frozen=True)
class BrowserInput:
    """An input that nobody can fill without a browser, and what would be right."""

    node_id: str
    class_type: str
    title: str
    input: str
    instead: str

    def __str__(self) -> str:
        return (
            f"{self.title} (node {self.node_id}, {self.class_type}): {self.input} is made by the "
            f"browser when a job is queued; {self.instead}"
        )


def browser_only_inputs(
    prompt: Mapping[str, Mapping[str, Any]], object_info: Mapping[str, Any]
) -> list[BrowserInput]:
    """The inputs of a prompt that a browser would have filled in and that are empty. Pure."""
    definitions = read(object_info)
    return [
        BrowserInput(
            node_id=node_id,
            class_type=node["class_type"],
            title=str(node.get("_meta", {}).get("title") or node["class_type"]),
            input=widget.name,
            instead=_INSTEAD[widget.type],
        )
        for node_id, node in prompt.items()
        if "class_type" in node
        for widget in _made_by_browser(node["class_type"], definitions)
        if not node["inputs"].get(widget.name)
        # An empty drawing on a picture is the picture.
        and not (widget.type == "PAINTER" and node["inputs"].get("image"))
    ]


def _made_by_browser(class_type: str, definitions: Definitions) -> Iterator[Widget]:
    definition = definitions.get(class_type)
    widgets = definition.parts.widgets if definition else ()
    return (widget for widget in widgets if widget.type in _INSTEAD)
