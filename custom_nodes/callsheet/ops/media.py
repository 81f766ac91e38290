"""Picture, sound and video files: what is wrong with them, and their tensors. PIL and PyAV, no ComfyUI.

Each `…_problem` answers None, or one sentence without the file's name.
"""

from __future__ import annotations

import io
import itertools
import math
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms

ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")  # an MPO or TIFF of several pictures is no animation
CODEC_DELAY = 0.1  # seconds by which lossy codecs lengthen a sound
LARGEST_16_BIT = 65535
# Exif's orientations, but for 1: as it is.
TURNS = dict(enumerate(
    (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
     Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE,
     Image.Transpose.ROTATE_90),
    start=2,
))  # fmt: skip

Fingerprint = tuple[int, int]  # when it was changed, in ns; its size, in bytes


def fingerprint(path: str) -> Fingerprint:
    stat = Path(path).stat()
    return stat.st_mtime_ns, stat.st_size


# --- pictures -------------------------------------------------------------------------------------


def picture_problem(path: str) -> str | None:
    """Decodes the whole file: a truncated one is seen at submission. Once for each state of it."""
    return _picture_problem(path, fingerprint(path))


@lru_cache(maxsize=256)
def _picture_problem(path: str, _state: Fingerprint) -> str | None:
    try:
        open_picture(path)
    except ValueError as error:
        return str(error)
    return None


def open_picture(path: str) -> Image.Image:
    """Decoded and upright. A ValueError says what is wrong with the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as picture:
                frames = getattr(picture, "n_frames", 1)
                if picture.format in ANIMATED and frames > 1:
                    raise ValueError(
                        f"an animation ({picture.format}, {frames} pictures); one picture is needed"
                    )
                picture.load()
                return upright(picture)
        except Image.DecompressionBombError as error:
            raise ValueError(f"too large a picture: {error}") from error
        except ValueError:
            raise
        # PIL's readers raise what their parsers do: SyntaxError, struct.error, EOFError, …
        except Exception as error:
            raise ValueError(f"not a readable picture ({error})") from error


def upright(picture: Image.Image) -> Image.Image:
    """Turned as its camera data say.

    PIL's own exif_transpose() also writes them anew, and fails where they hold a wrong type.
    """
    turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
    return picture.copy() if turn is None else picture.transpose(turn)


def load_picture(path: str) -> tuple[torch.Tensor, torch.Tensor]:
    """([1, height, width, 3], [1, height, width]): colours, and 1 - alpha, both 0 to 1.

    Without alpha the mask is 64 x 64 zeros, as Load Image makes it.
    """
    picture = open_picture(path)
    image = torch.from_numpy(colours(picture))[None]
    if not picture.has_transparency_data:
        return image, torch.zeros((1, 64, 64))
    alpha = np.asarray(picture.convert("RGBA").getchannel("A"), dtype=np.float32) / 255
    return image, 1 - torch.from_numpy(alpha)[None]


def load_white(path: str) -> torch.Tensor:
    """[1, height, width], 0 to 1: how white a picture is; what is transparent in it is black."""
    picture = open_picture(path)
    white = brightness(torch.from_numpy(colours(picture))[None])
    if not picture.has_transparency_data:
        return white
    alpha = np.asarray(picture.convert("RGBA").getchannel("A"), dtype=np.float32) / 255
    return white * torch.from_numpy(alpha)


def brightness(images: torch.Tensor) -> torch.Tensor:
    """[n, height, width, 3 or more] → [n, height, width]: their luma, ITU-R BT.601."""
    red, green, blue = images[..., :3].unbind(dim=-1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).clamp(0, 1)


def colours(picture: Image.Image) -> np.ndarray:
    """[height, width, 3], 0 to 1."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return np.repeat(grey(picture)[..., None], 3, axis=-1)
    if picture.mode == "CMYK":
        picture = from_cmyk(picture)
    return np.asarray(picture.convert("RGB"), dtype=np.float32) / 255


