"""Speakers, sizes, loudness and masks of a talking video, without ComfyUI."""

from __future__ import annotations

import json
import math
import re
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from callsheet.ops import buckets, clips, image, loudness, media, regions, speakers, talk_plan
from callsheet.ops.regions import Place

# --- rows of speakers -----------------------------------------------------------------------------


def problems(rows: Any, **limits: Any) -> list[str]:
    text = rows if isinstance(rows, str) else json.dumps(rows)
    return speakers.parse(text, **limits)[1]


def test_rows_and_what_they_leave_out() -> None:
    text = json.dumps(
        [{"audio": "a.wav", "bbox": [0, 0, 0.5, 1]}, {"audio": "b.mp3", "bbox": "", "mask": None}]
    )
    assert speakers.parse(text) == (
        [speakers.Row("a.wav", (0.0, 0.0, 0.5, 1.0)), speakers.Row("b.mp3")],
        [],
    )
    assert speakers.parse('[{"audio": "a", "bbox": [], "mask": "m.png"}]')[0] == [
        speakers.Row("a", None, "m.png")
    ]
    assert speakers.parse("", required=False) == ([], [])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"audio": "a"}] * 3, "3 speakers; at most 2: the weights tell two people apart, no more"),
        ([], "0 speakers; at least 1"),
        ({"audio": "a"}, "not a list of rows like"),
        ("[{", "not JSON: "),
        (["a.wav"], "row 1: 'a.wav' is not a row like"),
        ([{"bbox": [0, 0, 1, 1]}], "row 1: no audio is chosen"),
        ([{"audio": 7}], "row 1: audio 7 is not the name of a file"),
        ([{"audio": "a", "mask": 7}], "row 1: mask 7 is not the name of a file"),
        ([{"audio": "a", "box": []}], "row 1: 'box' is not one of audio, bbox, mask"),
        ([{"audio": "a", "bbox": [1, 2, 3]}], "row 1: bbox [1, 2, 3] is not [x, y, width, height]"),
        ([{"audio": "a", "bbox": "1 2 3 4"}], "row 1: bbox '1 2 3 4' is not [x, y, width, height]"),
        ([{"audio": "a", "bbox": [1, 2, 3, "4"]}], "row 1: bbox [1, 2, 3, '4'] is not [x, y"),
        ([{"audio": "a", "bbox": [1, 2, -3, 4]}], "row 1: bbox [1, 2, -3, 4] is not [x, y, width"),
        ([{"audio": "a", "bbox": [True, 2, 3, 4]}], "row 1: bbox [True, 2, 3, 4] is not [x, y"),
        ('[{"audio": "a", "bbox": [1, 2, 3, NaN]}]', "row 1: bbox [1, 2, 3, nan] is not [x, y"),
        ([{"audio": "a", "bbox": [5, 5, 0, 9]}], "row 1: bbox [5, 5, 0, 9] has no area"),
        (
            [{"audio": "a", "bbox": [0.8, 0, 0.4, 1]}],
            "row 1: bbox [0.8, 0, 0.4, 1] leaves the picture: x + width is 1.2 of it, at most 1",
        ),
        (
            [{"audio": "a", "bbox": [0, 0, 0.6, 1]}, {"audio": "b", "bbox": [0.5, 0.25, 0.5, 0.5]}],
            "the boxes of row 1 and row 2 overlap: x 0.5 to 0.6, y 0.25 to 0.75",
        ),
        (
            [{"audio": "a", "bbox": [0, 0, 60, 9]}, {"audio": "b", "bbox": [50, 0, 50, 50]}],
            "the boxes of row 1 and row 2 overlap: x 50 to 60, y 0 to 9",
        ),
    ],
)
def test_a_row_says_what_is_wrong_with_it(rows: Any, message: str) -> None:
    (problem,) = problems(rows)
    assert problem.startswith(message)


def test_every_problem_is_told_at_once() -> None:
    rows = [{"audio": "gone.wav", "bbox": [1, 2, 0, 4], "mask": "gone.png"}, {"bbox": 3}]
    looks = {
        "audio_problem": lambda name: f"no such audio file: {name}",
        "mask_problem": lambda name: f"no such image: {name}",
    }
    assert problems(rows, least=3, most=2, **looks) == [
        "its limits allow nothing: min_rows 3 is above max_rows 2",
        "row 1: no such audio file: gone.wav",
        "row 1: bbox [1, 2, 0, 4] has no area; width and height are above 0",
        "row 1: no such image: gone.png",
        "row 2: no audio is chosen",
        "row 2: bbox 3 is not [x, y, width, height]: four numbers of 0 or more",
    ]


