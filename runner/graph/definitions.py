"""Node definitions (`/object_info`) as widgets and sockets, in the order in which the editor makes them. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

from runner.graph.document import type_name
from runner.shape import mapping, sequence

Spec: TypeAlias = tuple[str, Any, Mapping[str, Any]]  # name, raw type, options

NO_VALUE: Final = object()  # JavaScript's undefined: such a value is not written
_CONTROL = "control_after_generate"


@dataclass(frozen=True, slots=True)
class Widget:
    """A widget of a node: where its value is stored and whether it is sent to the server."""

    name: str
    type: str
    default: Any = None
    stored: bool = True  # has a place in widgets_values (litegraph: widget.serialize)
    sent: bool = True  # goes into the prompt (litegraph: widget.options.serialize)
    dynamic_prompt: bool = False
    choices: tuple[Any, ...] = ()  # of a combo, the first only: it stands in for null
    text_area: bool = False  # an HTML element, that takes null for an empty text
    socket_type: str | None = None  # type of the input slot beside it; None: it has none
    control: bool = False  # the spec itself asks for control_after_generate
    branches: "Mapping[str, Callable[[], Parts]] | None" = None  # of a dynamic combo


@dataclass(frozen=True, slots=True)
class Socket:
    """An input that only a link can fill."""

    name: str
    type: str
    saved_type: bool = False  # a match type: what the file says is what the link made of it
    forced: bool = False  # forceInput: an input that older files stored a widget value for


@dataclass(frozen=True, slots=True)
class Group:
    """An autogrow group: inputs `name.…` that are made as the earlier ones get linked."""

    name: str
    names: tuple[str, ...]  # of its inputs, in order, complete
    shown: int  # how many are there from the start
    row: int  # how many appear at once


@dataclass(frozen=True, slots=True)
class Parts:
    """What a list of input specs makes: widgets, sockets and groups, each in order."""

    widgets: tuple[Widget, ...] = ()
    sockets: tuple[Socket, ...] = ()
    groups: tuple[Group, ...] = ()
    slots: tuple[str, ...] = ()  # names of all input slots in the order of the specs


@dataclass(frozen=True, slots=True)
class Definition:
    """What the editor makes of a node type."""

    type: str
    title: str
    parts: Parts
    outputs: tuple[Socket, ...]
    forced: tuple[bool, ...] = field(default=())  # see widgets.migrate


class Definitions:
    """The node types of a server, each read when it is first asked for."""

    def __init__(self, object_info: Mapping[str, Any]) -> None:
        self._object_info = object_info
        self._read: dict[str, Definition | None] = {}

    def are_of(self, object_info: Mapping[str, Any]) -> bool:
        return self._object_info is object_info

    def get(self, node_type: str) -> Definition | None:
        """The definition of a node type; None if the server does not know it."""
        if node_type not in self._read:
            raw = self._object_info.get(node_type)
            self._read[node_type] = _definition(node_type, mapping(raw)) if raw else None
        return self._read[node_type]


def read(object_info: Mapping[str, Any]) -> Definitions:
    """The node types of `object_info`, which nobody changes; the same again for the same object."""
    global _latest
    latest = _latest
    if latest is None or not latest.are_of(object_info):
        _latest = latest = Definitions(object_info)
    return latest


_latest: Definitions | None = None  # a server is asked once and gets many jobs


def _definition(node_type: str, raw: Mapping[str, Any]) -> Definition:
    specs = [*_ordered_specs(raw), *_extension_specs(node_type, raw)]
    parts = _parts(specs, prefix="", node_type=node_type, in_order=False)
    last = tuple(_appended_widgets(node_type))
    return Definition(
        type=node_type,
        title=str(raw.get("display_name") or raw.get("name") or node_type),
        parts=Parts((*parts.widgets, *last), parts.sockets, parts.groups, parts.slots),
        outputs=tuple(_outputs(raw)),
        forced=tuple(_forced(_raw_specs(node_type, raw), {w.name for w in parts.widgets})),
    )


def _outputs(raw: Mapping[str, Any]) -> Iterator[Socket]:
    for value in sequence(raw.get("output")):
        kind = "COMBO" if isinstance(value, list) else type_name(value)
        matched = kind == "COMFY_MATCHTYPE_V3"
        yield Socket("", "*" if matched else kind, saved_type=matched)


def _ordered_specs(raw: Mapping[str, Any]) -> Iterator[Spec]:
    """Required inputs, then optional ones; input_order says in which order, where it says so."""
    inputs, order = mapping(raw.get("input")), mapping(raw.get("input_order"))
    for section in ("required", "optional"):
        specs = mapping(inputs.get(section))
        first = [name for name in sequence(order.get(section)) if name in specs]
        yield from (_spec(name, specs[name]) for name in dict.fromkeys([*first, *specs]))


def _raw_specs(node_type: str, raw: Mapping[str, Any]) -> Iterator[Spec]:
    """All inputs in the order in which they stand in the definition, whatever input_order says."""
    inputs = mapping(raw.get("input"))
    yield from (_spec(n, s) for n, s in mapping(inputs.get("required")).items())
    yield from _extension_specs(node_type, raw)
    yield from (_spec(n, s) for n, s in mapping(inputs.get("optional")).items())


def _spec(name: str, raw: Any) -> Spec:
    fields = sequence(raw)
    kind = fields[0] if fields else "UNKNOWN"
    return name, kind, mapping(fields[1]) if len(fields) > 1 else {}


def _parts(specs: list[Spec], *, prefix: str, node_type: str, in_order: bool) -> Parts:
    """What specs make. A node makes all sockets before any widget, a dynamic combo makes each
    input as it comes (`in_order`)."""
    made = [_one(prefix, spec, node_type) for spec in specs]
    # Groups are made with the sockets, so the widgets in them come before all others.
    grouped = [part for part in made if part.groups]
    single = [part for part in made if not part.groups]
    sorted_parts = made if in_order else [*grouped, *single]
    slots = [part for part in made if part.sockets or part.groups]
    slots += [part for part in made if not (part.sockets or part.groups)]
    return Parts(
        widgets=tuple(w for part in sorted_parts for w in part.widgets),
        sockets=tuple(s for part in made for s in part.sockets),
        groups=tuple(g for part in made for g in part.groups),
        slots=tuple(n for part in (made if in_order else slots) for n in part.slots),
    )


def _one(prefix: str, spec: Spec, node_type: str) -> Parts:
    name, raw_type, options = spec
    full = prefix + name
    kind = _kind(raw_type, options)
    if kind == "COMFY_AUTOGROW_V3":
        return _autogrow(full, options, node_type)
    forced = bool(options.get("forceInput"))
    make = _WIDGETS.get(kind)
    if make is None or forced:
        return _socket_part(full, raw_type, options, forced=forced)
    slot_type = None if options.get("socketless") else _slot_type(raw_type)
    # Older definitions have the list of choices in place of the type.
    choices = sequence(raw_type) or sequence(options.get("options"))
    widgets = tuple(make(_Context(full, kind, options, slot_type, node_type, choices)))
    return Parts(widgets=widgets, slots=() if slot_type is None else (full,))


def _socket_part(name: str, raw_type: Any, options: Mapping[str, Any], *, forced: bool) -> Parts:
    matched = raw_type == "COMFY_MATCHTYPE_V3"
    allowed = mapping(options.get("template")).get("allowed_types")
    kind = type_name(allowed) if matched else _slot_type(raw_type)
    return Parts(sockets=(Socket(name, kind, saved_type=matched, forced=forced),), slots=(name,))


def _kind(raw_type: Any, options: Mapping[str, Any]) -> str:
    return str(options.get("widgetType") or _slot_type(raw_type))


def _slot_type(raw_type: Any) -> str:
    return "COMBO" if isinstance(raw_type, list) else type_name(raw_type)


# --- autogrow ------------------------------------------------------------------------------------

_AUTOGROW_MAX = 100


def _autogrow(name: str, options: Mapping[str, Any], node_type: str) -> Parts:
    template = mapping(options.get("template"))
    inputs = mapping(template.get("input"))
    specs = [
        _spec(key, raw)
        for section in ("required", "optional")
        for key, raw in mapping(inputs.get(section)).items()
    ]
    shown = max(_count(template, "min", 1) + 1, 1) * len(specs)
    rows = [_autogrow_row(ordinal, specs, template) for ordinal in range(_length(template))]
    made = [_one(f"{name}.", spec, node_type) for row in rows for spec in row]
    first = made[:shown]
    names = tuple(n for part in made for n in part.slots)
    return Parts(
        widgets=tuple(w for part in first for w in part.widgets),
        sockets=tuple(s for part in made for s in part.sockets),
        groups=(Group(name, names, min(shown, len(names)), len(specs)),),
        slots=tuple(n for part in first for n in part.slots),
    )


def _length(template: Mapping[str, Any]) -> int:
    names = sequence(template.get("names"))
    return len(names) if names else _count(template, "max", _AUTOGROW_MAX)


def _count(template: Mapping[str, Any], key: str, default: int) -> int:
    value = template.get(key, default)
    return value if isinstance(value, int) else default


def _autogrow_row(ordinal: int, specs: list[Spec], template: Mapping[str, Any]) -> list[Spec]:
    names = sequence(template.get("names"))
    prefix = str(template.get("prefix") or "")
    if names:
        return [(str(names[ordinal]), kind, options) for _, kind, options in specs]
    if len(specs) == 1:
        return [(f"{prefix}{ordinal}", specs[0][1], specs[0][2])]
    return [(f"{key}{ordinal}", kind, options) for key, kind, options in specs]


# --- the widgets of each type --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Context:
    """What a widget is made from."""

    name: str
    kind: str
    options: Mapping[str, Any]
    slot_type: str | None
    node_type: str
    choices: Sequence[Any]  # of a combo

    def widget(self, default: Any, **more: Any) -> Widget:
        declared = self.options.get("default")
        value = default if declared is None else declared
        return Widget(self.name, self.kind, value, socket_type=self.slot_type, **more)


_Maker: TypeAlias = Callable[[_Context], Iterator[Widget]]


def _plain(default: Any, context: _Context) -> Iterator[Widget]:
    yield context.widget(default)


def _number(context: _Context) -> Iterator[Widget]:
    asked = context.options.get(_CONTROL)
    if asked is None:  # false switches it off, even for a seed
        asked = context.kind == "INT" and context.name in ("seed", "noise_seed")
    yield context.widget(0, control=bool(context.options.get(_CONTROL)))
    if asked:
        yield _control_widget(asked, context.options)


def _text(context: _Context) -> Iterator[Widget]:
    yield context.widget(
        "",
        dynamic_prompt=context.options.get("dynamicPrompts") is True,
        text_area=bool(context.options.get("multiline")),
    )


def _combo(context: _Context) -> Iterator[Widget]:
    options = context.options
    first = tuple(context.choices[:1])
    remote = bool(options.get("remote"))
    default = options.get("default") or (first[0] if first else None)
    if default is None:
        default = "Loading..." if remote else NO_VALUE
    if options.get("multi_select"):
        default = []
    asked = options.get(_CONTROL)
    yield Widget(
        context.name,
        "COMBO",
        default,
        choices=first,
        socket_type=context.slot_type,
        control=bool(asked),
    )
    if remote:
        yield Widget("Auto-refresh after generation", "toggle", default=False, sent=False)
    if remote and mapping(options["remote"]).get("refresh_button"):
        yield Widget("refresh", "button", "refresh")
    if asked:
        yield _control_widget(asked, options)
        if options.get("multi_select"):
            yield Widget("control_filter_list", "string", "", sent=False)


def _control_widget(asked: object, options: Mapping[str, Any]) -> Widget:
    prefix = f"{options['control_prefix']} " if options.get("control_prefix") else ""
    name = asked if isinstance(asked, str) else f"{prefix}{_CONTROL}"
    return Widget(name, "control", "fixed", sent=False)


def _dynamic_combo(context: _Context) -> Iterator[Widget]:
    branches = {
        str(mapping(option).get("key")): partial(_branch, context, mapping(option))
        for option in context.choices
    }
    keys = tuple(branches)
    # Its declared default is not used.
    yield Widget(
        context.name,
        "COMBO",
        keys[0] if keys else NO_VALUE,
        choices=keys[:1],
        socket_type=context.slot_type,
        branches=branches,
    )


def _branch(context: _Context, option: Mapping[str, Any]) -> Parts:
    inputs = mapping(option.get("inputs"))
    specs = [
        _spec(name, raw)
        for section in ("required", "optional")
        for name, raw in mapping(inputs.get(section)).items()
    ]
    return _parts(specs, prefix=f"{context.name}.", node_type=context.node_type, in_order=True)


def _bounding_box(context: _Context) -> Iterator[Widget]:
    fields = {"x": 0, "y": 0, "width": 512, "height": 512}
    yield context.widget(fields)
    box = mapping(context.options.get("default")) or fields
    yield from (Widget(key, "number", box.get(key), sent=False) for key in fields)


def _image_compare(context: _Context) -> Iterator[Widget]:
    yield Widget(context.name, context.kind, ["", ""], stored=False, socket_type=context.slot_type)


def _nested_default(key: str, default: Any, context: _Context) -> Iterator[Widget]:
    """Types whose default stands in the spec's own `options`."""
    value = mapping(context.options.get("options")).get(key) or default
    yield Widget(context.name, context.kind, value, socket_type=context.slot_type)


