"""Pictures in terminals: who gets which kind, and that each can be read back."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from runner.entrypoints import terminal
from runner.entrypoints.pictures import with_sheets
from runner.entrypoints.terminal import Way, drawn, way_of
from runner.storage import destination_of, naming
from runner.storage.bucket import BucketStorage
from runner.storage.local import LocalStorage


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, Way.KITTY),
        ({"TERM": "xterm-ghostty"}, Way.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Way.ITERM),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Way.ITERM),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Way.ITERM),
        ({"TERM": "foot"}, Way.SIXEL),
        ({"TERM": "foot", "NO_COLOR": "1"}, Way.SIXEL),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, Way.BLOCKS),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, None),
        # A multiplexer passes no protocol on.
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1",
          "COLORTERM": "truecolor"}, Way.BLOCKS),
        ({"TERM": "screen", "LC_TERMINAL": "iTerm2"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "linux"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_environment_tells_how(environment: dict[str, str], way: Way | None) -> None:
    assert way_of(environment) == way


@pytest.fixture
def picture() -> Image.Image:
    """Four fields of plain colours, and a bar across them."""
    made = Image.new("RGB", (40, 24))
    for place, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))):
        made.paste(colour, (place * 10, 0, place * 10 + 10, 24))
    made.paste((0, 0, 0), (5, 7, 35, 9))  # no band of six rows is like its mirror image
    return made


def test_kitty_takes_it_in_pieces() -> None:
    noise = Image.effect_noise((200, 100), 90).convert("RGB")
    text = drawn(noise, Way.KITTY, 60)
    pieces = re.findall(r"\033_G([^;]*);([^\033]*)\033\\", text)
    assert "".join(f"\033_G{c};{d}\033\\" for c, d in pieces) == text
    assert len(pieces) > 2
    assert pieces[0][0] == "a=T,f=100,q=2,c=60,m=1"
    assert [control for control, _ in pieces[1:]] == [*["m=1"] * (len(pieces) - 2), "m=0"]
    assert max(len(data) for _, data in pieces) <= 4096
    sent = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in pieces))))
    assert sent.tobytes() == noise.tobytes()


def test_iterm_takes_a_file(picture: Image.Image) -> None:
    text = drawn(picture, Way.ITERM, 60)
    found = re.fullmatch(r"\033\]1337;File=inline=1;size=(\d+);width=60;\w+=1:(.*)\a", text)
    assert found
    data = base64.b64decode(found[2])
    assert len(data) == int(found[1])
    assert Image.open(io.BytesIO(data)).tobytes() == picture.tobytes()


def test_sixels_read_back_are_the_picture(picture: Image.Image) -> None:
    shown = read_sixels(drawn(picture, Way.SIXEL, 60))
    assert shown.size == picture.size
    for x in range(40):
        for y in range(24):
            assert shown.getpixel((x, y)) == picture.getpixel((x, y))


def read_sixels(text: str) -> Image.Image:
    """What a terminal does with them."""
    found = re.fullmatch(r'\033Pq"1;1;(\d+);(\d+)(.*)\033\\', text, re.DOTALL)
    assert found
    shown = Image.new("RGB", (int(found[1]), int(found[2])))
    palette: dict[int, Any] = {}
    colour, x, top = 0, 0, 0
    for part in re.findall(r"#\d+(?:;\d+)*|!\d+.|[?-~]|\$|-", found[3]):
        if part[0] == "#":
            number, *levels = map(int, part[1:].split(";"))
            colour = number
            if levels:
                palette[number] = tuple(round(level * 255 / 100) for level in levels[1:])
        elif part in "$-":
            x, top = 0, top + 6 * (part == "-")
        else:
            count = int(part[1:-1]) if part[0] == "!" else 1
            for bit in range(6):
                if ord(part[-1]) - 63 >> bit & 1:
                    shown.paste(palette[colour], (x, top + bit, x + count, top + bit + 1))
            x += count
    return shown


def test_blocks_are_two_pixels_a_character(picture: Image.Image) -> None:
    lines = drawn(picture, Way.BLOCKS, 40).split("\n")
    assert len(lines) == 12
    assert all(line.count("▀") == 40 and line.endswith("\033[0m") for line in lines)
    assert lines[0].startswith("\033[38;2;255;0;0;48;2;255;0;0m▀")


def test_nothing_is_drawn_into_a_file(
    picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-kitty")
    file = tmp_path / "sheet.png"
    picture.save(file)
    stream = io.StringIO()
    terminal.show(file, stream)
    assert stream.getvalue() == ""
    stream.isatty = lambda: True  # type: ignore[method-assign]
    terminal.show(file, stream)
    assert stream.getvalue().startswith("\033_G")


def test_a_strip_is_folded_into_two_rows() -> None:
    strip = Image.new("RGB", (400, 40), (255, 0, 0))
    strip.paste((0, 0, 255), (200, 0, 400, 40))
    lines = drawn(strip, Way.BLOCKS, 50).split("\n")
    assert len(lines) == 10
    assert "38;2;255;0;0" in lines[0] and "38;2;0;0;255" in lines[-1]


def test_a_video_that_goes_elsewhere_has_its_sheet_here(tmp_path: Path) -> None:
    class Bucket:
        got: list[str] = []

        def send(self, file: Path, key: str, content_type: str, *, overwrite: bool) -> None:
            assert file.is_file()
            self.got.append(key)

        def address(self, key: str, seconds: int | None) -> str:
            return f"s3://bucket/{key}"

    bucket: Any = Bucket()
    video, text = tmp_path / "clip.mp4", tmp_path / "job.json"
    make_video(video, frames=9)
    text.write_text("{}")
    plain = BucketStorage(bucket, naming.parse("{job_id}", {}), address="s3://bucket/{job_id}")
    storage = with_sheets(plain, tmp_path / "previews")
    assert destination_of(storage) == destination_of(plain)
    storage.put(video, "job-video.mp4", {"job_id": "job", "output": "video", "index": 0})
    storage.put(text, "job.json", {"job_id": "job"})
    assert bucket.got == ["job/job-video.mp4", "job/job.json"]
    (sheet,) = (tmp_path / "previews").iterdir()
    with Image.open(sheet) as opened:
        assert (sheet.name, opened.width) == ("job-video.png", 6 * (240 + 8) + 8)
        ground, ink = (
            opened.getpixel((4, 4)),
            opened.crop((8, opened.height - 20, 248, opened.height)),
        )
        assert ground == (24, 24, 24), "frames stand apart"
        assert len(ink.getcolors()) > 1, "the time stands below"
    here = LocalStorage(tmp_path)
    assert with_sheets(here, tmp_path) is here


def make_video(file: Path, *, frames: int) -> None:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