def test_limits_of_rows() -> None:
    assert problems([{"audio": "a"}] * 2, most=1) == ["2 speakers; at most 1"]
    assert problems([{"audio": "a"}], least=2) == ["1 speaker; at least 2"]
    assert problems([{"audio": "a"}], most=3) == [
        "its limits allow too many: max_rows 3 is above 2; the weights tell two people apart, no more"
    ]


def test_boxes_that_touch_and_those_of_masks_do_not_overlap() -> None:
    one, other = {"audio": "a", "bbox": [0, 0, 0.1, 1]}, {"audio": "b", "bbox": [0.1, 0, 0.9, 1]}
    assert problems([one, other]) == []
    assert problems([one, {**one, "mask": "m.png"}]) == []
    assert problems([one, {"audio": "b", "bbox": [0, 0, 50, 50]}]) == []  # two units: known later


# --- sounds, arranged -----------------------------------------------------------------------------


def tone(seconds: float, rate: int = 16000, channels: int = 1, level: float = 0.5, hz: float = 440):
    time = torch.arange(round(seconds * rate)) / rate
    wave_ = torch.sin(2 * math.pi * hz * time.double()).float() * level
    return wave_.expand(1, channels, -1), rate


def arrange(*sounds: speakers.Sound, mode: str = "add", normalize: bool = False, most: float = 0):
    return speakers.arrange(sounds, mode=mode, normalize=normalize, max_duration=most)


def test_add_is_one_after_the_other() -> None:
    one, other = tone(1.0, 16000), tone(2.0, 16000, channels=2, hz=300)
    found = arrange(one, other)
    assert (found.seconds, found.frames, found.starts) == (3.0, 75, (0.0, 1.0))
    track, rate = found.soundtrack
    assert (rate, tuple(track.shape)) == (16000, (1, 2, 48000))
    assert torch.equal(track[0, :, :16000], one[0][0].expand(2, -1))
    assert torch.equal(track[0, :, 16000:], other[0][0])
    assert [tuple(voice.shape) for voice in found.voices] == [(1, 1, 16000), (1, 1, 32000)]


def test_para_is_at_the_same_time_and_the_shorter_one_falls_silent() -> None:
    one, other = tone(1.0, level=0.4), tone(2.0, level=0.5, hz=300)
    found = arrange(one, other, mode="para")
    assert (found.seconds, found.frames, found.starts) == (2.0, 50, (0.0, 0.0))
    track, _ = found.soundtrack
    assert torch.equal(track[0, 0, :16000], one[0][0, 0] + other[0][0, 0, :16000])
    assert torch.equal(track[0, 0, 16000:], other[0][0, 0, 16000:])
    assert arrange(other, one, mode="para").seconds == 2.0


def test_para_is_made_quieter_only_where_it_would_clip() -> None:
    loud = tone(1.0, level=0.9)
    track, _ = arrange(loud, loud, mode="para").soundtrack
    assert float(track.abs().max()) == pytest.approx(1.0)
    assert torch.allclose(track, loud[0] / 0.9, atol=1e-3)
    quiet, _ = arrange(tone(1.0, level=0.3), tone(1.0, level=0.3), mode="para").soundtrack
    assert float(quiet.abs().max()) == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize("mode", speakers.MODES)
def test_the_mode_does_not_matter_for_one(mode: str) -> None:
    waveform, rate = tone(1.3, 44100, channels=2)
    found = arrange((waveform, rate), mode=mode, normalize=True)
    track, track_rate = found.soundtrack
    assert track_rate == 44100 and torch.equal(track, waveform)  # the source itself
    assert (found.starts, found.seconds, found.frames) == ((0.0,), 1.3, 33)


@pytest.mark.parametrize("mode", speakers.MODES)
def test_different_rates_meet_at_the_highest(mode: str) -> None:
    found = arrange(tone(1.0, 8000), tone(1.5, 44100, hz=300), mode=mode)
    track, rate = found.soundtrack
    assert rate == 44100
    assert track.shape[-1] == round(found.seconds * 44100)
    part = track[0, 0, 2000:40000] if mode == "add" else None
    if part is not None:
        expected = tone(1.0, 44100)[0][0, 0, 2000:40000]
        assert torch.allclose(part, expected, atol=1e-3)


