"""How a page of help looks: its sections as two columns, as wide as the terminal, without imports that cost."""

import os
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import TextIO, TypeAlias

Row: TypeAlias = tuple[str, str]  # a term, what it means
Section: TypeAlias = tuple[str, Sequence[Row]]

WIDEST = 100  # columns; longer lines are hard to read
NARROWEST = 40
_SHORT, _LONGEST = 14, 34  # columns of a term
_QUOTED = r"""(?:[^\s"']|"[^"]*"|'[^']*')+"""  # a shell's word
_WORD = re.compile(rf"-[-\w]+ (?!-){_QUOTED}|{_QUOTED}")  # an option stays with its value
_BOLD, _CYAN, _DIM, _PLAIN = "\033[1m", "\033[36m", "\033[2m", "\033[0m"


def say(page_of: Callable[[int, bool], str], stream: TextIO) -> None:
    """Write a page as it fits a stream."""
    stream.write(page_of(width_of(stream), coloured(stream)))


def width_of(stream: TextIO) -> int:
    """Columns of a page."""
    return min(max(terminal_width(stream), NARROWEST), WIDEST)


def terminal_width(stream: TextIO) -> int:
    """Columns: what COLUMNS says, else the terminal, else 80."""
    text = os.environ.get("COLUMNS", "")
    try:
        return int(text) if text.isdigit() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal
        return 80


def coloured(stream: TextIO) -> bool:
    """Whether a stream takes colours: https://no-color.org, https://force-color.org."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def page(
    usage: str, description: str, sections: Sequence[Section], *, width: int, colour: bool
) -> str:
    """Usage, then the description, then each section that has rows. Pure.

    A paragraph of the description that is indented is shell: its lines are broken as a shell takes
    them, and those with a `#` are dim.
    """
    style = _style if colour else _unstyled
    parts = [_usage(usage, width, style)]
    paragraphs = textwrap.dedent(description).strip("\n").split("\n\n") if description else []
    parts += [_paragraph(text, width, style) for text in paragraphs]
    shown = [section for section in sections if section[1]]
    widths = [max(len(term) for term, _ in rows) for _, rows in shown]
    short = max((w for w in widths if w <= _SHORT), default=0)  # such sections share a column
    for section, own in zip(shown, widths, strict=True):
        column = min(short if own <= _SHORT else own, _LONGEST, width * 2 // 5)
        parts.append(_section(section, column, width, style))
    return "\n\n".join(parts) + "\n"


def _usage(usage: str, width: int, style: Callable[[str, str], str]) -> str:
    lines = textwrap.wrap(usage, width - 9, subsequent_indent="  ", break_long_words=False)
    return style("Usage:", _BOLD) + "  " + "\n         ".join(lines)


def _paragraph(text: str, width: int, style: Callable[[str, str], str]) -> str:
    if not text.startswith("    "):
        return textwrap.fill(" ".join(text.split()), width)
    return "\n".join(_shell(line.strip(), width, style) for line in text.splitlines())


def _shell(line: str, width: int, style: Callable[[str, str], str]) -> str:
    if line.startswith("#"):
        return "\n".join(
            f"  {style(part, _DIM)}"
            for part in textwrap.wrap(line, width - 2, subsequent_indent="# ")
        )
    parts = [""]
    for word in _WORD.findall(line):
        if parts[-1] and len(parts[-1]) + 1 + len(word) > width - 8:
            parts.append("")
        parts[-1] = f"{parts[-1]} {word}".lstrip()
    return " \\\n".join(
        f"{'      ' if place else '  '}{style(part, _CYAN)}" for place, part in enumerate(parts)
    )


def _section(section: Section, column: int, width: int, style: Callable[[str, str], str]) -> str:
    title, rows = section
    lines = [style(title, _BOLD)]
    for term, text in rows:
        wrapped = textwrap.wrap(text, width - column - 4, break_on_hyphens=False) or [""]
        gap = " " * (column - len(term))
        first = f"  {style(term, _CYAN)}"
        if len(term) > column:  # the text goes below
            lines.append(first)
        else:
            lines.append(f"{first}{gap}  {wrapped.pop(0)}".rstrip())
        lines += [f"{' ' * (column + 4)}{part}" for part in wrapped]
    return "\n".join(lines)


def _style(text: str, code: str) -> str:
    return f"{code}{text}{_PLAIN}"


def _unstyled(text: str, _: str) -> str:
    return text