def _color(context: _Context) -> Iterator[Widget]:
    nested = mapping(context.options.get("options")).get("default")
    yield context.widget("#000000" if nested is None else nested)


_CURVE: Mapping[str, Any] = {"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"}
# These show their 3D view under this name, whatever the input is called.
_VIEWPORT_STATE_NODES = frozenset(
    {
        "Preview3DAdvanced",
        "Save3DAdvanced",
        "PreviewGaussianSplat",
        "PreviewPointCloud",
        "SaveGaussianSplat",
        "SavePointCloud",
    }
)


def _load_3d(context: _Context) -> Iterator[Widget]:
    """A view that the browser renders when the prompt is made; without one it is empty."""
    if context.node_type == "Load3D":
        yield Widget("upload 3d model", "button", "upload3dmodel")
        yield Widget("upload extra resources", "button", "uploadExtraResources")
        yield Widget("clear", "button", "clear")
    name = "viewport_state" if context.node_type in _VIEWPORT_STATE_NODES else "image"
    yield Widget(name, "LOAD_3D", "", socket_type=context.slot_type)


def _audio_record(context: _Context) -> Iterator[Widget]:
    yield Widget(context.name, "AUDIO_RECORD", "", socket_type=context.slot_type)
    yield Widget(context.name, "button", "", sent=False)