def test_a_voice_is_one_channel_at_16_khz() -> None:
    waveform, rate = tone(3.0, 44101, channels=2)  # a rate that shares no factor with 16000
    (voice,) = arrange((waveform, rate)).voices
    assert voice.shape == (1, 1, 48000)
    expected = tone(3.0, 16000)[0]
    assert torch.allclose(voice[..., 200:-200], expected[..., 200:-200], atol=1e-3)


@given(hundredths=st.integers(1, 6000), rate=st.sampled_from([8000, 16000, 22050, 44100, 48000]))
def test_frames_cover_the_sound_and_no_more(hundredths: int, rate: int) -> None:
    samples = hundredths * rate // 100
    exact = Fraction(samples, rate)
    frames = speakers.Arranged((), (), (torch.zeros(0), rate), float(exact)).frames
    assert frames == math.ceil(exact * 25)


def test_three_seconds_are_75_frames_however_they_add_up() -> None:
    one, other = tone(1.1, 44100), tone(1.9, 48000)
    assert arrange(one, other).frames == 75
    assert arrange(tone(0.28)).frames == 7  # 25 * 0.28 is 7.000000000000001


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: arrange(), "speakers: none is given; one or two are needed"),
        (lambda: arrange(*[tone(1)] * 3), "speakers: 3 speakers; at most 2: the weights tell two"),
        (lambda: arrange(tone(1), mode="both"), "audio_mode: 'both' is not one of add, para"),
        (lambda: arrange((torch.zeros(1, 1, 0), 8000)), "speaker 1: the sound is 0 seconds long"),
        (
            lambda: arrange((torch.zeros(1, 1, 1).expand(1, 1, 7200 * 8000), 8000), most=600),
            "speakers: 7200 s (120 min 0 s) of sound; at most 600 s (10 min 0 s)",
        ),
        (
            lambda: arrange(tone(6), tone(5.5), most=10),
            "speakers: 11.5 s of sound (6 + 5.5); at most 10 s",
        ),
    ],
)
def test_what_cannot_be_arranged_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call()


def test_the_limit_is_of_the_video() -> None:
    assert arrange(tone(6), tone(5.5), mode="para", most=10).seconds == 6.0
    assert arrange(tone(6.05), most=6).seconds == 6.05  # what a lossy codec may add
    with pytest.raises(ValueError, match=re.escape("6.11 s of sound; at most 6 s")):
        arrange(tone(6.11), most=6)


def test_six_channels_are_mixed_and_odd_rates_fit_the_track() -> None:
    both, rate = arrange(tone(1.0, 192000, channels=6), tone(1.0, 8000)).soundtrack
    assert rate == 48000 and both.shape == (1, 2, 96000)


# --- files as they come ---------------------------------------------------------------------------


def eight_bits(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(int(128 + 100 * math.sin(i / 3)) for i in range(8000)))
    return path


def encoded(path: Path, codec: str, container: str, video: bool = False) -> Path:
    with av.open(str(path), "w", format=container) as out:
        pictures = out.add_stream("mpeg4", rate=25) if video else None
        stream = out.add_stream(codec, rate=44100, layout="mono")
        if pictures:
            pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
            blank = np.zeros((32, 32, 3), dtype=np.uint8)
            for _ in range(25):
                out.mux(pictures.encode(av.VideoFrame.from_ndarray(blank, format="rgb24")))
            out.mux(pictures.encode(None))
        samples = tone(1.0, 44100)[0][0].numpy()
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("kind", ["8 bits", "mp3 called wav", "mp4"])
def test_any_sound_becomes_a_voice(tmp_path: Path, kind: str) -> None:
    path = {
        "8 bits": lambda: eight_bits(tmp_path / "a.wav"),
        "mp3 called wav": lambda: encoded(tmp_path / "b.wav", "libmp3lame", "mp3"),
        "mp4": lambda: encoded(tmp_path / "c.mp4", "aac", "mp4", video=True),
    }[kind]()
    assert media.sound_problem(str(path), max_duration=2) is None
    waveform, rate = media.load_sound(str(path), max_duration=0)
    found = arrange((waveform[None], rate), normalize=True)
    assert 1.0 <= found.seconds < 1.1
    assert loudness.integrated(found.voices[0][0], rate=16000) == pytest.approx(-23, abs=0.1)


# --- loudness -------------------------------------------------------------------------------------


def steps(*parts: tuple[float, float], channels: int = 2, rate: int = 48000, hz: float = 1000):
    """A sine whose level in dBFS changes: (level, seconds), …"""
    level = np.concatenate([np.full(round(rate * s), 10 ** (db / 20)) for db, s in parts])
    sine = np.sin(2 * np.pi * hz * np.arange(len(level)) / rate) * level
    return torch.from_numpy(np.stack([sine] * channels)).float()


