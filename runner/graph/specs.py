"""What a node's inputs take, as its definition says: type, range, choices. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.shape import mapping, sequence

_DYNAMIC = ("COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3", "COMFY_DYNAMICSLOT_V3")
_UPLOADS = ("image_upload", "video_upload", "audio_upload", "mesh_upload")


@dataclass(frozen=True)
class Spec:
    """One input of a node definition."""

    name: str
    type: str  # COMBO for every kind of list
    options: Mapping[str, Any]
    required: bool
    offered: tuple[Any, ...] | None = None  # of a combo
    listed: bool = False  # an old combo, declared by its list: only lists and loose types fit it

    @property
    def is_plain(self) -> bool:
        """Whether the input stands in the prompt under its own name."""
        return self.type not in _DYNAMIC

    @property
    def uploads(self) -> bool:
        """Whether its choices are files of ComfyUI's input folder."""
        return any(self.options.get(flag) for flag in _UPLOADS)

    def within(self, value: float) -> bool:
        low, high = self.options.get("min"), self.options.get("max")
        return (low is None or value >= low) and (high is None or value <= high)

    @property
    def range_text(self) -> str:
        return f"{self.options.get('min', '-∞')} and {self.options.get('max', '∞')}"

    def takes(self, given: Any) -> bool:
        """Whether an output of a type may be linked to it, as the server decides it."""
        given_types, wanted = _types(given), _types(self.type)
        if "*" in given_types | wanted or any("MATCHTYPE" in t for t in given_types | wanted):
            return True
        if self.listed and given == "COMBO":
            return False
        return bool(given_types & wanted)


def specs_of(object_info: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Spec]:
    """The inputs of an API node as its definition and its dynamic combos' choices make them."""
    declared = mapping(mapping(object_info.get(str(node.get("class_type")))).get("input"))
    yield from _specs(declared, mapping(node.get("inputs")), prefix="")


def spec_of(object_info: Mapping[str, Any], node: Mapping[str, Any], name: str) -> Spec | None:
    """The input of that name; None if the definition has none."""
    return next((spec for spec in specs_of(object_info, node) if spec.name == name), None)


def _specs(declared: Mapping[str, Any], inputs: Mapping[str, Any], prefix: str) -> Iterator[Spec]:
    for section in ("required", "optional"):
        for name, raw in mapping(declared.get(section)).items():
            spec = _spec(prefix + name, sequence(raw), required=section == "required")
            yield spec
            if spec.type == "COMFY_DYNAMICCOMBO_V3":
                chosen = inputs.get(spec.name)
                for option in map(mapping, sequence(spec.options.get("options"))):
                    if option.get("key") == chosen:
                        yield from _specs(mapping(option.get("inputs")), inputs, f"{spec.name}.")


def _spec(name: str, raw: Sequence[Any], *, required: bool) -> Spec:
    kind: Any = raw[0] if raw else "UNKNOWN"
    options = mapping(raw[1] if len(raw) > 1 else None)
    if isinstance(kind, list):
        return Spec(name, "COMBO", options, required, tuple(sequence(kind)), listed=True)  # pyright: ignore[reportUnknownArgumentType]
    offered = None
    if kind == "COMBO" and not options.get("remote") and not options.get("multiselect"):
        offered = tuple(sequence(options.get("options")))
    return Spec(name, str(kind), options, required, offered)


def _types(kind: Any) -> set[str]:
    return {"COMBO"} if isinstance(kind, list) else {t.strip() for t in str(kind).split(",")}
