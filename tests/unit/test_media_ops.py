"""Pictures, sounds, videos and keyframe lists of the pack, without ComfyUI."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from callsheet.ops import keyframes, media

from media_site import endless_flac, on_its_side

# --- rows of keyframes ----------------------------------------------------------------------------


def problems(rows: Any, **limits: Any) -> list[str]:
    text = rows if isinstance(rows, str) else json.dumps(rows)
    return keyframes.parse(text, **limits)[1]


def test_rows_and_what_they_leave_out() -> None:
    text = json.dumps(
        [{"image": "a.png"}, {"image": "b.png", "position": "", "strength": None},
         {"image": "c.png", "position": "last", "strength": 1}, {"image": "d.png", "position": 0.25}]
    )  # fmt: skip
    assert keyframes.parse(text) == (
        [
            keyframes.Row("a.png", None, 1.0),
            keyframes.Row("b.png", None, 0.8),
            keyframes.Row("c.png", "last", 1.0),
            keyframes.Row("d.png", 0.25, 0.8),
        ],
        [],
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"image": "a", "position": 1.5}], "row 1: position 1.5 is not between 0 and 1"),
        (
            [{"image": "a", "position": "middle"}],
            "row 1: position 'middle' is not first, last or a number between 0 and 1",
        ),
        ([{"image": "a", "position": True}], "row 1: position True is not a number"),
        ([{"image": "a", "strength": "high"}], "row 1: strength 'high' is not a number"),
        ([{"image": "a", "strength": -0.1}], "row 1: strength -0.1 is not between 0 and 1"),
        ('[{"image": "a", "strength": NaN}]', "row 1: strength nan is not a number"),
        ([{"image": ""}], "row 1: no image is chosen"),
        ([{"image": 7}], "row 1: image 7 is not the name of a file"),
        (
            [{"image": "a", "at": 1}],
            "row 1: 'at' is not one of image, position, strength",
        ),
        (["a.png"], "row 1: 'a.png' is not a row like"),
        ([{"image": "a"}] * 10, "10 keyframes; at most 9"),
        ([], "0 keyframes; at least 1"),
        ({"image": "a"}, "not a list of rows like"),
        ("[{", "not JSON: "),
        (
            [{"image": "a", "position": "first"}, {"image": "b", "position": 0}],
            "row 1 (first) and row 2 (0) are at the same place",
        ),
        (
            [{"image": "a", "position": 0.5}, {"image": "x"}, {"image": "b", "position": 0.5}],
            "row 1 (0.5) and row 3 (0.5) are at the same place",
        ),
        (
            [{"image": "a"}, {"image": "b", "position": 0}],
            "row 1 (no position: first) and row 2 (0) are at the same place",
        ),
        (
            [{"image": "a"}, {"image": "b", "position": 1}, {"image": "c"}],
            "row 2 (1) and row 3 (no position: last) are at the same place",
        ),
    ],
)
def test_a_row_says_what_is_wrong_with_it(rows: Any, message: str) -> None:
    (problem,) = problems(rows)
    assert problem.startswith(message)


def test_every_problem_at_once_by_row() -> None:
    rows = [
        {"image": "a.png", "position": 0.5},
        {"image": "gone.png", "position": 1.5, "strength": "high"},
        {"image": "c.png", "position": 0.5},
    ]
    missing = lambda name: f"no such image: {name}" if name == "gone.png" else None  # noqa: E731
    assert problems(rows, most=2, file_problem=missing) == [
        "3 keyframes; at most 2",
        "row 2: no such image: gone.png",
        "row 2: position 1.5 is not between 0 and 1",
        "row 2: strength 'high' is not a number",
        "row 1 (0.5) and row 3 (0.5) are at the same place",
    ]


def test_no_rows_are_not_given_where_nothing_is_required() -> None:
    assert problems("", required=False) == problems([], required=False) == []
    assert problems([{"image": "a"}], least=2, required=False) == ["1 keyframe; at least 2"]


# --- the frames they fall on ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("positions", "frames", "indexes"),
    [
        ([None], 121, [0]),
        ([None, None], 121, [0, 120]),
        ([None, None, None], 121, [0, 64, 120]),
        (["first", 0.5, "last"], 121, [0, 64, 120]),
        ([0.2, None, None, 0.8], 121, [24, 48, 72, 96]),
        (["last", "first"], 121, [120, 0]),
        ([0.3, None], 121, [40, 120]),
        ([None, 0.8], 121, [0, 96]),
        (["first", 0.5, "last"], 300, [0, 152, 299]),  # 299 is on no grid and stays
        (["first", 0.5, "last"], 9, None),
        (["last"], 1, [0]),
        (["first", "last"], 9, [0, 8]),
        (["first", "last"], 3, [0, 2]),
    ],
)
def test_where_keyframes_fall(positions: list[Any], frames: int, indexes: list[int] | None) -> None:
    if indexes is None:
        with pytest.raises(ValueError, match="do not fit"):
            keyframes.frame_indexes(positions, frames)
    else:
        assert keyframes.frame_indexes(positions, frames) == indexes


@pytest.mark.parametrize(
    ("positions", "frames", "message"),
    [
        ([None, 0.51, 0.5], 121, r"row 2 \(0.51\) and row 3 \(0.5\) fall on the same frame, 64"),
        (["first", 0.01], 121, r"row 1 \(first\) and row 2 \(0.01\) .* at least 8 frames apart"),
        (["first", None, "first"], 121, r"row 1 \(first\) and row 2 \(evenly spread\)"),
        (
            [None] * 9,
            25,
            "9 keyframes do not fit: 25 frames have room for 4, on every 8th frame and on the last",
        ),
        (["first", "last"], 1, "2 keyframes do not fit: 1 frame has room for 1$"),
        ([None], 0, "0 frames; a video has at least 1"),
    ],
)
def test_keyframes_that_have_no_place_of_their_own(
    positions: list[Any], frames: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        keyframes.frame_indexes(positions, frames)


@given(st.integers(1, 9), st.integers(1, 400), st.sampled_from([1, 4, 8]))
def test_rows_without_positions_fit_whenever_there_is_room(n: int, frames: int, grid: int) -> None:
    if n > keyframes.cells_in(frames, grid=grid):
        with pytest.raises(ValueError, match="do not fit"):
            keyframes.frame_indexes([None] * n, frames, grid=grid)
        return
    found = keyframes.frame_indexes([None] * n, frames, grid=grid)
    assert found == sorted({*found}) and len(found) == n
    assert found[0] == 0
    assert n == 1 or found[-1] == frames - 1


POSITIONS = st.lists(
    st.none() | st.sampled_from(["first", "last"]) | st.floats(0, 1), min_size=1, max_size=9
)


@given(POSITIONS, st.integers(1, 400), st.sampled_from([1, 8]))
def test_every_list_is_placed_or_refused(positions: list[Any], frames: int, grid: int) -> None:
    try:
        found = keyframes.frame_indexes(positions, frames, grid=grid)
    except ValueError as error:
        assert str(error)
        return
    assert len({*found}) == len(positions)
    for position, frame in zip(positions, found, strict=True):
        assert 0 <= frame < frames
        assert frame % grid == 0 or frame == frames - 1
        if position == "first":
            assert frame == 0
        elif position == "last":
            assert frame == frames - 1
        elif position is not None:
            assert abs(frame - position * (frames - 1)) <= grid


# --- pictures -------------------------------------------------------------------------------------


def halves(mode: str = "RGB") -> Image.Image:
    """40 x 20: red on the left, blue on the right."""
    picture = Image.new("RGB", (40, 20), (255, 0, 0))
    picture.paste((0, 0, 255), (20, 0, 40, 20))
    return picture.convert(mode)


def colour(path: Path, x: int, y: int) -> list[float]:
    image, _ = media.load_picture(str(path))
    return [round(v, 2) for v in image[0, y, x].tolist()]


def test_a_rotated_photo_comes_out_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: rotate by 90 degrees clockwise to see it
    halves().save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    image, mask = media.load_picture(str(tmp_path / "a.jpg"))
    assert image.shape == (1, 40, 20, 3)
    assert image[0, 5, 10, 0] > 0.95 and image[0, 35, 10, 2] > 0.95  # red above, blue below
    assert mask.shape == (1, 64, 64) and mask.max() == 0


@pytest.mark.parametrize(
    ("mode", "name"), [("RGB", "a.png"), ("P", "a.png"), ("P", "a.gif"), ("CMYK", "a.tif"),
                       ("CMYK", "a.jpg"), ("RGBA", "a.webp"), ("YCbCr", "a.tif")]
)  # fmt: skip
def test_modes_of_colour(mode: str, name: str, tmp_path: Path) -> None:
    halves(mode).save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    left, right = colour(tmp_path / name, 5, 10), colour(tmp_path / name, 35, 10)
    assert left == pytest.approx([1, 0, 0], abs=0.05)
    assert right == pytest.approx([0, 0, 1], abs=0.05)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(1, 64).repeat(4, axis=0)
    Image.fromarray(values).save(tmp_path / "grey.png")
    image, _ = media.load_picture(str(tmp_path / "grey.png"))
    assert image[0, 0, :, 0].numpy() == pytest.approx(values[0] / 65535, abs=1e-5)
    colours = np.stack([values, values[:, ::-1], values // 2], axis=-1)
    with av.open(str(tmp_path / "rgb.png"), "w", format="image2") as container:
        stream = container.add_stream("png", pix_fmt="rgb48be", width=64, height=4)
        frame = av.VideoFrame.from_ndarray(colours, format="rgb48le").reformat(format="rgb48be")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    image, _ = media.load_picture(str(tmp_path / "rgb.png"))
    assert image[0].numpy() == pytest.approx(colours / 65535, abs=1 / 255)


def test_alpha_becomes_the_mask(tmp_path: Path) -> None:
    picture = halves("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((40, 20)))
    picture.save(tmp_path / "a.png")
    _, mask = media.load_picture(str(tmp_path / "a.png"))
    alpha = np.asarray(picture.getchannel("A")) / 255
    assert mask[0].numpy() == pytest.approx(1 - alpha, abs=1e-6)
    halves("P").save(tmp_path / "palette.png", transparency=halves("P").getpixel((0, 0)))
    _, mask = media.load_picture(str(tmp_path / "palette.png"))
    assert (mask[0, 0, 5], mask[0, 0, 35]) == (1, 0)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_an_animation_is_refused(name: str, tmp_path: Path) -> None:
    more = [Image.new("RGB", (40, 20), c) for c in ("lime", "blue")]
    halves().save(tmp_path / name, save_all=True, append_images=more, duration=100)
    problem = media.picture_problem(str(tmp_path / name))
    kind = name.removeprefix("a.").upper()
    assert problem == f"an animation ({kind}, 3 pictures); one picture is needed"


def test_a_broken_picture_is_refused(tmp_path: Path) -> None:
    halves().resize((400, 400)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for name, content in {"cut.png": whole[:-200], "text.png": b"hello", "empty.jpg": b""}.items():
        (tmp_path / name).write_bytes(content)
        problem = media.picture_problem(str(tmp_path / name))
        assert problem is not None and problem.startswith("not a readable picture")
    assert media.picture_problem(str(tmp_path / "a.png")) is None


def test_odd_camera_data_do_not_spoil_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(on_its_side("JPEG", fault="type"))
    assert media.open_picture(str(tmp_path / "a.jpg")).size == (16, 24)
    (tmp_path / "b.webp").write_bytes(on_its_side("WEBP", fault="head"))
    problem = media.picture_problem(str(tmp_path / "b.webp"))
    assert problem is not None and problem.startswith("not a readable picture")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_way_up(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    corner = halves()
    corner.paste((0, 255, 0), (0, 0, 20, 10))
    corner.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        wanted = ImageOps.exif_transpose(picture)
    assert np.array_equal(media.open_picture(str(tmp_path / "a.png")), wanted)


def test_no_number_in_a_float_picture_stays_none(tmp_path: Path) -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 0.25]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    image, _ = media.load_picture(str(tmp_path / "a.tiff"))
    assert image[0, 0, :, 0].tolist() == [0, 1, 0, 0.25]


def test_a_replaced_file_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"not yet")
    assert media.picture_problem(str(path)) is not None
    halves().save(path)
    assert media.picture_problem(str(path)) is None


# --- sound and video ------------------------------------------------------------------------------


def write_wav(path: Path, seconds: float, channels: int = 1, rate: int = 16000) -> np.ndarray:
    """16-bit noise; what was written, -1 to 1."""
    noise = np.random.default_rng(1).integers(-20000, 20000, (round(seconds * rate), channels))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(noise.astype("<i2").tobytes())
    return noise.T / 32768


def write_silent_video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        for _ in range(5):
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 32), "red"))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_sound_is_read_sample_by_sample(channels: int, tmp_path: Path) -> None:
    written = write_wav(tmp_path / "a.wav", 1.5, channels)
    waveform, rate = media.load_sound(str(tmp_path / "a.wav"), max_duration=0)
    assert rate == 16000
    assert waveform.numpy() == pytest.approx(written, abs=1e-7)
    assert media.sound_problem(str(tmp_path / "a.wav"), max_duration=1.5) is None


def test_sounds_that_are_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "long.wav", 61)
    write_wav(tmp_path / "none.wav", 0)
    write_silent_video(tmp_path / "silent.mp4")
    (tmp_path / "text.wav").write_text("hello")

    def problem(name: str) -> str | None:
        return media.sound_problem(str(tmp_path / name), max_duration=60)

    assert problem("long.wav") == "61 seconds long; at most 60"
    assert problem("silent.mp4") == "there is no sound in it"
    assert str(problem("text.wav")).startswith("not a readable sound or video file (Invalid data")
    # A header without samples may hide it; loading never does.
    assert problem("none.wav") in (None, "the sound is 0 seconds long")
    with pytest.raises(ValueError, match="0 seconds long"):
        media.load_sound(str(tmp_path / "none.wav"), max_duration=0)


def test_a_header_that_lies_about_its_length_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "endless.flac"
    path.write_bytes(endless_flac(seconds=40))
    assert media.sound_problem(str(path), max_duration=2) is None
    with av.open(str(path)) as container:
        stream = media.sound_stream(container)
        decoded = sum(b.shape[1] for b in media.blocks(container, stream, most=2 * 48000))
    assert 2 * 48000 < decoded < 3 * 48000
    with pytest.raises(ValueError, match="longer than 2 seconds, which is the most"):
        media.load_sound(str(path), max_duration=2)
    whole, rate = media.load_sound(str(path), max_duration=40)
    assert whole.shape == (2, 40 * rate)


def test_videos(tmp_path: Path) -> None:
    write_silent_video(tmp_path / "a.mp4")
    write_wav(tmp_path / "a.wav", 1)
    assert media.video_problem(str(tmp_path / "a.mp4")) is None
    assert media.video_problem(str(tmp_path / "a.wav")) == "there is no picture in it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "not JSON: "),
        ("[" + "1" * 5000 + "]", "not JSON: "),
        ('[{"image": "a", "strength": 1' + "0" * 400 + "}]", "row 1: strength 1000"),
        ('[{"image": "a", "position": 1' + "0" * 400 + "}]", "row 1: position 1000"),
    ],
)
def test_what_python_cannot_read_is_refused_in_words(text: str, message: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(message)
