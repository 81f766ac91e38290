"""What a file is by its own bytes, and whether it is the picture, sound or video that was asked for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import av.container
import av.error
from av.stream import Disposition
from PIL import Image

MAX_PIXELS = 64_000_000  # of a picture, or of a video's frame
MAX_SECONDS = 3600.0
MAX_SAMPLES = 400_000_000  # of a sound, all channels together: an hour of stereo at 48 kHz
MAX_STREAMS = 32
_CODEC_DELAY = 0.1  # seconds by which lossy codecs lengthen a sound
HEAD = 4096  # bytes that tell what a file is

_IMAGES = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
_ANIMATED = ("PNG", "WEBP", "GIF", "AVIF")
_RIGHT = {
    "image": "a PNG, JPEG or WebP",
    "audio": "a WAV, MP3, FLAC, OGG or M4A",
    "video": "an MP4, MOV, MKV or WebM",
}
_NOUNS = {"image": "an image", "audio": "a sound file", "video": "a video"}


class Unfit(Exception):
    """Why a file is not what was asked for, and what would be."""


@dataclass(frozen=True)
class Format:
    """A kind of file that we know by its first bytes."""

    name: str
    suffix: str
    demuxer: str = ""  # FFmpeg's; empty for a picture
    frames: bool = True  # whether it can hold a video

    @property
    def is_image(self) -> bool:
        return not self.demuxer


_MP4 = Format("MP4", ".mp4", "mov")
_SIGNATURES: tuple[tuple[re.Pattern[bytes], Format], ...] = tuple(
    (re.compile(pattern, re.DOTALL), found)
    for pattern, found in (
        (rb"\x89PNG\r\n\x1a\n", Format("PNG", ".png")),
        (rb"\xff\xd8\xff", Format("JPEG", ".jpg")),
        (rb"RIFF....WEBP", Format("WEBP", ".webp")),
        (rb"GIF8[79]a", Format("GIF", ".gif")),
        (rb"BM....\0\0\0\0", Format("BMP", ".bmp")),
        (rb"II\*\0|MM\0\*", Format("TIFF", ".tiff")),
        (rb"....ftypavi[fs]", Format("AVIF", ".avif")),
        (rb"....ftyp(?:heic|heix|hevc|mif1|msf1)", Format("HEIC", ".heic")),
        (rb"....ftypqt", Format("MOV", ".mov", "mov")),
        (rb"....ftypM4[AB]", Format("M4A", ".m4a", "mov")),
        (rb"....ftyp", _MP4),
        (rb"....(?:moov|mdat|wide|free|skip|pnot)", Format("MOV", ".mov", "mov")),
        (rb"\x1aE\xdf\xa3.{0,64}webm", Format("WebM", ".webm", "matroska,webm")),
        (rb"\x1aE\xdf\xa3", Format("Matroska", ".mkv", "matroska,webm")),
        (rb"RIFF....AVI ", Format("AVI", ".avi", "avi")),
        (rb"(?:RIFF|RF64)....WAVE", Format("WAV", ".wav", "wav", frames=False)),
        (rb"fLaC", Format("FLAC", ".flac", "flac", frames=False)),
        (rb"OggS", Format("OGG", ".ogg", "ogg")),
        (rb"FORM....AIF[FC]", Format("AIFF", ".aiff", "aiff", frames=False)),
        (rb"ID3|\xff[\xfb\xfa\xf3\xf2\xe3\xe2]", Format("MP3", ".mp3", "mp3", frames=False)),
        (rb"\xff[\xf0\xf1\xf8\xf9]", Format("AAC", ".aac", "aac", frames=False)),
        (rb"G.{187}G", Format("MPEG-TS", ".ts", "mpegts")),
    )
)
_TEXTS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"(?:<!--(?:(?!-->).)*-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S),
     "a web page (text/html)"),
    (re.compile(rb"(?:<\?xml.*?)?<svg\b", re.I | re.S), "an SVG drawing"),
    (re.compile(rb"<\?xml|<error>", re.I), "an XML text"),
    (re.compile(rb"[{\[]\s*[\"{}\[\]\d]"), "a JSON text"),
    (re.compile(rb"#EXTM3U"), "a playlist"),
    (re.compile(rb"%PDF-"), "a PDF"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf"), "an archive"),
)  # fmt: skip


def identify(head: bytes) -> Format | str:
    """What a file is, or in words what it is instead. Pure."""
    for pattern, found in _SIGNATURES:
        if pattern.match(head):
            return found
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for pattern, name in _TEXTS:
        if pattern.match(text):
            return name
    return "empty" if not head else "a text" if _is_text(head) else "of no kind we know"


def check(path: Path, kind: str, *, max_seconds: float | None = None) -> str:
    """The right suffix of a file that is the `kind` asked for: image, audio or video.

    Raises Unfit. The file is decoded: an image wholly, a sound up to the longest
    that is taken, a video as far as its first frame.
    """
    with path.open("rb") as file:
        found = identify(file.read(HEAD))
    if isinstance(found, str):
        raise Unfit(f"is {found}{_not(kind) if found != 'empty' else ''}")
    if found.is_image != (kind == "image"):
        noun = "an image" if found.is_image else "a video" if found.frames else "a sound file"
        raise Unfit(f"is {noun} ({found.name}){_not(kind)}")
    if found.is_image:
        _check_image(path, found)
    else:
        _check_streams(path, found, kind, min(max_seconds or MAX_SECONDS, MAX_SECONDS))
    return found.suffix


def _not(kind: str) -> str:
    return f", not {_NOUNS[kind]}; give {_RIGHT[kind]}"


def _is_text(head: bytes) -> bool:
    try:
        head[: len(head) // 4 * 4 or None].decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:
            return False
    return not re.search(rb"[\x00-\x08\x0e-\x1a]", head)


def _check_image(path: Path, found: Format) -> None:
    if found.name not in _IMAGES:
        raise Unfit(f"is {found.name}, which is not taken; give {_RIGHT['image']}")
    try:
        with Image.open(path, formats=[found.name]) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _too_large(width, height)
            # Not a phone's JPEG or a TIFF: their further pictures are no animation.
            if found.name in _ANIMATED and getattr(image, "is_animated", False):
                raise Unfit(f"is an animation ({found.name}); give a single picture")
            image.load()
            image.getexif()  # says which way is up: whoever shows it reads this, too
    except Unfit:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unfit(f"has more than {MAX_PIXELS / 1e6:.0f} million pixels") from error
    except Exception as error:
        raise Unfit(f"is a damaged {found.name}: it cannot be decoded") from error


def _check_streams(path: Path, found: Format, kind: str, most: float) -> None:
    try:
        # One demuxer, and files only: a playlist in disguise could name addresses or files.
        options = {"protocol_whitelist": "file", "format_whitelist": found.demuxer}
        demuxer = found.demuxer.partition(",")[0]
        with av.open(str(path), format=demuxer, options=options, timeout=(10, 10)) as container:
            _check_container(container, found, kind, most)
    except (av.error.FFmpegError, ValueError, ArithmeticError, LookupError) as error:
        raise Unfit(f"is a damaged {found.name}: it cannot be decoded") from error


def _check_container(
    container: av.container.InputContainer, found: Format, kind: str, most: float
) -> None:
    sound = container.streams.audio
    pictures = [s for s in container.streams.video if not _is_cover(s)]
    if len(container.streams) > MAX_STREAMS:
        raise Unfit(f"has {len(container.streams)} streams; at most {MAX_STREAMS} are taken")
    if kind == "audio" and not sound:
        raise Unfit(f"is {found.name} without a sound stream; give {_RIGHT['audio']}")
    if kind == "video" and not pictures:
        raise Unfit(f"is {found.name} without a video stream; give {_RIGHT['video']}")
    seconds = container.duration / av.time_base if container.duration else 0.0
    if seconds > most + _CODEC_DELAY:
        raise Unfit(f"lasts {seconds:,.2f} s; at most {most:,g} s are taken")
    if kind == "audio":
        _check_sound(container, sound[0], most)
    else:
        _check_film(container, pictures[0])


def _check_sound(container: av.container.InputContainer, stream: Any, most: float) -> None:
    """Decoded and counted: a header may lie about the length, or not tell it."""
    seconds, samples = 0.0, 0
    for frame in cast(Iterator[av.AudioFrame], container.decode(stream)):
        seconds += frame.samples / frame.sample_rate
        samples += frame.samples * frame.layout.nb_channels
        if seconds > most + _CODEC_DELAY:
            raise Unfit(f"lasts more than {most:,g} s, which is the most that is taken")
        if samples > MAX_SAMPLES:
            raise Unfit(f"has more than {MAX_SAMPLES:,} samples, all channels together")
    if not samples:
        raise Unfit("lasts 0 s: it holds no sound")


def _check_film(container: av.container.InputContainer, stream: Any) -> None:
    if stream.width * stream.height > MAX_PIXELS:
        raise _too_large(stream.width, stream.height)
    frames = cast(Iterator[object], container.decode(stream))
    if next(frames, None) is None:
        raise Unfit("holds no picture")


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _too_large(width: int, height: int) -> Unfit:
    return Unfit(f"has {width} x {height} pixels; at most {MAX_PIXELS / 1e6:.0f} million are taken")
