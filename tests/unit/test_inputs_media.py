"""Inputs by their own bytes: what is taken, and what is refused and why."""

import io
import struct
import time
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from runner.inputs import media
from runner.inputs.media import Unfit

from media_site import (
    Site,
    animation,
    encoded_sound,
    endless_flac,
    film,
    on_its_side,
    picture,
    sound,
)


def checked(tmp_path: Path, data: bytes, kind: str, **options: float) -> str:
    file = tmp_path / "input.part"  # the name says nothing
    file.write_bytes(data)
    return media.check(file, kind, **options)


@pytest.mark.parametrize(
    ("data", "kind", "suffix"),
    [
        (picture("PNG"), "image", ".png"),
        (picture("JPEG"), "image", ".jpg"),
        (picture("WEBP"), "image", ".webp"),
        (picture("BMP"), "image", ".bmp"),
        (picture("TIFF"), "image", ".tiff"),
        (picture("GIF"), "image", ".gif"),
        (picture("JPEG", mode="CMYK"), "image", ".jpg"),
        (picture("PNG", mode="I;16"), "image", ".png"),
        (picture("PNG", (1, 1)), "image", ".png"),
        (on_its_side("JPEG", fault="type"), "image", ".jpg"),
        (sound(), "audio", ".wav"),
        (encoded_sound("mp3", "mp3"), "audio", ".mp3"),
        (encoded_sound("flac", "flac"), "audio", ".flac"),
        (encoded_sound("ogg", "libopus"), "audio", ".ogg"),
        (encoded_sound("adts", "aac"), "audio", ".aac"),
        (encoded_sound("aiff", "pcm_s16be"), "audio", ".aiff"),
        (film(silent=False), "audio", ".mp4"),
        (film(), "video", ".mp4"),
        (film("mov"), "video", ".mov"),
        (film("matroska"), "video", ".mkv"),
        (film("webm", "libvpx-vp9"), "video", ".webm"),
        (film("avi", "mpeg4"), "video", ".avi"),
        (film("mpegts"), "video", ".ts"),
    ],
)
def test_media_gets_the_suffix_of_its_content(
    tmp_path: Path, data: bytes, kind: str, suffix: str
) -> None:
    assert checked(tmp_path, data, kind) == suffix


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"", "image", "is empty"),
        (b"<!DOCTYPE html><title>Sign in</title>", "image",
         "is a web page (text/html), not an image; give a PNG, JPEG or WebP"),
        (b"\xef\xbb\xbf \n<!-- x -->\n<html>", "audio", "is a web page (text/html), not a sound"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "image", "is an XML text"),
        (b"<?xml version='1.0'?>\n<svg xmlns=''>", "image", "is an SVG drawing"),
        (b'{"error": "expired"}', "video", "is a JSON text, not a video"),
        (b"not found", "image", "is a text, not"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "video", "is a playlist, not a video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "video", "is a text, not a video"),
        (b"PK\x03\x04" + bytes(50), "image", "is an archive"),
        (b"%PDF-1.7", "image", "is a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "image", "is a text"),
        (bytes(range(200, 256)) * 9, "image", "is of no kind we know"),
        (sound(), "image", "is a sound file (WAV), not an image"),
        (film(), "image", "is a video (MP4), not an image"),
        (picture(), "audio", "is an image (PNG), not a sound file; give a WAV"),
        (picture(), "video", "is an image (PNG), not a video"),
        (animation("GIF"), "image", "is an animation (GIF); give a single picture"),
        (animation("PNG"), "image", "is an animation (PNG)"),
        (picture()[:200], "image", "is a damaged PNG"),
        (picture("JPEG", (64, 64))[:400], "image", "is a damaged JPEG"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 99, "image", "is a damaged PNG"),
        (on_its_side("WEBP", fault="head"), "image", "is a damaged WEBP"),
        (b"....ftypheic" + bytes(40), "image", "is HEIC, which is not taken; give a PNG"),
        (film(), "audio", "is MP4 without a sound stream; give a WAV"),
        (film()[:600], "video", "is a damaged MP4"),
        (sound(0), "audio", "0 s"),
        (sound(), "video", "is WAV without a video stream; give an MP4"),
        (b"ID3" + bytes(100), "audio", "is a damaged MP3"),
    ],
)  # fmt: skip
def test_anything_else_is_named(tmp_path: Path, data: bytes, kind: str, said: str) -> None:
    with pytest.raises(Unfit) as caught:
        checked(tmp_path, data, kind)
    assert said in str(caught.value)


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_picture_of_too_many_pixels_is_never_decoded(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999)))
    with pytest.raises(Unfit, match="64 million"):
        checked(tmp_path, bomb + chunk(b"IEND", b""), "image")


def test_a_sound_longer_than_its_parameter_takes_is_refused(tmp_path: Path) -> None:
    assert checked(tmp_path, sound(2), "audio", max_seconds=2) == ".wav"
    with pytest.raises(Unfit, match=r"lasts 2\.50 s; at most 2 s are taken"):
        checked(tmp_path, sound(2.5), "audio", max_seconds=2)


