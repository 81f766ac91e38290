"""Talking videos without ComfyUI: windows, speech features, guidance, fingerprints, segments on disk."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from callsheet.ops import film, fingerprint, guidance, segments, speech, windows
from callsheet.ops.segments import Leftover

# --- windows --------------------------------------------------------------------------------------


def shape(
    frames: int, window: int = 81, overlap: int = 9, motion: int = 0
) -> list[tuple[int, ...]]:
    plan = windows.plan(frames=frames, window=window, overlap=overlap, motion=motion)
    return [(w.speech, w.length, w.drop, w.keep) for w in plan]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (shape(1), [(0, 1, 0, 1)]),
        (shape(30), [(0, 33, 0, 30)]),
        (shape(81), [(0, 81, 0, 81)]),
        (shape(82), [(0, 81, 0, 81), (72, 81, 9, 1)]),
        (shape(250), [(0, 81, 0, 81), (72, 81, 9, 72), (144, 81, 9, 72), (216, 81, 9, 25)]),
        (shape(75, motion=9), [(-9, 81, 9, 72), (63, 81, 9, 3)]),
        (shape(20, motion=5), [(-5, 25, 5, 20)]),
    ],
)
def test_windows(answer: list[tuple[int, ...]], expected: list[tuple[int, ...]]) -> None:
    assert answer == expected


@given(
    frames=st.integers(1, 3000),
    latents=st.integers(2, 30),
    overlap=st.integers(0, 8),
    motion=st.integers(0, 3),
)
def test_every_frame_is_made_once_and_hears_its_own_speech(
    frames: int, latents: int, overlap: int, motion: int
) -> None:
    window, overlap = 4 * latents + 1, 4 * min(overlap, latents - 1) + 1
    given = windows.motion_length(4 * motion + 1, overlap=overlap) if motion else 0
    made = 0
    plan = windows.plan(frames=frames, window=window, overlap=overlap, motion=given)
    for index, each in enumerate(plan):
        assert each.index == index
        assert each.speech + each.drop == made  # the first frame that it adds hears frame `made`
        assert each.keep >= 1 and each.drop + each.keep <= each.length <= window
        assert (each.length - 1) % 4 == 0
        made += each.keep
    assert made == frames
    if not given:
        assert len(plan) == 1 + max(0, -(-(frames - window) // (window - overlap)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 81, 9), "speech: 0 frames; at least 1"),
        ((9, 80, 9), "window: 80 is not 1 plus a multiple of 4; nearest 77 or 81"),
        ((9, 81, 10), "overlap: 10 is not 1 plus a multiple of 4; nearest 9 or 13"),
        ((9, 81, 0), "overlap: 0 is not 1 plus a multiple of 4; nearest 1 or 5"),
        ((9, 9, 9), "overlap: 9 is not below the window's 9 frames"),
    ],
)
def test_windows_refuse(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        shape(*arguments)


@pytest.mark.parametrize(("frames", "length"), [(0, 0), (1, 1), (4, 1), (5, 5), (9, 9), (50, 9)])
def test_motion_is_4k_plus_1_and_no_longer_than_the_overlap(frames: int, length: int) -> None:
    assert windows.motion_length(frames, overlap=9) == length


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 5, [0, 0, 0, 1, 2, 3, 4, 5, 6]),
        (4, 5, [2, 3, 4, 5, 6, 7, 8, 9, 9]),  # the sound ends with the window
        (8, 5, [6, 7, 8, 9, 0, 0, 0, 0, 0]),  # it ends inside: the first feature follows
        (-3, 5, [0, 0, 0, 0, 0, 0, 1, 2, 3]),  # before the sound: the first one, too
    ],
)
def test_what_a_window_hears(start: int, length: int, expected: list[int]) -> None:
    features = torch.arange(10.0)[:, None]
    heard = windows.heard(features, start=start, length=length)
    assert heard[:, 0].tolist() == expected


def test_the_tail_follows_what_was_before() -> None:
    def frames(first: int, end: int) -> torch.Tensor:
        return torch.arange(first, end).view(-1, 1, 1, 1)

    assert windows.tail(None, frames(0, 20), count=9).flatten().tolist() == list(range(11, 20))
    short = windows.tail(frames(0, 9), frames(9, 13), count=9)
    assert short.flatten().tolist() == list(range(4, 13))


def test_noise_seeds_go_on_and_begin_again() -> None:
    assert [windows.seed_of(2**64 - 1, k) for k in (0, 1, 2)] == [2**64 - 1, 0, 1]


# --- speech ---------------------------------------------------------------------------------------


def known(voice: torch.Tensor) -> torch.Tensor:
    """An "encoder": each feature is the place of its first sample, whatever is around it."""
    return voice[0, 0].unfold(0, speech.SPAN, speech.STEP)[:, :1, None]


def halved(features: torch.Tensor) -> torch.Tensor:
    """As ComfyUI's linear_interpolation does it."""
    wanted = int(len(features) / 50 * 25)
    return torch.nn.functional.interpolate(
        features.movedim(0, 2), size=wanted, align_corners=True, mode="linear"
    ).movedim(2, 0)


