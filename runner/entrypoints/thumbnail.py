"""A workflow's picture in the template browser: what goes in, and the film that comes out. Drawn from the file."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from runner import parameters, workflow
from runner.errors import WorkflowError
from runner.shape import mapping, sequence
from runner.workflow import Document

SIZE = 512  # pixels; the browser shows squares
_SCALE = 2  # drawn larger, so that edges are smooth
_BACKGROUNDS = {"wan": "#2c2550", "ltx2": "#173f45", "mochi": "#4a3417", "multitalk": "#4b2440"}
_OTHER = "#2b3440"
_INK, _PAPER, _TILE = "#f4f1e8", "#00000055", "#ffffff1c"
_SKIES = (("#f4be78", "#d23c28"), ("#78bef5", "#fae65a"), ("#1c1e46", "#ebebe1"))  # sky, disc
_SHOWN = ("image", "video", "keyframes", "speakers", "audio", "text")
Box = tuple[float, float, float, float]  # left, top, right, bottom


def draw(document: Document) -> Image.Image:
    """A square picture. Needs nothing of the workflow: a broken one gets a plain film."""
    kinds = _kinds(document)
    speaks = bool({"audio", "speakers"} & {*kinds})
    name = str(workflow.info(document).get("name") or "")
    pen = _Pen(_BACKGROUNDS.get(name.partition("-")[0], _OTHER))
    for box, kind in zip(_row(len(kinds)), kinds, strict=True):
        pen.tile(box, kind, speaks=speaks)
    pen.arrow(256, 208)
    pen.film(
        speaks=speaks, changes=not {"image", "video"} & {*kinds}, sounds=speaks or _sounds(document)
    )
    return pen.picture()


def _kinds(document: Document) -> list[str]:
    """What callers give, most telling first: what they must, and what the form begins with."""
    try:
        found = parameters.read(document)
    except WorkflowError:
        return ["text"]
    kinds = {p.kind for p in found if p.required} | {p.kind for p in found[:1]}
    return [kind for kind in _SHOWN if kind in kinds] or ["text"]


def _sounds(document: Document) -> bool:
    slots = (
        mapping(slot)
        for node in map(mapping, sequence(document.get("nodes")))
        if "Video" in str(node.get("type"))
        for slot in sequence(node.get("inputs"))
    )
    return any(slot.get("name") == "audio" and slot.get("link") is not None for slot in slots)


def _row(count: int) -> list[Box]:
    side, gap = 128, 20
    left = (SIZE - count * side - (count - 1) * gap) / 2
    return [(x := left + i * (side + gap), 52, x + side, 52 + side) for i in range(count)]


class _Pen:
    """Draws in units of the finished picture."""

    def __init__(self, background: str) -> None:
        self._image = Image.new("RGB", (SIZE * _SCALE, SIZE * _SCALE), background)
        self._draw = ImageDraw.Draw(self._image, "RGBA")

    def picture(self) -> Image.Image:
        return self._image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)

    def box(self, box: Box, fill: str, radius: float = 0) -> None:
        self._draw.rounded_rectangle([v * _SCALE for v in box], radius * _SCALE, fill)

    def disc(self, x: float, y: float, wide: float, high: float, fill: str) -> None:
        around = (x - wide, y - high, x + wide, y + high)
        self._draw.ellipse([v * _SCALE for v in around], fill)

    def tile(self, box: Box, kind: str, *, speaks: bool) -> None:
        self.box(box, _TILE, 14)
        left, top, right, bottom = box
        inside = (left + 14, top + 14, right - 14, bottom - 14)
        if kind == "text":
            for line, share in enumerate((1, 0.8, 0.92, 0.5)):
                y = inside[1] + 12 + line * 24
                self.box((inside[0], y, inside[0] + share * 100, y + 9), _INK, 4)
        elif kind in ("image", "video"):
            self.scene(inside, mouth=0.15 if speaks else None)
        elif kind == "keyframes":
            for number in range(3):
                x, y = left + 10 + number * 18, top + 14 + number * 18
                self.scene((x, y, x + 72, y + 62), light=number, sun=number)
        elif kind == "speakers":
            for y in (top + 36, bottom - 36):
                self.wave((inside[0], y - 18, inside[2], y + 18), bars=11)
        else:
            self.wave(inside, bars=11)

    def wave(self, box: Box, *, bars: int) -> None:
        left, top, right, bottom = box
        step = (right - left) / bars
        for bar in range(bars):
            high = (bottom - top) / 2 * (0.2 + 0.8 * abs(math.sin(bar * 1.9 + 0.6)))
            x, y = left + (bar + 0.5) * step, (top + bottom) / 2
            self.box((x - step * 0.28, y - high, x + step * 0.28, y + high), _INK, step * 0.28)

    def scene(self, box: Box, *, light: int = 0, sun: int = 0, mouth: float | None = None) -> None:
        """A disc over a sea; or, given a mouth (how far it is open, 0 to 1), a person."""
        left, top, right, bottom = box
        wide, high = right - left, bottom - top
        sky, disc = _SKIES[light]
        self.box(box, sky, 8)
        if mouth is None:
            x, y = left + wide * (0.25, 0.5, 0.75)[sun], top + high * (0.5, 0.28, 0.45)[sun]
            self.disc(x, y, wide * 0.13, wide * 0.13, disc)
            self.box((left, top + high * 0.7, right, bottom), "#1e466e99", 8)
            return
        x, y = left + wide / 2, top + high * 0.4
        self.box((x - wide * 0.32, top + high * 0.74, x + wide * 0.32, bottom), "#5a2f3a", 12)
        self.disc(x, y, wide * 0.21, wide * 0.25, "#ffe3c4")
        for side in (-1, 1):
            self.disc(x + side * wide * 0.08, y - wide * 0.04, wide * 0.024, wide * 0.03, "#40242c")
        self.disc(x, y + wide * 0.11, wide * 0.07, wide * (0.014 + 0.06 * mouth), "#8c2f34")

    def arrow(self, x: float, y: float) -> None:
        points = [(x - 16, y), (x + 16, y), (x, y + 20)]
        self._draw.polygon([(a * _SCALE, b * _SCALE) for a, b in points], _INK)

    def film(self, *, speaks: bool, changes: bool, sounds: bool) -> None:
        top = 256 if sounds else 280
        self.box((24, top, 488, top + 164), _PAPER, 12)
        for hole in range(16):
            for y in (top + 9, top + 145):
                self.box((38 + hole * 28, y, 52 + hole * 28, y + 10), "#ffffff55", 3)
        mouths: Sequence[float | None] = (0.1, 1.0, 0.45) if speaks and not changes else (None,) * 3
        for number, mouth in enumerate(mouths):
            left = 36 + number * 149
            light = number if changes else 0
            self.scene(
                (left, top + 28, left + 142, top + 136), light=light, sun=number, mouth=mouth
            )
        if sounds:
            self.wave((36, top + 180, 476, top + 222), bars=44)
