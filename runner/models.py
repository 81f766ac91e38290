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
    listed = [model for _, models in _loaders(document) for model in models]
    return tuple({(m.directory, m.name): m for m in listed}.values())


def other_files(document: Document) -> Mapping[Model, tuple[str, ...]]:
    """What a model's file may be called beside its name, as the widget `also` of its node says."""
    found: dict[Model, dict[str, None]] = {}
    for node, models in _loaders(document):
        lines = str(_widget(node, "also") or "").splitlines()
        for model in models:
            for line in lines:
                named, _, file = line.rpartition(" = ")
                if file.strip() and named.strip() in ("", model.name):
                    found.setdefault(model, {})[file.strip()] = None
    return {model: tuple(names) for model, names in found.items()}


def choices(document: Document) -> frozenset[Model]:
    """The models that the file does not load as it stands: their nodes can load several."""
    listed = [(node, models) for node, models in _loaders(document)]
    loaded = {m for node, models in listed for m in models if len(models) == 1 or m.name in _values(node)}  # fmt: skip
    return frozenset(m for _, models in listed for m in models if m not in loaded)


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
        model
        for node in prompt.values()
        if node["inputs"].get("strength") != 0  # such a LoRA is not loaded
        for value, offered in _choices(node, object_info)
        if (model := _absent(names_of(value, node), offered, known))
    ]
    if missing:
        raise WorkflowError(
            "model files are missing:\n"
            + "\n".join(f"  {_where(m)}" for m in dict.fromkeys(missing)),
            details={"missing_models": [vars(m) for m in dict.fromkeys(missing)]},
        )


def names_of(value: str, node: Mapping[str, Any]) -> tuple[str, ...]:
    """The files that a name in an API node may stand for: its own, then those in its input `also`.

    A line there is a file, or `name = file`: that one counts for this name only.
    """
    found = [value]
    for line in str(mapping(node["inputs"]).get("also") or "").splitlines():
        left, equals, right = (part.strip() for part in line.partition(" = "))
        found += [right] if equals and left == value else [left] if not equals else []
    return tuple(name for name in dict.fromkeys(found) if name)


def _absent(
    names: Sequence[str], offered: Sequence[Any], known: Mapping[str, Model]
) -> Model | None:
    """The model that the names stand for, where none of them is on offer."""
    if any(name in offered for name in names):
        return None
    return next((known[name] for name in names if name in known), None)


def _loaders(document: Document) -> Iterator[tuple[Mapping[str, Any], tuple[Model, ...]]]:
    """Each node that names models, subgraphs included, with them."""
    definitions = sequence(mapping(document.get("definitions")).get("subgraphs"))
    for graph in map(mapping, [document, *definitions]):
        for node in map(mapping, sequence(graph.get("nodes"))):
            entries = sequence(mapping(node.get("properties")).get("models"))
            if entries:
                yield node, tuple(map(_model, map(mapping, entries)))


def _model(entry: Mapping[str, Any]) -> Model:
    optional = (entry.get(key) for key in ("url", "hash", "hash_type"))
    said = (str(value) if value else None for value in optional)
    return Model(str(entry.get("name")), str(entry.get("directory")), *said)


def _values(node: Mapping[str, Any]) -> Sequence[Any]:
    values = node.get("widgets_values")
    return list(mapping(values).values()) or sequence(values)


def _widget(node: Mapping[str, Any], name: str) -> object:
    """A widget's value; None where the file has none."""
    values = node.get("widgets_values")
    if mapping(values):
        return mapping(values).get(name)
    slots = (mapping(slot) for slot in sequence(node.get("inputs")))
    names = [slot.get("name") for slot in slots if slot.get("widget")]
    place = names.index(name) if name in names else len(sequence(values))
    return next(iter(sequence(values)[place : place + 1]), None)


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