@pytest.mark.parametrize(
    "seconds", [0.001, 0.02, 0.5, 2.985, 11.99, 12.01, 12.03, 16.02, 16.05, 24.03, 31, 60, 97.3]
)
def test_chunks_give_what_one_piece_gives(seconds: float) -> None:
    voice = torch.arange(int(16000 * seconds), dtype=torch.float64)[None, None]
    padded = torch.nn.functional.pad(voice, (0, max(0, speech.LEAST - voice.shape[-1])))
    lengths: list[int] = []

    def encode(part: torch.Tensor) -> torch.Tensor:
        lengths.append(part.shape[-1])
        return known(part)

    chunked = torch.cat(list(speech.encoded(voice, encode=encode, to_video=halved)))
    assert torch.allclose(chunked, halved(known(padded)), atol=1e-4)
    assert max(lengths) < speech.WHOLE * speech.STEP + speech.SPAN
    assert len(lengths) == 1 or speech.features_in(voice.shape[-1]) > speech.WHOLE


@pytest.mark.parametrize("samples", [10, 14, 16000, 5 * speech.RUNS_AT_ONCE + 12])
def test_levels_are_those_of_the_filters_outputs(samples: int) -> None:
    luck = torch.Generator().manual_seed(samples)
    voice = 0.1 + 0.3 * torch.randn(1, 1, samples, generator=luck)
    filters = torch.randn(4, 10, generator=luck)
    mean, variance = speech.levels(voice, filters=filters, step=5)
    heard = torch.nn.functional.conv1d(voice.double(), filters[:, None].double(), stride=5)[0]
    assert torch.allclose(mean, heard.mean(dim=1))
    assert torch.allclose(variance, heard.var(dim=1, unbiased=False))


@given(st.floats(0.1, 60), st.floats(0.1, 60))
def test_one_voice_ends_where_the_next_begins(first: float, then: float) -> None:
    frames = speech.video_frames(first + then)
    one = speech.span_of(0, first, frames=frames)
    other = speech.span_of(first, then, frames=frames)
    assert one.start == 0
    assert one.stop in (other.start, frames)  # less than a frame of the other is not shown
    assert other.stop == frames
    assert abs(other.start - 25 * first) <= 0.5


def test_voices_are_laid_out_over_the_video() -> None:
    voices = [torch.full((29, 2, 3), 1.0), torch.full((24, 2, 3), 2.0)]
    voices[1][0] = 5.0

    def laid_out(starts: list[float], frames: int) -> list[list[float]]:
        found = [
            speech.laid_out(iter(voice.split(10)), start=start, length=length, frames=frames)
            for voice, start, length in zip(voices, starts, [1.2, 1.0], strict=True)
        ]
        assert all(each.shape == (frames, 2, 3) for each in found)
        return [each[:, 1, 2].tolist() for each in found]

    one, two = laid_out([0, 1.2], 55)  # one after the other
    assert one == [1.0] * 30 + [0.0] * 25
    assert two == [0.0] * 30 + [5.0] + [2.0] * 23 + [5.0]  # the encoder gives a frame too few
    one, two = laid_out([0, 0], 30)  # at the same time
    assert one == [1.0] * 30
    assert two == [5.0] + [2.0] * 23 + [5.0] + [0.0] * 5


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.001, 1), (1, 25), (1.001, 26), (10.08, 252), (161280 / 16000, 252)]
)
def test_frames_cover_the_sound(seconds: float, frames: int) -> None:
    assert speech.video_frames(seconds) == frames