def test_a_sound_is_counted_where_its_header_is_silent(tmp_path: Path) -> None:
    assert checked(tmp_path, endless_flac(2), "audio", max_seconds=2) == ".flac"
    with pytest.raises(Unfit, match="lasts more than 2 s, which is the most that is taken"):
        checked(tmp_path, endless_flac(2.5), "audio", max_seconds=2)


def test_a_sound_is_counted_where_its_header_lies(tmp_path: Path) -> None:
    """An MP4 says how long it is in one place, and in another how long each of its samples."""
    film = bytearray(encoded_sound("ipod", "aac", 3))
    for box in (b"mvhd", b"mdhd", b"tkhd"):
        at = film.index(box) + 4  # version 0: flags, two dates, then time scale or track
        at += 20 if box == b"tkhd" else 16
        film[at : at + 4] = struct.pack(">I", int.from_bytes(film[at : at + 4], "big") // 3)
    with pytest.raises(Unfit, match="lasts more than 2 s"):
        checked(tmp_path, bytes(film), "audio", max_seconds=2)


def test_a_sound_of_too_many_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_SAMPLES", 90_000)
    with pytest.raises(Unfit, match="has more than 90,000 samples, all channels together"):
        checked(tmp_path, encoded_sound("flac", "flac", 2), "audio")


def test_a_files_name_is_no_address_for_ffmpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site() as site:
        site.put("/a", film())
        monkeypatch.chdir(tmp_path)
        named = Path(f"http:/127.0.0.1:{site.port}/a")  # a folder called http:
        named.parent.mkdir(parents=True)
        named.write_bytes(film())
        with pytest.raises(Unfit, match="cannot be decoded"):
            media.check(named, "video")
        assert not site.seen


def test_only_the_format_that_was_seen_is_tried(tmp_path: Path) -> None:
    """FFmpeg looks behind an ID3 tag for itself, also for lists of other files."""
    tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    with pytest.raises(Unfit, match="is a damaged MP3"):
        checked(tmp_path, tag + sound(), "audio")


@pytest.mark.filterwarnings("ignore:IM image format")
def test_a_picture_is_read_as_what_it_was_seen_to_be(tmp_path: Path) -> None:
    """PIL would try its other readers: this one begins like a TIFF, and is an IM image."""
    both = b"II*\0AAAA: x\nImage type: Greyscale image\nImage size (x*y): 4*4\n\0\x1a" + bytes(16)
    with Image.open(io.BytesIO(both)) as picture:
        picture.load()
        assert picture.format == "IM"
    with pytest.raises(Unfit, match="is a damaged TIFF"):
        checked(tmp_path, both, "image")


def test_a_file_of_too_many_streams(tmp_path: Path) -> None:
    assert checked(tmp_path, voices(media.MAX_STREAMS), "audio") == ".mkv"
    with pytest.raises(Unfit, match="has 33 streams; at most 32 are taken"):
        checked(tmp_path, voices(33), "audio")


def voices(count: int) -> bytes:
    """A Matroska file with so many sound tracks."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        for stream in [container.add_stream("pcm_s16le", rate=8000) for _ in range(count)]:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 80), np.int16), "s16", "mono")
            tone.sample_rate = 8000
            container.mux([*stream.encode(tone), *stream.encode()])
    return file.getvalue()


def test_a_films_frame_of_too_many_pixels(tmp_path: Path) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mov") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 9000, 8000, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((8000, 9000), np.uint8), format="gray")
        container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.raises(Unfit, match="has 9000 x 8000 pixels; at most 64 million are taken"):
        checked(tmp_path, file.getvalue(), "video")


def test_the_cover_of_a_sound_is_no_video(tmp_path: Path) -> None:
    flac, cover = encoded_sound("flac", "flac"), picture("JPEG")
    block = struct.pack(">II", 3, 10) + b"image/jpeg" + struct.pack(">I", 0)
    block += struct.pack(">IIIII", 24, 16, 24, 0, len(cover)) + cover
    info = 4 + 4 + 34  # where the first block of metadata ends
    covered = flac[:info] + struct.pack(">I", 6 << 24 | len(block)) + block + flac[info:]
    assert checked(tmp_path, covered, "audio") == ".flac"
    with pytest.raises(Unfit, match="is FLAC without a video stream"):
        checked(tmp_path, covered, "video")


@given(st.binary(max_size=300))
def test_any_bytes_are_told(head: bytes) -> None:
    assert media.identify(head)


@given(st.sampled_from([picture(), sound(), film()]), st.integers(0, 600), st.binary(max_size=40))
def test_damage_is_told_as_unfit_and_never_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int, noise: bytes
) -> None:
    damaged = data[:at] + noise + data[at + len(noise) :]
    for kind in ("image", "audio", "video"):
        try:
            checked(tmp_path_factory.getbasetemp(), damaged, kind)
        except Unfit as error:
            assert str(error)


def test_no_text_takes_long_to_identify() -> None:
    """A page may begin with any number of comments."""
    start = time.process_time()
    assert "web page" not in str(media.identify(b"<!---->" * 5_000))
    assert "web page" in str(media.identify(b"<!-- a -->\n<!--->-->" * 50 + b"<html>"))
    assert time.process_time() - start < 5  # it was centuries