def _audio_ui(context: _Context) -> Iterator[Widget]:
    yield Widget(context.name, "audioUI", "", stored=False, sent=False, socket_type="AUDIO_UI")


def _upload_button(default: str, context: _Context) -> Iterator[Widget]:
    yield Widget(context.name, "button", default, sent=False, socket_type=context.kind)


_WIDGETS: Mapping[str, _Maker] = {
    "INT": _number,
    "FLOAT": _number,
    "BOOLEAN": partial(_plain, False),
    "STRING": _text,
    "COMBO": _combo,
    "MARKDOWN": partial(_plain, ""),
    "TEXTAREA": partial(_nested_default, "default", ""),
    "COLOR": _color,
    "COLORS": partial(_plain, []),
    "CURVE": partial(_plain, _CURVE),
    "RANGE": partial(_plain, {"min": 0.0, "max": 1.0}),
    "CHART": partial(_nested_default, "data", {}),
    "GALLERIA": partial(_nested_default, "images", []),
    "PAINTER": partial(_plain, ""),
    "BOUNDING_BOX": _bounding_box,
    "BOUNDING_BOXES": partial(_plain, []),
    "IMAGECOMPARE": _image_compare,
    "COMFY_DYNAMICCOMBO_V3": _dynamic_combo,
    "LOAD_3D": _load_3d,
    "LOAD_3D_ADVANCED": partial(_plain, ""),
    "PREVIEW_3D": partial(_plain, ""),
    "WEBCAM": partial(_plain, ""),
    "AUDIO_RECORD": _audio_record,
    "AUDIO_UI": _audio_ui,
    "IMAGEUPLOAD": partial(_upload_button, "image"),
    "AUDIOUPLOAD": partial(_upload_button, ""),
}