# --- guidance -------------------------------------------------------------------------------------

CALLS = {
    (1.0, 1.0): ("cond",),
    (1.0, 2.0): ("cond", "drop_audio"),
    (5.0, 1.0): ("cond", "drop_text"),
    (3.0, 3.0): ("cond", "uncond"),
    (5.0, 4.0): ("cond", "drop_text", "uncond"),
    (0.0, 0.0): ("cond", "uncond"),
}


@pytest.mark.parametrize(("scales", "names"), CALLS.items())
def test_guidance_is_the_originals_with_what_falls_out_left_out(
    scales: tuple[float, float], names: tuple[str, ...]
) -> None:
    text, audio = scales
    every = dict(zip(("cond", "drop_text", "drop_audio", "uncond"), torch.rand(4, 9), strict=True))
    assert guidance.passes(text=text, audio=audio) == names
    cond, drop_text, drop_audio, uncond = every.values()
    if text == 1:
        original = drop_audio + audio * (cond - drop_audio)
    else:
        original = uncond + text * (cond - drop_text) + audio * (drop_text - uncond)
    got = guidance.combined(
        {name: every[name] for name in names},
        text=text,
        audio=audio,
        guide=lambda towards, away, scale: away + (towards - away) * scale,
    )
    assert torch.allclose(got, original, atol=1e-5)


def test_scales_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="audio_guide_scale: -1 is not 0 or more"):
        guidance.check_scales(text=1, audio=-1)


# --- fingerprints ---------------------------------------------------------------------------------

FILES = {"run-1/face.png": "a face", "run-2/photo.png": "a face", "run-2/other.png": "another"}


def graph(**change: Any) -> dict[str, Any]:
    """Picture → sampler; each keyword changes one input, as <node>__<input>."""
    contract = {"name": "image_url", "description": "Who talks.", "required": True}
    nodes = {
        "1": {"class_type": "CallsheetImage", "inputs": {"value": "run-1/face.png", **contract}},
        "2": {"class_type": "Speakers", "inputs": {"rows": '[{"audio": "run-1/face.png"}]'}},
        "3": {"class_type": "Sampler", "inputs": {"image": ["1", 0], "say": ["2", 0], "seed": 7,
                                                  "soundtrack": ["4", 0]}},
        "4": {"class_type": "Sound", "inputs": {"volume": 1}},
        "5": {"class_type": "SaveVideo", "inputs": {"video": ["3", 0]}},
    }  # fmt: skip
    for name, value in change.items():
        node, key = name.removeprefix("n").split("__")
        nodes[node]["inputs"][key] = value
    return nodes


def printed(nodes: dict[str, Any], node: str = "3", version: str = "1") -> str:
    return fingerprint.fingerprint(
        node, find=nodes.get, identify=FILES.get, version=version, ignore={"soundtrack"}
    )


SAME = {
    "another name of the file": graph(n1__value="run-2/photo.png"),
    "another name in a row": graph(n2__rows='[{"audio": "run-2/photo.png"}]'),
    "a row written otherwise": graph(n2__rows='[ {"audio": "run-1/face.png"} ]'),
    "what the parameter is called": graph(n1__name="picture", n1__description=""),
    "what does not go into the node": graph(n4__volume=2, n5__prefix="a"),
    "a title": {**graph(), "1": {**graph()["1"], "_meta": {"title": "Face"}}},
}
OTHER = {
    "another file": graph(n1__value="run-2/other.png"),
    "another file in a row": graph(n2__rows='[{"audio": "run-2/other.png"}]'),
    "another number": graph(n3__seed=8),
    "another output of a node": graph(n3__image=["1", 1]),
    "another class": {**graph(), "2": {**graph()["2"], "class_type": "OtherSpeakers"}},
    "a word": graph(n2__rows="run-1"),
    "a loader's file, whose input is a name, too": graph(n2__name="infinitetalk_multi"),
}