# EBU Tech 3341, table 1, signals 1 to 5: all of them to within 0.1.
@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
)
@pytest.mark.parametrize("rate", [16000, 48000])
def test_the_ebus_test_signals(parts: Any, expected: float, rate: int) -> None:
    assert loudness.integrated(steps(*parts, rate=rate), rate=rate) == pytest.approx(
        expected, abs=0.1
    )


def test_full_scale_in_one_channel() -> None:
    sine = steps((0, 5), channels=1, hz=997)  # BS.1770: -3.01 LKFS
    assert loudness.integrated(sine, rate=48000) == pytest.approx(-3.01, abs=0.01)


def test_filters_are_those_that_bs_1770_prints_for_48_khz() -> None:
    b, a = loudness.shelf(48000)
    assert b == pytest.approx((1.53512485958697, -2.69169618940638, 1.19839281085285), abs=1e-9)
    assert a == pytest.approx((1.0, -1.69065929318241, 0.73248077421585), abs=1e-9)
    b, a = loudness.high_pass(48000)
    assert b == (1.0, -2.0, 1.0)
    assert a == pytest.approx((1.0, -1.99004745483398, 0.99007225036621), abs=1e-9)


def by_ffmpeg(sound: torch.Tensor, rate: int) -> float:
    layout = "mono" if len(sound) == 1 else "stereo"
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="fltp", layout=layout,
                               time_base=Fraction(1, rate))  # fmt: skip
    graph.link_nodes(
        source, graph.add("ebur128", "metadata=1"), graph.add("abuffersink")
    ).configure()
    for start in range(0, sound.shape[1], rate // 10):
        part = np.ascontiguousarray(sound[:, start : start + rate // 10].numpy())
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, start
        graph.push(frame)
    graph.push(None)
    said = -math.inf
    while True:
        try:
            said = float(graph.pull().metadata["lavfi.r128.I"])
        except av.EOFError:
            return said


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_it_measures_what_ffmpeg_measures(rate: int, channels: int) -> None:
    """Syllables of coloured noise with pauses, over the end of a section."""
    random = np.random.default_rng(3)
    time = np.arange(34 * rate) / rate
    noise = np.cumsum(random.standard_normal((channels, len(time))), axis=1)
    noise = np.diff(noise, n=1, axis=1, prepend=0) + 0.05 * (noise - noise.mean(1, keepdims=True))
    envelope = np.abs(np.sin(5 * time)) * (np.sin(0.7 * time) > -0.2) + 0.001
    sound = noise * envelope
    sound = torch.from_numpy(sound / np.abs(sound).max() * 0.7).float()
    assert loudness.integrated(sound, rate=rate) == pytest.approx(by_ffmpeg(sound, rate), abs=0.1)


def test_blocks_of_400_ms_begin_every_100_ms() -> None:
    powers = loudness.block_powers(steps((-100, 0.5), (0, 0.5), rate=22050), rate=22050)
    assert len(powers) == 7
    shares = powers / powers[-1]
    assert shares.tolist() == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1], abs=0.03)


def test_sections_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal(16000 * 7)).float()
    whole = loudness.weighted(noise, rate=16000)
    monkeypatch.setattr(loudness, "SECTION", 2)
    assert torch.allclose(loudness.weighted(noise, rate=16000), whole, atol=1e-9)


@pytest.mark.parametrize("level", [-60, -40, -23, -10])
def test_a_voice_is_brought_to_minus_23(level: float) -> None:
    voice = steps((level, 3), channels=1, rate=16000)
    normal = loudness.normalised(voice, rate=16000)
    assert loudness.integrated(normal, rate=16000) == pytest.approx(-23, abs=0.05)


def test_silence_stays_silence() -> None:
    for silence in (torch.zeros(1, 16000), steps((-80, 3), channels=1, rate=16000)):
        assert loudness.integrated(silence, rate=16000) == -math.inf
        assert torch.equal(loudness.normalised(silence, rate=16000), silence)


def test_near_silence_does_not_clip() -> None:
    """Faint noise with one crack in it."""
    sound = steps((-65, 3), channels=1, rate=16000)
    sound[0, 20000] = 0.5
    normal = loudness.normalised(sound, rate=16000)
    assert float(normal.abs().max()) == pytest.approx(1.0)
    assert torch.allclose(normal, sound * 2)