def makes_widget(kind: str) -> bool:
    """Does the editor have a widget for inputs of this type?"""
    return kind in _WIDGETS


# --- what the frontend's own extensions add to a definition --------------------------------------

_AUDIO_PLAYERS = frozenset(
    {
        "LoadAudio",
        "SaveAudio",
        "PreviewAudio",
        "SaveAudioMP3",
        "SaveAudioOpus",
        "SaveAudioAdvanced",
    }
)
_MEDIA_UPLOADS = ("image_upload", "animated_image_upload", "video_upload")


def _extension_specs(node_type: str, raw: Mapping[str, Any]) -> Iterator[Spec]:
    """Inputs that extensions add behind the server's own (beforeRegisterNodeDef)."""
    required = mapping(mapping(raw.get("input")).get("required"))
    specs = [_spec(name, value) for name, value in required.items()]
    if node_type in _AUDIO_PLAYERS:
        yield "audioUI", "AUDIO_UI", {}
    if any(
        _slot_type(kind) == "COMBO" and any(options.get(key) is True for key in _MEDIA_UPLOADS)
        for _, kind, options in specs
    ):
        yield "upload", "IMAGEUPLOAD", {}
    if any(name == "audio" and options.get("audio_upload") is True for name, _, options in specs):
        yield "upload", "AUDIOUPLOAD", {}
    if node_type in ("Preview3D", "SaveGLB"):
        yield "image", "PREVIEW_3D", {}
    if node_type == "Load3DAdvanced" and "viewport_state" not in required:
        yield "viewport_state", "LOAD_3D_ADVANCED", {}


def _appended_widgets(node_type: str) -> Iterator[Widget]:
    """Widgets that extensions add to a finished node (onNodeCreated)."""
    if node_type == "WebcamCapture":
        yield Widget("waiting for camera...", "button", "capture", sent=False)
    if node_type == "CustomCombo":
        yield Widget("index", "hidden", 0)
        yield Widget("option1", "string", "")


def _forced(specs: Iterator[Spec], widget_names: set[str]) -> Iterator[bool]:
    """For each value that a file from before frontend 1.16 stores: was it for a forceInput?"""
    for name, _, options in specs:
        forced = bool(options.get("forceInput"))
        if name in widget_names or forced:
            yield forced
            if options.get(_CONTROL):
                yield False