@pytest.mark.parametrize("nodes", SAME.values(), ids=SAME)
def test_what_makes_the_same_frames_has_the_same_fingerprint(nodes: dict[str, Any]) -> None:
    assert printed(nodes) == printed(graph())


@pytest.mark.parametrize("nodes", OTHER.values(), ids=OTHER)
def test_what_makes_other_frames_has_another_fingerprint(nodes: dict[str, Any]) -> None:
    assert printed(nodes) != printed(graph())


def test_ids_do_not_count_but_the_format_does() -> None:
    text = json.dumps(graph())
    for old in "1234":
        text = text.replace(f'"{old}"', f'"9:{old}"')
    assert printed(json.loads(text), "9:3") == printed(graph())
    assert printed(graph(), version="2") != printed(graph())


# --- segments -------------------------------------------------------------------------------------


def moving(frames: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(frames, 4, 6, 3, generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)  # fmt: skip


def decoded(path: Path) -> torch.Tensor:
    with av.open(str(path)) as container:
        return torch.stack(
            [torch.from_numpy(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
        )


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    with segments.held(tmp_path, "job", fps=25) as held:
        yield held


def test_joined_clips_are_their_frames_and_the_whole_sound(
    folder: segments.Segments, tmp_path: Path
) -> None:
    counts, frames = [31, 24, 24, 3], moving(82)
    for index, part in enumerate(frames.split(counts)):
        folder.keep(index, part, part[-9:])
    sound = 0.5 * torch.sin(torch.arange(int(3.27 * 44100)) / 20).repeat(2, 1)
    folder.join(4, tmp_path / "whole.mp4", sound, 44100)
    whole = decoded(tmp_path / "whole.mp4")
    assert torch.equal(whole, torch.cat([decoded(folder.segment(k)) for k in range(4)]))
    assert float((whole / 255 - frames).abs().mean()) < 0.1  # noise in half the colour resolution
    with av.open(str(tmp_path / "whole.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert (video.average_rate, video.frames) == (25, 82)
        assert video.duration * video.time_base == Fraction(82, 25)
        assert abs(float(audio.duration * audio.time_base) - 3.27) < 1024 / 44100
        times = [packet.pts * packet.time_base for packet in container.demux(video) if packet.size]
    assert times == [Fraction(frame, 25) for frame in range(82)]


def test_sound_and_pictures_lie_beside_each_other(
    folder: segments.Segments, tmp_path: Path
) -> None:
    """A player reads on at one place; and the muxer need not hold all of one of them."""
    folder.keep(0, moving(1).expand(250, -1, -1, -1), None)
    folder.join(1, tmp_path / "whole.mp4", torch.zeros(1, 160000), 16000)
    with av.open(str(tmp_path / "whole.mp4")) as container:
        packets = [(p.pos, p.stream.type, float(p.pts * p.time_base)) for p in container.demux() if p.size]  # fmt: skip
    latest = {"video": 0.0, "audio": 0.0}
    for _, kind, seconds in sorted(packets):
        latest[kind] = seconds
        assert abs(latest["video"] - latest["audio"]) < 1.5


def test_a_job_goes_on_behind_its_last_whole_segment(folder: segments.Segments) -> None:
    counts = [9, 8, 8, 8]
    assert folder.resume(counts) == (0, None)
    overlaps = [moving(9, seed) for seed in range(3)]
    for index in range(3):
        folder.keep(index, moving(counts[index]), overlaps[index])
    assert sorted(path.name for path in folder.folder.iterdir()) == [
        "overlap-001.pt", "overlap-002.pt",
        "segment-000.mp4", "segment-001.mp4", "segment-002.mp4",
        "window-000.json", "window-001.json", "window-002.json",
    ]  # fmt: skip
    done, frames = folder.resume(counts)
    assert done == 3 and torch.equal(frames, overlaps[2])  # exact, not as the mp4 has them
    folder.keep(3, moving(8), None)
    assert folder.resume(counts) == (4, None)
    assert folder.resume([9, 8, 8, 7])[0] == 3  # another length of the last


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def spoil(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3] + bytes(len(data) // 3) + data[2 * (len(data) // 3) :])


@pytest.mark.parametrize("harm", [cut, spoil, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize(
    ("name", "done"),
    [("segment-002.mp4", 2), ("segment-000.mp4", 0), ("overlap-002.pt", 2), ("window-001.json", 0)],
)
def test_broken_files_are_made_again(
    folder: segments.Segments, harm: Callable[[Path], None], name: str, done: int
) -> None:
    for index in range(3):
        folder.keep(index, moving(9, index), moving(9, index))
    harm(folder.folder / name)
    found, frames = folder.resume([9, 9, 9, 9])
    assert found == done
    assert frames is None if done == 0 else torch.equal(frames, moving(9, done - 1))


def test_an_unfinished_file_is_none(folder: segments.Segments) -> None:
    folder.keep(0, moving(9), moving(9))
    (folder.folder / "segment-001.mp4.part").write_bytes(b"half")
    assert folder.resume([9, 9])[0] == 1
    folder.keep(1, moving(9), moving(9))
    folder.sums(1).unlink()
    assert folder.resume([9, 9])[0] == 1


def hold_and_die(root: str) -> None:
    with segments.held(Path(root), "job", fps=25) as held:
        held.keep(0, moving(9), moving(9))
        os._exit(9)


def test_a_dead_process_holds_nothing_a_living_one_its_folder(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=hold_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 9
    with segments.held(tmp_path, "job", fps=25) as one:
        assert one.resume([9, 9])[0] == 1
        with segments.held(tmp_path, "job", fps=25) as other:
            assert other.folder != one.folder
            assert other.resume([9, 9])[0] == 0
            assert segments.clean(tmp_path, days=0, gigabytes=0) == []
            assert one.segment(0).exists()
            other.discard()
        one.discard()
    assert list(tmp_path.iterdir()) == []


def test_old_folders_go_first() -> None:
    day, gigabyte = segments.DAY, int(segments.GIGABYTE)
    now = 100 * day
    left = [
        Leftover("old", now - 8 * day, 1),
        Leftover("new", now - 1 * day, 15 * gigabyte),
        Leftover("newest", now, 4 * gigabyte),
        Leftover("small", now - 3 * day, gigabyte),
        Leftover("large", now - 2 * day, 6 * gigabyte),
    ]
    assert segments.to_remove(left, now=now, days=7, gigabytes=20) == ["large", "old"]
    assert segments.to_remove(left, now=now, days=30, gigabytes=99) == []


def test_leftovers_are_removed_with_their_locks(tmp_path: Path) -> None:
    for number, name in enumerate(["first", "second", "third"], 1):
        with segments.held(tmp_path, name, fps=25) as held:
            held.keep(0, moving(9), None)
        for path in (*held.folder.iterdir(), held.folder):
            os.utime(path, (number * segments.DAY, number * segments.DAY))
    sizes = [segments.leftover(tmp_path / name).size for name in ("second", "third")]
    limit = sum(sizes) / segments.GIGABYTE
    assert segments.clean(tmp_path, days=1e6, gigabytes=limit) == ["first"]
    assert not (tmp_path / "first").exists()
    assert segments.clean(tmp_path, days=7, gigabytes=20) == ["third", "second"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_clip_has_no_frames(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a clip")
    assert film.count_frames(tmp_path / "text.mp4") == 0
    assert film.count_frames(tmp_path / "none.mp4") == 0
