"""What a workflow needs: model files, and which of them this ComfyUI lacks; node packs. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import WorkflowError
from runner.shape import mapping, sequence
from runner.workflow import Document


@dataclass(frozen=True)
class Model:
    """A model file as a loader node's `properties.models` names it."""

    name: str
    directory: str  # ComfyUI's models folder: diffusion_models, vae, …
    url: str | None = None
    hash: str | None = None
    hash_type: str | None = None


def needed(document: Document) -> tuple[Model, ...]:
    """Every model that the file names, subgraphs included, each once."""
    definitions = sequence(mapping(document.get("definitions")).get("subgraphs"))
    graphs = map(mapping, [document, *definitions])
    listed = [
        Model(
            str(entry.get("name")),
            str(entry.get("directory")),
            entry.get("url"),
            entry.get("hash"),
            entry.get("hash_type"),
        )
        for graph in graphs
        for node in map(mapping, sequence(graph.get("nodes")))
        for entry in map(mapping, sequence(mapping(node.get("properties")).get("models")))
    ]
    return tuple({(m.directory, m.name): m for m in listed}.values())


def packs(document: Document) -> tuple[str, ...]:
    """The node packs that the file's nodes come from, as `name version`, sorted."""
    definitions = sequence(mapping(document.get("definitions")).get("subgraphs"))
    found: set[str] = set()
    for graph in map(mapping, [document, *definitions]):
        for node in map(mapping, sequence(graph.get("nodes"))):
            properties = mapping(node.get("properties"))
            name = properties.get("cnr_id") or properties.get("aux_id")
            if name:
                found.add(f"{name} {properties.get('ver') or ''}".strip())
    return tuple(sorted(found))


def require(
    prompt: Mapping[str, Mapping[str, Any]],
    object_info: Mapping[str, Any],
    document: Document,
) -> None:
    """Raises WorkflowError that names every model file the prompt loads and ComfyUI does not have."""
    known = {model.name: model for model in needed(document)}
    missing = [
        known[value]
        for node in prompt.values()
        for value, offered in _choices(node, object_info)
        if value in known
        and not {value, *other_names(node)} & set(offered)
        and node["inputs"].get("strength") != 0  # such a LoRA is not loaded
    ]
    if missing:
        raise WorkflowError(
            "model files are missing:\n"
            + "\n".join(f"  {_where(m)}" for m in dict.fromkeys(missing)),
            details={"missing_models": [vars(m) for m in dict.fromkeys(missing)]},
        )


def other_names(node: Mapping[str, Any]) -> tuple[str, ...]:
    """What else an API node's file may be called: the lines of its input `also`.

    A line is a file name, or `name = file`, which lets the node take that name.
    """
    lines = str(mapping(node["inputs"]).get("also") or "").splitlines()
    return tuple(part.strip() for line in lines for part in line.split(" = ") if part.strip())


def _where(model: Model) -> str:
    source = f"; download it from {model.url}" if model.url else ""
    return f"{model.name} belongs in models/{model.directory}/{source}"


def _choices(
    node: Mapping[str, Any], object_info: Mapping[str, Any]
) -> Iterator[tuple[str, Sequence[Any]]]:
    """Each literal that a node takes from a list, with that list."""
    declared = mapping(mapping(object_info.get(node["class_type"])).get("input"))
    specs = {**mapping(declared.get("required")), **mapping(declared.get("optional"))}
    for name, value in mapping(node["inputs"]).items():
        kind, options = (*sequence(specs.get(name)), None, None)[:2]
        offered = [*sequence(kind), *sequence(mapping(options).get("options"))]
        if isinstance(value, str) and (offered or isinstance(kind, list) or kind == "COMBO"):
            yield value, offered
