"""Frames to H.264 clips, and clips with a sound to one mp4 without encoding them again. PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

# Near-lossless, and players still take it. Without B-frames no frame refers beyond its clip's end
# and times need no reordering, so clips join as they are.
CLIP = {"crf": "12", "preset": "medium", "bf": "0"}
SOUND_BLOCK = 4096  # samples


def write_clip(path: Path, frames: torch.Tensor, *, fps: int) -> None:
    """[frames, height, width, 3], 0 to 1; width and height even."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=dict(CLIP))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            # As ComfyUI's own encoder rounds.
            pixels = (frame[..., :3] * 255).clamp(0, 255).byte().cpu().numpy()
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p")))
        container.mux(stream.encode(None))


def count_frames(path: Path) -> int:
    """Decodes the whole clip; 0 if it is not there or broken."""
    try:
        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0))
    except (av.FFmpegError, OSError, IndexError):
        return 0


def join(
    clips: Sequence[Path],
    target: Path,
    *,
    fps: int,
    waveform: torch.Tensor | None = None,  # [channels, samples], -1 to 1
    rate: int = 0,  # Hz
) -> None:
    """One mp4 of clips that `write_clip` made, with the whole sound as AAC. Memory stays flat."""
    with av.open(str(target), "w", format="mp4") as output:
        with av.open(str(clips[0])) as first:
            video = output.add_stream_from_template(first.streams.video[0])
        sound = _Sound(output, waveform, rate) if waveform is not None else None
        for frame, packet in enumerate(_packets(clips)):
            packet.stream = video
            packet.pts = packet.dts = round(Fraction(frame, fps) / packet.time_base)
            output.mux(packet)
            # In step, or the muxer holds all that it could not yet interleave.
            if sound:
                sound.write(upto=Fraction(frame, fps))
        if sound:
            sound.finish()


def _packets(clips: Sequence[Path]) -> Iterator[Any]:
    """One for each frame, in the order of decoding, which is that of showing."""
    for clip in clips:
        with av.open(str(clip)) as container:
            yield from (packet for packet in container.demux(video=0) if packet.size)


class _Sound:
    """An AAC track that is written as far as the video has come."""

    def __init__(self, output: Any, waveform: torch.Tensor, rate: int) -> None:
        self.layout = {1: "mono", 2: "stereo", 6: "5.1"}[waveform.shape[0]]
        self.output, self.waveform, self.rate = output, waveform, rate
        self.stream = output.add_stream("aac", rate=rate, layout=self.layout)
        self.written = 0  # samples

    def write(self, upto: Fraction | None) -> None:
        """Whole blocks up to so many seconds; None: all that is left."""
        there = self.waveform.shape[-1]
        while self.written < there and (upto is None or self.written < upto * self.rate):
            end = min(there, self.written + SOUND_BLOCK)
            block = self.waveform[:, self.written : end].float().cpu().contiguous().numpy()
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self.layout)
            frame.sample_rate, frame.pts = self.rate, self.written
            frame.time_base = Fraction(1, self.rate)
            self.output.mux(self.stream.encode(frame))
            self.written = end

    def finish(self) -> None:
        self.write(None)
        self.output.mux(self.stream.encode(None))