def test_a_short_sound_is_one_block() -> None:
    sound = steps((-23, 0.2), channels=1, rate=16000)
    assert loudness.integrated(sound, rate=16000) == pytest.approx(-26, abs=0.6)
    with pytest.raises(ValueError, match="3 channels; loudness is measured of one or two"):
        loudness.integrated(torch.zeros(3, 16000), rate=16000)


# --- sizes ----------------------------------------------------------------------------------------

# As facts/domain.md 3 has them: ratio of height to width, then [height, width].
PRINTED = {
    "multitalk-480": ".26[320,1216] .38[384,1024] .50[448,896] .67[512,768] .82[576,704] "
    "1.00[640,640] 1.22[704,576] 1.50[768,512] 1.86[832,448] 2.00[896,448] 2.50[960,384] "
    "2.83[1088,384] 3.60[1152,320] 3.80[1216,320] 4.00[1280,320]",
    "multitalk-720": ".22[448,2048] .29[512,1792] .36[576,1600] .45[640,1408] .55[704,1280] "
    ".63[768,1216] .76[832,1088] .88[896,1024] 1.00[960,960] 1.14[1024,896] 1.31[1088,832] "
    "1.50[1152,768] 1.58[1216,768] 1.82[1280,704] 1.91[1344,704] 2.20[1408,640] 2.30[1472,640] "
    "2.67[1536,576] 2.89[1664,576] 3.62[1856,512] 3.75[1920,512]",
}
PICTURES = [
    (1920, 1080), (1080, 1920), (1280, 720), (1024, 1024), (832, 480), (480, 832), (4000, 3000),
    (3000, 4000), (3840, 1600), (1600, 3840), (1500, 1000), (1000, 1500), (640, 512), (512, 640),
    (2048, 858), (1284, 2778), (999, 1001), (5000, 1200), (1179, 2556), (1920, 1200),
]  # fmt: skip


def by_hand(size: str, width: int, height: int) -> tuple[int, int]:
    found = re.findall(r"([\d.]+)\[(\d+),(\d+)\]", PRINTED[size])
    ratios = np.array([float(ratio) for ratio, _, _ in found])
    _, bucket_height, bucket_width = found[int(np.abs(ratios - height / width).argmin())]
    return int(bucket_width), int(bucket_height)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("size", PRINTED)
def test_the_nearest_bucket(size: str, picture: tuple[int, int]) -> None:
    width, height = picture
    assert buckets.nearest(size, width=width, height=height) == by_hand(size, width, height)


@pytest.mark.parametrize("picture", PICTURES)
def test_a_draft_is_a_quarter(picture: tuple[int, int]) -> None:
    width, height = by_hand("multitalk-480", *picture)
    found = buckets.nearest("draft", width=picture[0], height=picture[1])
    assert found == (width // 4, height // 4)
    assert found[0] % 16 == found[1] % 16 == 0


@pytest.mark.parametrize(
    ("size", "picture", "expected"),
    [
        ("multitalk-480", (10000, 10), (1216, 320)),
        ("multitalk-480", (10, 10000), (320, 1280)),
        ("multitalk-720", (10000, 10), (2048, 448)),
        ("multitalk-720", (1, 1), (960, 960)),
        # Halfway between two ratios, exactly: the wider one, as sorted() of the original keeps it.
        ("multitalk-480", (100, 32), (1216, 320)),
        ("multitalk-480", (100, 44), (1024, 384)),
        ("multitalk-480", (100, 91), (704, 576)),
        ("multitalk-480", (100, 370), (320, 1152)),
        ("multitalk-480", (100, 390), (320, 1216)),
        ("multitalk-720", (100, 94), (1024, 896)),
    ],
)
def test_extremes_and_ties(size: str, picture: tuple[int, int], expected: tuple[int, int]) -> None:
    assert buckets.nearest(size, width=picture[0], height=picture[1]) == expected


def test_an_unknown_size_lists_the_known() -> None:
    with pytest.raises(ValueError, match="size: '480' is not one of multitalk-480, multitalk-720"):
        buckets.nearest("480", width=1, height=1)


# --- the end of a clip ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fps", "count", "expected"),
    [
        (25, 40, list(range(31, 40))),
        (50, 40, list(range(23, 40, 2))),
        (25, 4, [0, 1, 2, 3]),
        (25, 1, [0]),
        (12.5, 40, [35, 35, 36, 36, 37, 37, 38, 38, 39]),
        (5, 2, [0, 0, 0, 0, 0, 1]),
    ],
)
def test_frames_of_another_rate(fps: float, count: int, expected: list[int]) -> None:
    frames = [(index / fps, index) for index in range(count)]
    assert clips.last(frames, count=9, fps=25) == expected
    ms = [(round(index / fps, 3), index) for index in range(count)]  # as Matroska rounds times
    assert clips.last(ms, count=9, fps=25) == expected