def grey(picture: Image.Image) -> np.ndarray:
    """More than 8 bits: PIL's own convert() clips them to 255."""
    values = np.nan_to_num(np.asarray(picture, dtype=np.float32))  # a float TIFF may hold any
    largest = 1 if picture.mode == "F" else LARGEST_16_BIT
    return np.clip(values / largest, 0, 1).astype(np.float32)


def from_cmyk(picture: Image.Image) -> Image.Image:
    """By the file's own colour profile, if it has a good one: inks are not the inverse of light."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture.convert("RGB")
    try:
        return ImageCms.profileToProfile(
            picture, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return picture.convert("RGB")


# --- sound ----------------------------------------------------------------------------------------


def sound_problem(path: str, *, max_duration: float) -> str | None:
    """From the file's header; 0 is no limit. What a header hides is refused in loading."""
    try:
        duration = _sound_duration(path, fingerprint(path))
    except ValueError as error:
        return str(error)
    return None if duration is None else duration_problem(duration, max_duration=max_duration)


@lru_cache(maxsize=256)
def _sound_duration(path: str, _state: Fingerprint) -> float | None:
    """Seconds; None if the header does not tell."""
    try:
        with av.open(path) as container:
            stream = sound_stream(container)
            if stream.duration is not None and stream.time_base is not None:
                return float(stream.duration * stream.time_base)
            return None if container.duration is None else container.duration / av.time_base
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"not a readable sound or video file ({said(error)})") from error


def duration_problem(duration: float, *, max_duration: float) -> str | None:
    if duration <= 0:
        return "the sound is 0 seconds long"
    if max_duration and duration > max_duration + CODEC_DELAY:
        return f"{duration:.4g} seconds long; at most {max_duration:g}"
    return None


def load_sound(path: str, *, max_duration: float) -> tuple[torch.Tensor, int]:
    """([channels, samples], samples per second). A ValueError says what is wrong with the file.

    No more is decoded than so many seconds, and a little; 0 is no limit. A header may lie.
    """
    try:
        with av.open(path) as container:
            stream = sound_stream(container)
            rate = stream.codec_context.sample_rate
            most = (max_duration + CODEC_DELAY) * rate if max_duration else math.inf
            samples = np.concatenate(list(blocks(container, stream, most=most)), axis=1)
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"not a readable sound or video file ({said(error)})") from error
    if samples.shape[1] > most:
        raise ValueError(f"longer than {max_duration:g} seconds, which is the most")
    return torch.from_numpy(samples), rate


def blocks(container: Any, stream: Any, *, most: float) -> Iterator[np.ndarray]:
    """[channels, samples] each, until there are more than `most` samples."""
    resampler = av.AudioResampler(format="fltp", rate=stream.codec_context.sample_rate)
    there = 0
    for frame in itertools.chain(container.decode(stream), [None]):  # None: what it still holds
        for block in resampler.resample(frame):
            there += block.samples
            yield block.to_ndarray()
        if there > most:
            return
    if not there:
        raise ValueError("the sound is 0 seconds long")


def sound_stream(container: Any) -> Any:
    """The first one that can be decoded: without a decoder there is no codec context."""
    streams = [s for s in container.streams.audio if s.codec_context is not None]
    if not streams:
        raise ValueError("there is no sound in it")
    return streams[0]


# --- video ----------------------------------------------------------------------------------------


def video_problem(path: str) -> str | None:
    return _video_problem(path, fingerprint(path))


@lru_cache(maxsize=256)
def _video_problem(path: str, _state: Fingerprint) -> str | None:
    try:
        with av.open(path) as container:
            return None if container.streams.video else "there is no picture in it"
    except (av.FFmpegError, OSError) as error:
        return f"not a readable video file ({said(error)})"


def said(error: Exception) -> str:
    """Without the path that FFmpeg repeats."""
    return getattr(error, "strerror", None) or str(error)
