"""Pictures in a terminal, in the way that it takes them, as far as its environment tells."""

import base64
import io
import os
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import TextIO

from PIL import Image

from runner.entrypoints import helping

WIDEST = 120  # columns of a picture
_KITTY_CHUNK = 4096  # bytes; more are not taken at once
_CELL = 10  # pixels of a column, about: terminals seldom say


class Way(Enum):
    KITTY = "kitty"  # https://sw.kovidgoyal.net/kitty/graphics-protocol
    ITERM = "iterm"  # https://iterm2.com/documentation-images.html
    SIXEL = "sixel"  # VT340, in 255 colours
    BLOCKS = "blocks"  # two coloured halves a character


def way_of(environment: Mapping[str, str]) -> Way | None:
    """How the terminal behind an environment shows pictures; None if nothing says it can. Pure."""
    said = {name: environment.get(name, "") for name in ("TERM", "TERM_PROGRAM", "LC_TERMINAL")}
    term, program = said["TERM"], said["TERM_PROGRAM"]
    # Through a multiplexer the protocols do not come: it is the terminal then.
    if not environment.get("TMUX") and not term.startswith(("screen", "tmux")):
        if environment.get("KITTY_WINDOW_ID") or term in ("xterm-kitty", "xterm-ghostty"):
            return Way.KITTY
        if program == "ghostty":
            return Way.KITTY
        if program in ("iTerm.app", "WezTerm", "mintty") or said["LC_TERMINAL"] == "iTerm2":
            return Way.ITERM
        if term.startswith(("foot", "mlterm", "contour", "yaft")):
            return Way.SIXEL
    coloured = environment.get("COLORTERM") in ("truecolor", "24bit")
    return Way.BLOCKS if coloured and not environment.get("NO_COLOR") else None


def show(picture: Path, stream: TextIO) -> None:
    """The picture as wide as the terminal; nothing where the stream is none, or it cannot."""
    way = way_of(os.environ) if stream.isatty() else None
    if way is None:
        return
    columns = min(helping.terminal_width(stream), WIDEST)
    with Image.open(picture) as opened:
        stream.write(f"{drawn(opened.convert('RGB'), way, columns)}\n")
    stream.flush()


def drawn(picture: Image.Image, way: Way, columns: int) -> str:
    """What a terminal is sent to show a picture so many columns wide. Pure."""
    match way:
        case Way.KITTY:
            return "".join(_kitty(_png(picture), columns))
        case Way.ITERM:
            return _iterm(_png(picture), columns)
        case Way.SIXEL:
            return _sixel(_scaled(picture, min(columns * _CELL, picture.width)))
        case Way.BLOCKS:
            return _blocks(_scaled(_folded(picture), columns))


def _kitty(png: bytes, columns: int) -> Iterator[str]:
    data = base64.standard_b64encode(png).decode()
    pieces = [data[i : i + _KITTY_CHUNK] for i in range(0, len(data), _KITTY_CHUNK)]
    for place, piece in enumerate(pieces):
        more = int(place < len(pieces) - 1)
        control = f"a=T,f=100,q=2,c={columns},m={more}" if place == 0 else f"m={more}"
        yield f"\033_G{control};{piece}\033\\"


def _iterm(png: bytes, columns: int) -> str:
    data = base64.standard_b64encode(png).decode()
    return f"\033]1337;File=inline=1;size={len(png)};width={columns};preserveAspectRatio=1:{data}\a"


def _sixel(picture: Image.Image) -> str:
    """Rows of six pixels: for each colour in them, which of the six have it."""
    picture = picture.quantize(255)
    palette = picture.getpalette() or []
    pixels, (width, height) = picture.tobytes(), picture.size
    parts = [f'\033Pq"1;1;{width};{height}']
    parts += [
        f"#{n};2;{palette[3 * n] * 100 // 255};{palette[3 * n + 1] * 100 // 255};"
        f"{palette[3 * n + 2] * 100 // 255}"
        for n in range(len(palette) // 3)
    ]
    for top in range(0, height, 6):
        layers: dict[int, bytearray] = {}
        for bit, y in enumerate(range(top, min(top + 6, height))):
            for x, colour in enumerate(pixels[y * width : (y + 1) * width]):
                layers.setdefault(colour, bytearray(width))[x] |= 1 << bit
        drawn_layers = (f"#{colour}{_repeats(bits)}" for colour, bits in layers.items())
        parts.append("$".join(drawn_layers) + "-")
    return "".join((*parts, "\033\\"))


def _repeats(bits: bytearray) -> str:
    """Sixel characters, with runs of four or more as a count."""
    return "".join(
        character * count if count < 4 else f"!{count}{character}"
        for character, count in ((chr(63 + bit), len(list(run))) for bit, run in groupby(bits))
    )


def _blocks(picture: Image.Image) -> str:
    """An upper half block a character: its colour above, the background's below."""
    width, height = picture.size
    pixels = picture.tobytes()

    def colour(x: int, y: int) -> str:
        at = 3 * (min(y, height - 1) * width + x)
        return ";".join(map(str, pixels[at : at + 3]))

    return "\n".join(
        "".join(f"\033[38;2;{colour(x, y)};48;2;{colour(x, y + 1)}m▀" for x in range(width))
        + "\033[0m"
        for y in range(0, height, 2)
    )


def _folded(picture: Image.Image) -> Image.Image:
    """A long strip in two rows: its right half under its left one."""
    width, height = picture.width // 2, picture.height
    if width < 2 * height:
        return picture
    folded = Image.new("RGB", (width, 2 * height))
    folded.paste(picture, (0, 0))
    folded.paste(picture, (-width, height))
    return folded


def _scaled(picture: Image.Image, width: int) -> Image.Image:
    return picture.resize((width, max(1, round(picture.height * width / picture.width))))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
