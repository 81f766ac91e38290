"""Widget values: what `widgets_values` means for a node's live list of widgets. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.graph.definitions import NO_VALUE, Definition, Parts, Widget
from runner.shape import sequence


@dataclass(frozen=True, slots=True)
class Filled:
    """A widget with its value."""

    widget: Widget
    value: Any
    branch: Parts | None = None  # what the value of a dynamic combo has brought
    rebuilt: bool = False  # the value was set, so the branch was made anew

    @property
    def name(self) -> str:
        return self.widget.name


def fill(
    definition: Definition, stored: Sequence[Any] | Mapping[str, Any] | None
) -> tuple[Filled, ...]:
    """A node's widgets with the values that the file stores for them.

    Values are taken as they are: neither repaired nor coerced nor checked against what the server
    offers. A missing control_after_generate shifts all that follow, as it does in the editor.
    """
    widgets = definition.parts.widgets
    if isinstance(stored, Mapping):
        filled = _by_name(widgets, stored)
    elif definition.type == "CustomCombo":
        filled = _custom_combo(widgets, stored or ())
    else:
        filled = _in_order(widgets, migrate(definition, stored or ()))
    return tuple(_without_old_prefix(definition.type, item) for item in filled)


def migrate(definition: Definition, stored: Sequence[Any]) -> Sequence[Any]:
    """Stored values without those for forceInput inputs, which had a widget before 1.16.

    The length alone tells whether a file is that old.
    """
    if len(definition.forced) != len(stored):
        return stored
    return [value for value, forced in zip(stored, definition.forced, strict=True) if not forced]


def unknown_widgets(stored: Sequence[Any] | Mapping[str, Any] | None) -> tuple[Filled, ...]:
    """The widgets that the editor makes for a node of unknown type: one for each stored value."""
    return tuple(
        Filled(Widget(f"UNKNOWN_{index}" if index else "UNKNOWN", "unknown"), _as_text(value))
        for index, value in enumerate(sequence(stored))
    )


def _in_order(widgets: Sequence[Widget], stored: Sequence[Any]) -> list[Filled]:
    """Positional, live: a dynamic combo's value puts its widgets next in the row."""
    values = iter(stored)
    row = [(widget, False) for widget in reversed(widgets)]  # (widget, made by a set value)
    filled: list[Filled] = []
    while row:
        widget, made = row.pop()
        value = next(values, NO_VALUE) if widget.stored else NO_VALUE
        item = _set(widget, value, made=made)
        filled.append(item)
        if item.branch is not None:
            row += [(sub, made or item.rebuilt) for sub in reversed(item.branch.widgets)]
    return filled


def _by_name(widgets: Sequence[Widget], stored: Mapping[str, Any]) -> list[Filled]:
    """Packs that store an object assign it by name, in JavaScript of their own."""
    filled: list[Filled] = []
    for widget in widgets:
        item = _set(widget, stored.get(widget.name, NO_VALUE), made=False)
        filled.append(item)
        if item.branch is not None:
            filled += _by_name(item.branch.widgets, stored)
    return filled


def _set(widget: Widget, value: Any, *, made: bool) -> Filled:
    if made and widget.dynamic_prompt:
        # The dynamic-prompts extension sees a node's widgets only once, when the node is made.
        widget = replace(widget, dynamic_prompt=False)
    given = value is not NO_VALUE
    value = value if given else widget.default
    if (value is None or value is NO_VALUE) and widget.choices:
        value, given = widget.choices[0], True
    if value is None and widget.text_area:
        value = ""
    if widget.branches is None:
        return Filled(widget, value)
    make = widget.branches.get(value) if isinstance(value, str) else None
    return Filled(widget, value, branch=make() if make else Parts(), rebuilt=given)


def _custom_combo(widgets: Sequence[Widget], stored: Sequence[Any]) -> list[Filled]:
    """A combo whose choices are its option widgets: a filled last option brings an empty next one.

    The index that is sent is where the choice stands among them; the stored one is ignored.
    """
    choice, index, first = widgets
    options: list[Any] = []
    for value in stored[2:]:
        options.append(value)
        if not value:
            break
    if not options or options[-1]:
        options.append("")
    chosen = stored[0] if stored else NO_VALUE
    if chosen is None:
        chosen = next((_as_text(option) for option in options if option), None)
    place = next((i for i, option in enumerate(options) if _same(option, chosen)), -1)
    names = [f"option{number}" for number in range(1, len(options) + 1)]
    return [
        Filled(choice, chosen),
        Filled(index, place),
        *(
            Filled(replace(first, name=name), value)
            for name, value in zip(names, options, strict=True)
        ),
    ]


def _without_old_prefix(node_type: str, item: Filled) -> Filled:
    """Files from the first months of ComfyUI have sampler names like `sample_euler`."""
    if node_type not in ("KSampler", "KSamplerAdvanced") or item.name != "sampler_name":
        return item
    if not isinstance(item.value, str):
        return item
    return replace(item, value=item.value.removeprefix("sample_"))


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _as_text(value: Any) -> Any:
    if isinstance(value, str | int | float):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