def film(path: Path, *, frames: int, rate: int = 25, size: tuple[int, int] = (64, 48)) -> Path:
    """Its frames grow brighter: frame i is 5·i, of 50 at most."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "1", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            grey = np.full((size[1], size[0], 3), 5 * (index % 51), dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def levels(images: torch.Tensor) -> list[int]:
    return [round(float(picture.mean()) * 255 / 5) for picture in images]


def test_the_last_frames_of_a_file(tmp_path: Path) -> None:
    path = str(film(tmp_path / "a.mp4", frames=40))
    found = clips.last_pictures(path, count=9, fps=25)
    assert found.shape == (9, 48, 64, 3)
    assert levels(found) == list(range(31, 40))
    trimmed = clips.last_pictures(path, count=9, fps=25, start=0.4, duration=0.2)
    assert levels(trimmed) == [10, 11, 12, 13, 14]
    assert levels(clips.last_pictures(path, count=9, fps=25, start=1.4)) == [35, 36, 37, 38, 39]
    half = str(film(tmp_path / "b.mkv", frames=40, rate=50))
    assert levels(clips.last_pictures(half, count=9, fps=25)) == list(range(23, 40, 2))


def test_a_long_clip_does_not_stay_in_memory() -> None:
    alive: set[int] = set()
    most = 0

    class Frame:
        def __init__(self, index: int) -> None:
            self.index = index
            alive.add(index)

        def __del__(self) -> None:
            alive.discard(self.index)

    def frames() -> Any:
        nonlocal most
        for index in range(5000):
            yield index / 30, Frame(index)
            most = max(most, len(alive))

    assert [frame.index for frame in clips.last(frames(), count=9, fps=25)][-1] == 4999
    assert most < 16


def test_images_in_memory_are_taken_alike() -> None:
    images = torch.arange(40).view(40, 1, 1, 1).expand(40, 2, 2, 4) / 255
    found = clips.last_images(images, fps=50, count=9, to=25)
    assert (found[:, 0, 0, 0] * 255).round().tolist() == list(range(23, 40, 2))
    assert found.shape == (9, 2, 2, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no video", "not a readable video file"), (None, "there is no picture in it")],
)
def test_a_file_without_pictures_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content) if content else eight_bits(path)
    with pytest.raises(ValueError, match=message):
        clips.last_pictures(str(path), count=9, fps=25)


# --- masks ----------------------------------------------------------------------------------------


def masks(*places: Place, picture=(640, 640), size=(640, 640), background=None) -> torch.Tensor:
    return regions.regions(
        places, picture=picture, width=size[0], height=size[1], background=background
    )


def white(width: int, height: int, box: tuple[int, int, int, int]) -> torch.Tensor:
    mask = torch.zeros(1, height, width)
    x, y, w, h = box
    mask[:, y : y + h, x : x + w] = 1
    return mask


def test_one_speaker_is_everywhere() -> None:
    assert torch.equal(masks(Place()), torch.ones(1, 640, 640))
    assert torch.equal(
        masks(Place(), picture=(1920, 1080), size=(896, 448)), torch.ones(1, 448, 896)
    )


@pytest.mark.parametrize("size", [(640, 640), (896, 448), (448, 832)])
def test_halves_are_multitalks(size: tuple[int, int]) -> None:
    """wan/multitalk.py, without boxes: whole pixels of the source, face_scale 0.05."""
    width, height = size
    scale = 0.05
    top, bottom = int(height * scale), int(height * (1 - scale))
    left, right = int((width // 2) * scale), int((width // 2) * (1 - scale))
    expected = torch.zeros(2, height, width)
    expected[0, top:bottom, left:right] = 1
    expected[1, top:bottom, left + width // 2 : right + width // 2] = 1
    assert torch.equal(masks(Place(), Place(), picture=size, size=size), expected)


def test_a_box_in_pixels_and_in_shares() -> None:
    pixels = masks(Place((64, 32, 128, 320)), Place((320, 0, 320, 640)))
    shares = masks(Place((0.1, 0.05, 0.2, 0.5)), Place((0.5, 0, 0.5, 1)))
    assert torch.equal(pixels, shares)
    assert torch.equal(pixels[:1], white(640, 640, (64, 32, 128, 320)))


@pytest.mark.parametrize("how", ["box", "mask"])
@pytest.mark.parametrize(
    ("picture", "size"),
    [((1920, 1080), (640, 640)), ((700, 1400), (640, 640)), ((333, 500), (512, 768))],
)
def test_a_region_lies_where_its_pixels_do(
    how: str, picture: tuple[int, int], size: tuple[int, int]
) -> None:
    """The picture itself shows the region, cropped by Fit start's own function."""
    width, height = picture
    box = (round(width * 0.4), round(height * 0.35), round(width * 0.15), round(height * 0.3))
    shown = white(width, height, box)
    place = Place(bbox=box) if how == "box" else Place(mask=shown)
    found = masks(place, picture=picture, size=size)[0]
    seen = image.fit(shown[..., None].repeat(1, 1, 1, 3), width=size[0], height=size[1],
                     method=image.CROP)[0, ..., 0] >= 0.5  # fmt: skip
    assert found.sum() > 0
    assert (found.bool() ^ seen).sum() <= 0.01 * found.sum() + 4 * 40  # but for the rim


def test_a_mask_counts_before_the_box_and_is_scaled() -> None:
    small = white(64, 32, (0, 0, 16, 32))  # another size, another shape
    found = masks(Place(bbox=(0.5, 0, 0.5, 1), mask=small))
    assert torch.equal(found, white(640, 640, (0, 0, 160, 640)))


def test_a_half_gives_way_to_the_others_mask() -> None:
    shown = white(640, 640, (100, 100, 300, 300))
    found = masks(Place(mask=shown), Place())
    assert torch.equal(found[:1], shown)
    assert not (found[0] * found[1]).any()
    assert found[1, 500, 400] == 1 and found[1, 300, 360] == 0


def test_a_background_is_the_third_and_takes_from_the_others() -> None:
    nobody = white(64, 64, (0, 32, 64, 32))
    found = masks(Place(), Place(), background=nobody)
    assert found.shape == (3, 640, 640)
    assert torch.equal(found[2:], white(640, 640, (0, 320, 640, 320)))
    assert torch.equal(found[:2], masks(Place(), Place()) * (1 - found[2]))
    alone = masks(Place(), background=nobody)  # the model takes two masks for two people
    assert torch.equal(alone, white(640, 640, (0, 0, 640, 320)))


BLACK = torch.zeros(1, 640, 640)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: masks(Place(), Place((500, 0, 200, 100))),
            "speaker 2: bbox [500, 0, 200, 100] leaves the picture: it ends at 700, 100, "
            "the picture at 640, 640",
        ),
        (lambda: masks(Place((5, 5, 0, 9))), "speaker 1: bbox [5, 5, 0, 9] has no area"),
        (lambda: masks(Place((5, 5, 9))), "speaker 1: bbox (5, 5, 9) is not four numbers"),  # type: ignore[arg-type]
        (
            lambda: masks(Place((0, 0, 400, 100)), Place((0.5, 0.1, 0.5, 0.5))),
            "the boxes of speaker 1 and speaker 2 overlap: x 320 to 400, y 64 to 100 in the "
            "picture, in pixels",
        ),
        (
            lambda: masks(Place((0, 0, 400, 100)), Place()),
            "the boxes of speaker 1 and speaker 2 overlap: x 336 to 400, y 32 to 100 in the "
            "picture, in pixels; without a bbox speaker 2 has the right half",
        ),
        (lambda: masks(Place(), Place(mask=BLACK)), "speaker 2: its mask is black all over; white"),
        (
            lambda: masks(Place((0, 0, 300, 500)), picture=(1920, 1080)),
            "speaker 1: its box [0, 0, 300, 500] is cut off entirely: of the picture, "
            "x 420 to 1500 and y 0 to 1080 fill the 640 x 640 video",
        ),
        (
            lambda: masks(Place(), Place(), picture=(14000, 640)),
            "speaker 1: without a bbox it has the left half; [350, 32, 6300, 576] is cut off "
            "entirely: of the picture, x 6680 to 7320",
        ),
        (
            lambda: masks(Place(), Place(), picture=(1, 1)),
            "image: 1 x 1 pixels are too small to tell two speakers apart",
        ),
        (
            lambda: masks(Place(mask=white(1920, 1080, (0, 0, 300, 500))), picture=(1920, 1080)),
            "speaker 1: its mask is cut off entirely: of the picture, x 420 to 1500",
        ),
        (
            lambda: masks(Place(), Place(mask=torch.ones(1, 9, 9))),
            "speaker 1: speaker 2's mask covers all of its region",
        ),
        (
            lambda: masks(*[Place(mask=white(640, 640, (0, 0, 99, 99)))] * 2),
            "speaker 1: speaker 2's mask covers all of its region",
        ),
        (
            lambda: masks(Place(), Place(), background=white(640, 640, (320, 0, 320, 640))),
            "speaker 2: the background covers all of its region",
        ),
        (lambda: masks(Place(), background=BLACK), "background: the mask is black all over"),
        (
            lambda: masks(Place((33, 33, 8, 9))),
            "speaker 1: its region has 8 x 9 pixels in the 640 x 640 video, too small",
        ),
    ],
)
def test_a_place_that_cannot_be_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call()


def test_a_jpegs_noise_in_black_is_not_white() -> None:
    noisy = white(640, 640, (100, 100, 200, 200)) * 0.9 + 0.05
    assert torch.equal(masks(Place(mask=noisy)), white(640, 640, (100, 100, 200, 200)))


def test_the_white_of_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4), (255, 255, 255)).save(tmp_path / "white.png")
    assert media.load_white(str(tmp_path / "white.png")).shape == (1, 4, 8)
    assert float(media.load_white(str(tmp_path / "white.png")).min()) == pytest.approx(1)
    clear = Image.new("RGBA", (8, 4), (255, 255, 255, 0))
    clear.paste((255, 255, 255, 255), (0, 0, 4, 4))
    clear.save(tmp_path / "clear.png")
    assert media.load_white(str(tmp_path / "clear.png"))[0, 0].tolist() == pytest.approx(
        [1] * 4 + [0] * 4
    )


# --- the plan -------------------------------------------------------------------------------------


def plan(turbo: bool, size: str, **given_numbers: float) -> tuple[float, ...]:
    presets = talk_plan.parse_presets(talk_plan.DEFAULT_PRESETS)
    found = talk_plan.plan(presets, turbo=turbo, size=size, **given_numbers)
    return found.steps, found.text_guide_scale, found.audio_guide_scale, found.shift


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (plan(True, "multitalk-480"), (6, 1.0, 1.0, 8.0)),
        (plan(True, "multitalk-720"), (6, 1.0, 1.0, 8.0)),
        (plan(False, "multitalk-480"), (40, 5.0, 4.0, 7.0)),
        (plan(False, "multitalk-720"), (40, 5.0, 4.0, 11.0)),
        (plan(False, "draft"), (40, 5.0, 4.0, 7.0)),
        (plan(False, "draft", steps=10, shift=3.0), (10, 5.0, 4.0, 3.0)),
        (plan(True, "draft", text_guide_scale=2.0, audio_guide_scale=3.0), (6, 2.0, 3.0, 8.0)),
        (plan(True, "draft", steps=0, shift=0.0), (6, 1.0, 1.0, 8.0)),
    ],
)
def test_plan(answer: Any, expected: Any) -> None:
    assert answer == expected


def table(**changes: Any) -> dict[str, Any]:
    found = json.loads(talk_plan.DEFAULT_PRESETS)
    return {**found, "full": {**found["full"], **changes}}


@pytest.mark.parametrize(
    ("given_table", "message"),
    [
        ("{", "presets: not JSON: "),
        ([], "presets: not a table like"),
        ({"turbo": {}}, "presets: not a table like"),
        ({"turbo": 3, "full": {}}, "presets: turbo: 3 is not a table of steps, text_guide_scale"),
        (table(cfg=1), "is not a table of steps, text_guide_scale, audio_guide_scale, shift"),
        (table(steps=4.5), "presets: full.steps: 4.5 is not a whole number above 0"),
        (table(shift=0), "presets: full.shift: 0 is not a number above 0"),
        (table(shift={"draft": 7}), "presets: full.shift: {'draft': 7} is not a number, or one"),
        (table(audio_guide_scale=True), "full.audio_guide_scale: True is not a number above 0"),
    ],
)
def test_a_broken_table_says_where(given_table: Any, message: str) -> None:
    text = given_table if isinstance(given_table, str) else json.dumps(given_table)
    with pytest.raises(ValueError, match=re.escape(message)):
        talk_plan.parse_presets(text)


def test_a_plan_needs_a_known_size() -> None:
    with pytest.raises(ValueError, match="size: 'small' is not one of multitalk-480"):
        plan(True, "small")
