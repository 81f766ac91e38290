"""What LTX-2's nodes compute, without ComfyUI: plan, LoRA rows, sound and pictures."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torchaudio
from hypothesis import given
from hypothesis import strategies as st

from callsheet.ops import audio, frames, image, lora, ltx

PACKS = Path(audio.__file__).parents[2]

# --- plan -----------------------------------------------------------------------------------------

D8 = "1., 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0"
S2 = "0.909375, 0.725, 0.421875, 0.0"
PRESETS = ltx.parse_presets(ltx.DEFAULT_PRESETS)


def plan(
    preset: str,
    width: int = 1280,
    height: int = 704,
    duration: float = 5,
    fps: float = 30,
    steps: int = 0,
) -> ltx.Plan:
    return ltx.plan(
        preset=ltx.choose_preset(PRESETS, preset),
        width=width,
        height=height,
        duration=duration,
        fps=fps,
        steps=steps,
    )


def test_fast_is_one_stage_of_the_distilled_levels() -> None:
    assert plan("fast", 1280, 736) == ltx.Plan(
        generate=153,
        keep=150,
        width_1=1280,
        height_1=736,
        sigmas_1=D8,
        sigmas_2="0.0",
        cfg=1.0,
        steps=8,
        two_stage=False,
        index=0,
    )


def test_balanced_begins_at_half_the_size() -> None:
    assert plan("balanced") == ltx.Plan(
        generate=153,
        keep=150,
        width_1=640,
        height_1=352,
        sigmas_1=D8,
        sigmas_2=S2,
        cfg=1.0,
        steps=8,
        two_stage=True,
        index=1,
    )


def test_quality_takes_the_schedulers_curve_of_its_latent() -> None:
    answer = plan("quality", duration=121 / 24, fps=24)
    assert (answer.cfg, answer.steps, answer.two_stage, answer.index) == (4.0, 20, True, 2)
    levels = ltx.numbers(answer.sigmas_1)
    assert levels == pytest.approx(ltx.schedule(steps=20, tokens=16 * 20 * 11), abs=1e-9)
    assert (levels[0], levels[-2], levels[-1], len(levels)) == (1, 0.1, 0, 21)
    assert answer.sigmas_2 == S2


def test_the_curve_of_a_large_latent_still_falls() -> None:
    levels = ltx.numbers(plan("quality", 1920, 1088, duration=33).sigmas_1)
    assert (levels[0], levels[-2], levels[-1]) == (1, 0.1, 0)
    assert all(a > b for a, b in pairwise(levels))


def stock_curve(*, steps: int, tokens: int) -> list[Fraction]:
    """comfy_extras/nodes_lt.py, LTXVScheduler, stretched, without rounding but for its exp()."""
    slope = (2.05 - 0.95) / (4096 - 1024)
    factor = Fraction(math.exp(tokens * slope + 0.95 - slope * 1024))
    shifted = [factor / (factor + Fraction(steps, steps - i) - 1) for i in range(steps)]
    stretch = (1 - shifted[-1]) / Fraction(9, 10)
    return [*(1 - (1 - level) / stretch for level in shifted), Fraction(0)]


@pytest.mark.parametrize("tokens", [2, 1024, 3520, 20_000, 90_000, 102_600, 1_900_000])
@pytest.mark.parametrize("steps", [2, 3, 8, 20, 200])
def test_the_curve_is_the_schedulers_at_every_size(steps: int, tokens: int) -> None:
    wanted = [float(level) for level in stock_curve(steps=steps, tokens=tokens)]
    assert ltx.schedule(steps=steps, tokens=tokens) == pytest.approx(wanted, abs=1e-12)


def test_the_curve_of_the_largest_latent_there_can_be() -> None:
    levels = ltx.schedule(steps=20, tokens=512 * 512 * 125)
    assert (levels[0], levels[-1]) == (1, 0)
    assert levels[-2] == pytest.approx(0.1)
    assert all(a > b + 1e-3 for a, b in pairwise(levels))


@pytest.mark.parametrize("fps", [24, 25, 30, 33.3])
def test_the_longest_video_that_fits_and_the_first_that_does_not(fps: float) -> None:
    most = 993  # 8k+1, and 1001 would be above 1000
    assert plan("fast", duration=most / fps, fps=fps).generate == most
    with pytest.raises(ValueError, match=f"are 994 frames; at most {most},"):
        plan("fast", duration=(most + 1) / fps, fps=fps)


@pytest.mark.parametrize(("old", "new"), [("high", "balanced"), ("ultra", "quality")])
def test_old_names_are_the_new_ones(old: str, new: str) -> None:
    assert plan(old) == plan(new)


@pytest.mark.parametrize("preset", ["fast", "balanced", "quality"])
@pytest.mark.parametrize("steps", [1, 4, 8, 12, 20, 50])
def test_steps_change_the_number_of_levels_and_not_the_curve(preset: str, steps: int) -> None:
    answer = plan(preset, steps=steps)
    levels = ltx.numbers(answer.sigmas_1)
    assert (answer.steps, len(levels), levels[0], levels[-1]) == (steps, steps + 1, 1, 0)
    assert all(a > b for a, b in pairwise(levels))


def test_twice_the_steps_pass_through_every_level() -> None:
    levels = ltx.numbers(plan("fast", steps=16).sigmas_1)
    assert levels[::2] == pytest.approx(ltx.numbers(D8))
    assert levels[13] == pytest.approx((0.725 + 0.421875) / 2)


@given(
    duration=st.floats(0.05, 33),
    fps=st.sampled_from([24, 25, 30]),
    preset=st.sampled_from(["fast", "balanced", "quality"]),
)
def test_frames_are_those_that_keep_first_frames_cuts(
    duration: float, fps: float, preset: str
) -> None:
    answer = plan(preset, duration=duration, fps=fps)
    assert (answer.generate - 1) % 8 == 0
    assert 1 <= answer.keep <= answer.generate <= 1000
    assert abs(answer.keep / fps - duration) <= 0.5 / fps + 1e-9 or answer.keep == 1


@pytest.mark.parametrize(
    ("preset", "change", "message"),
    [
        ("fast", {"width": 1000}, "width: 1000 is not a multiple of 32; nearest 992 or 1024"),
        (
            "balanced",
            {"height": 736},
            "height: 736 is not a multiple of 64 (two stages); nearest 704 or 768",
        ),
        ("fast", {"width": 32}, "width: 32 is not between 64 and 16384"),
        ("quality", {"width": 64}, "width: 64 is not between 128 and 16384 (two stages)"),
        ("fast", {"duration": 0}, "duration: 0 s is not above 0"),
        ("fast", {"duration": float("nan")}, "duration: nan s is not above 0"),
        (
            "fast",
            {"duration": 40},
            "duration: 40 s at 30 fps are 1200 frames; at most 993, 33.1 s",
        ),
        ("fast", {"fps": 0}, "fps: 0 is not above 0"),
        (
            "balanced",
            {"width": 1000, "height": 736, "duration": 61},
            "width: 1000 is not a multiple of 64 (two stages); nearest 960 or 1024; "
            "height: 736 is not a multiple of 64 (two stages); nearest 704 or 768; duration: 61 s",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(preset: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        plan(preset, **change)


def test_the_longest_duration_offered_is_allowed() -> None:
    for fps in (24, 25, 30):
        problem = ltx.duration_problem(100, fps=fps)
        assert problem
        longest = float(problem.split(", ")[-1].removesuffix(" s"))
        assert ltx.duration_problem(longest, fps=fps) is None
        assert ltx.duration_problem(longest + 0.5, fps=fps) is not None


def test_what_is_not_known_yet_is_not_refused() -> None:
    assert ltx.problems(two_stage=None, width=736, height=None, duration=None, fps=None) == []
    assert ltx.problems(two_stage=None, width=None, height=None, duration=-1, fps=None) == [
        "duration: -1 s is not above 0"
    ]


ROW = {"two_stage": False, "cfg": 1, "sigmas": "1.0, 0.0"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{", "presets: not JSON: "),
        ([], "presets: not a table like"),
        ({"a": 3}, "presets: a: 3 is not a table of two_stage, cfg, steps, sigmas, sigmas_2"),
        ({"a": ROW, "b": "c"}, "presets: b: 'c' is not one of a"),
        ({"a": ROW, "b": "a", "c": "b"}, "presets: c: 'b' is not one of a"),
        ({"a": {**ROW, "name": "b"}}, "presets: a: 'name' is not one of two_stage, "),
        ({"a": {**ROW, "two_stage": 1}}, "presets: a.two_stage: 1 is not true or false"),
        ({"a": {**ROW, "cfg": 0}}, "presets: a.cfg: 0 is not a number above 0"),
        ({"a": {"two_stage": False, "sigmas": "1, 0"}}, "presets: a.cfg: None is not a number"),
        ({"a": {**ROW, "steps": 8}}, "presets: a: it names steps or sigmas, one of both"),
        ({"a": {"two_stage": False, "cfg": 1}}, "presets: a: it names steps or sigmas"),
        ({"a": {"two_stage": False, "cfg": 1, "steps": 2.5}}, "a.steps: 2.5 is not a whole number"),
        ({"a": {**ROW, "two_stage": True}}, "presets: a: sigmas_2 belongs to two stages"),
        ({"a": {**ROW, "sigmas_2": S2}}, "presets: a: sigmas_2 belongs to two stages"),
        *(
            ({"a": {**ROW, "sigmas": bad}}, f"presets: a.sigmas: {bad!r} are not numbers from 1")
            for bad in ("", "x", "0.0", "1.0, 0.5", "0.5, 0.7, 0.0", "2.0, 0.0", "nan, 0.0", 3)
        ),
    ],
)
def test_broken_tables_say_where(table: Any, message: str) -> None:
    text = table if isinstance(table, str) else json.dumps(table)
    with pytest.raises(ValueError, match=re.escape(message)):
        ltx.parse_presets(text)


def test_an_unknown_preset_lists_the_known() -> None:
    known = "fast, balanced, quality, high, ultra"
    with pytest.raises(ValueError, match=f"preset: 'best' is not one of {known}"):
        plan("best")


# --- LoRAs ----------------------------------------------------------------------------------------


def test_rows_that_do_nothing_are_left_out() -> None:
    rows = [
        {"lora": "a", "strength": 0.5},
        {"lora": "b", "strength": 0},
        {"lora": "c", "on": False},
        {"lora": "d"},
        {"lora": "e", "strength": -1, "on": True},
        {"strength": 0},
        {"lora": "a", "strength": None},
    ]
    assert lora.parse(json.dumps(rows)) == (
        [lora.Row("a", 0.5), lora.Row("d", 1.0), lora.Row("e", -1.0), lora.Row("a", 1.0)],
        [],
    )
    assert lora.parse("") == lora.parse("[]") == ([], [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "not JSON: "),
        ("{}", "not a list of rows like"),
        ("[3]", 'row 1: 3 is not a row like {"lora"'),
        ('[{"lora": "a", "weight": 1}]', "row 1: 'weight' is not one of lora, strength, on"),
        ('[{"lora": "a", "strength": "high"}]', "row 1: strength 'high' is not a number"),
        ('[{"lora": "a", "strength": NaN}]', "row 1: strength nan is not a number"),
        ('[{"lora": "a", "strength": true}]', "row 1: strength True is not a number"),
        ('[{"lora": "a", "strength": 101}]', "row 1: strength 101 is not between -100 and 100"),
        ('[{"lora": "a", "on": "yes"}]', "row 1: on 'yes' is not true or false"),
        ('[{"lora": "a"}, {"strength": 1}]', "row 2: no LoRA is chosen"),
        ('[{"lora": ["a"]}]', "row 1: lora ['a'] is not the name of a file"),
    ],
)
def test_broken_rows_say_which(text: str, problem: str) -> None:
    rows, problems = lora.parse(text)
    assert not rows
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_every_broken_row_is_named() -> None:
    _, problems = lora.parse('[{"strength": 2}, {"lora": "a", "strength": 1e9, "x": 1}]')
    assert [problem.partition(":")[0] for problem in problems] == ["row 1", "row 2", "row 2"]


def test_other_names_of_a_lora() -> None:
    also = "old.safetensors\n\n other.safetensors \nin = in.safetensors\nin = older.safetensors\n"
    either = ["old.safetensors", "other.safetensors"]
    assert lora.names("a", also) == ["a", *either]
    assert lora.names("in", also) == ["in", *either, "in.safetensors", "older.safetensors"]
    assert lora.names("old.safetensors", also) == either
    assert lora.names("a", "") == ["a"]


# --- sound ----------------------------------------------------------------------------------------


def sound(samples: int, *, channels: int = 1) -> torch.Tensor:
    return torch.arange(channels * samples, dtype=torch.float32).reshape(1, channels, samples)


@pytest.mark.parametrize(
    ("start", "duration", "first", "count"),
    [
        (0, 0, 0, 1000),
        (0.25, 0, 250, 750),
        (0.25, 0.5, 250, 500),
        (0.25, 99, 250, 750),  # what there is
        (0, 0.0001, 0, 1),
        (0.9994, 0, 999, 1),
    ],
)
def test_a_part_of_the_sound(start: float, duration: float, first: int, count: int) -> None:
    whole = sound(1000, channels=2)
    part = audio.trim(whole, rate=1000, start=start, duration=duration)
    assert torch.equal(part, whole[..., first : first + count])


@pytest.mark.parametrize(
    ("samples", "start", "duration", "message"),
    [
        (0, 0, 0, "audio: it has no samples"),
        (3200, 3.2, 0, "start: 3.2 s is beyond the end of the sound, 3.2 s long"),
        (3200, -1, 0, "start: -1 s is not 0 or more"),
        (3200, 0, -1, "duration: -1 s is not 0 or more; 0 takes all"),
        (3200, 0, float("inf"), "duration: inf s is not 0 or more"),
    ],
)
def test_parts_that_there_are_not(
    samples: int, start: float, duration: float, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        audio.trim(sound(samples), rate=1000, start=start, duration=duration)


@pytest.mark.parametrize(
    ("video_frames", "fps", "blocks"),
    [(33, 30, 12), (65, 30, 24), (153, 30, 55), (1, 30, 1), (4096, 44100, 1), (4097, 44100, 2)],
)
def test_the_encoder_gets_whole_blocks(video_frames: int, fps: float, blocks: int) -> None:
    assert audio.encoder_samples(video_frames=video_frames, fps=fps) == blocks * 4096


@given(keep=st.integers(1, 990), fps=st.sampled_from([24.0, 25.0, 29.97, 30.0]))
def test_the_encoded_sound_covers_every_frame(keep: int, fps: float) -> None:
    generate = frames.round_up(keep, spacing=8)
    samples = audio.encoder_samples(video_frames=generate, fps=fps)
    # What the audio VAE makes of them: 16 kHz, a spectrum each 160 samples, four in a latent.
    latents = (samples * 16000 // 44100) // 160 // 4 + 1
    assert latents >= -(-generate * 25 // fps)
    assert samples - generate / fps * 44100 < 4096


def test_nothing_of_the_sound_moves_or_is_lost() -> None:
    whole = sound(44100)
    encode = audio.for_encoder(whole, rate=44100, video_frames=33, fps=30)
    assert encode.shape == (1, 1, 12 * 4096)
    assert torch.equal(encode[..., :44100], whole)
    assert not encode[..., 44100:].any()


def test_a_sound_longer_than_the_video_loses_its_end() -> None:
    encode = audio.for_encoder(sound(44100), rate=44100, video_frames=9, fps=30)
    assert torch.equal(encode, sound(44100)[..., : 4 * 4096])


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000, 96000])
def test_sound_is_resampled_in_place(rate: int) -> None:
    tone = torch.sin(torch.arange(rate) / rate * 440 * 2 * torch.pi)[None, None]
    wanted = torch.sin(torch.arange(44100) / 44100 * 440 * 2 * torch.pi)[None, None]
    encode = audio.for_encoder(tone, rate=rate, video_frames=33, fps=30)
    assert encode.shape[-1] == 12 * 4096
    assert float((encode - wanted_padded(wanted, encode))[..., 500:43000].abs().max()) < 0.01


RESAMPLE = """
import json, resource, sys, torch
sys.path.insert(0, sys.argv[1])
from callsheet.ops import audio

tries = json.loads(sys.argv[2])
longest = torch.ones(1, 2, max(samples for _, _, samples in tries))
audio.resampled(longest[..., :9], rate=16000, to=8000)  # loads what is loaded only when needed
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 1_000_000_000,) * 2)
for rate, to, samples in tries:
    print(audio.resampled(longest[..., :samples], rate=rate, to=to).shape[-1], flush=True)
"""


def test_odd_rates_are_resampled_in_little_memory() -> None:
    """In a process of its own, that may take 1 GB more: the filters alone could take eight."""
    rates = (1, 7001, 11111, 44099, 44111, 192001, 2**31 - 1)
    tries = [(r, to, min(2 * r, 5_000_000)) for r in rates for to in (audio.ENCODER_RATE, 48000)]
    child = [sys.executable, "-c", RESAMPLE, str(PACKS), json.dumps(tries)]
    done = subprocess.run(child, capture_output=True, text=True, check=False)
    counts = [int(line) for line in done.stdout.splitlines()]
    assert len(counts) == len(tries), (tries[len(counts)], done.stderr[-300:])
    for (rate, to, samples), count in zip(tries, counts, strict=True):
        wanted = samples / rate
        assert count / to == pytest.approx(wanted, abs=wanted * 2e-4 + 1 / to)


def test_usual_rates_are_resampled_exactly() -> None:
    for rate in audio.TRACK_RATES:
        there = torch.rand(1, 1, 500)
        wanted = torchaudio.functional.resample(there, rate, 44100)
        assert torch.equal(audio.resampled(there, rate=rate, to=44100), wanted)


def wanted_padded(wanted: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(wanted, (0, like.shape[-1] - wanted.shape[-1]))


def test_channels_for_the_encoder() -> None:
    stereo = sound(5000, channels=2)
    encode = audio.for_encoder(stereo, rate=44100, video_frames=1, fps=30)
    assert torch.equal(encode, stereo[..., :4096])
    surround = torch.zeros(1, 6, 5000)
    surround[:, 2] = 1  # the voice
    encode = audio.for_encoder(surround, rate=44100, video_frames=1, fps=30)
    assert encode.shape[1] == 1
    assert float(encode.min()) > 0.1


@pytest.mark.parametrize(
    ("channels", "rate", "same"),
    [(1, 44100, True), (2, 48000, True), (6, 16000, True), (4, 44100, False), (2, 192000, False)],
)
def test_the_track_is_the_source_wherever_mp4_can_hold_it(
    channels: int, rate: int, same: bool
) -> None:
    source = sound(1920, channels=channels)
    track, track_rate = audio.for_track(source, rate=rate)
    assert (track is source and track_rate == rate) == same
    assert track.shape[1] in audio.TRACK_CHANNELS
    assert track_rate in audio.TRACK_RATES
    assert track.shape[-1] / track_rate == pytest.approx(1920 / rate)


def test_sound_and_plan_agree_on_the_frames() -> None:
    for samples in range(1000, 200000, 777):
        duration = samples / 44100
        needed = audio.frames_for(sound(samples), rate=44100, fps=30)
        assert needed == plan("fast", duration=duration).generate


# --- pictures -------------------------------------------------------------------------------------


def picture(width: int, height: int) -> torch.Tensor:
    """Left half red, right half blue."""
    made = torch.zeros(1, height, width, 3)
    made[:, :, : width // 2, 0] = 1
    made[:, :, width // 2 :, 2] = 1
    return made


@given(
    there=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    wanted=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    method=st.sampled_from(image.METHODS),
)
def test_the_size_is_exactly_the_wanted_one(
    there: tuple[int, int], wanted: tuple[int, int], method: str
) -> None:
    made = image.fit(
        torch.rand(2, there[1], there[0], 3), width=wanted[0], height=wanted[1], method=method
    )
    assert made.shape == (2, wanted[1], wanted[0], 3)
    assert 0 <= float(made.min()) <= float(made.max()) <= 1


def test_a_picture_of_that_size_stays_as_it_is() -> None:
    there = torch.rand(1, 48, 64, 3)
    for method in image.METHODS:
        assert torch.equal(image.fit(there, width=64, height=48, method=method), there)


def test_pad_shows_all_of_the_picture_between_two_bars() -> None:
    made = image.fit(picture(100, 100), width=200, height=100, method="pad")
    assert not made[:, :, :50].any()
    assert not made[:, :, 150:].any()
    assert torch.equal(made[:, :, 50:150], picture(100, 100))
    white = image.fit(picture(100, 100), width=200, height=100, method="pad", background=1.0)
    assert bool((white[:, :, :50] == 1).all())


def test_pad_leaves_no_bar_where_the_shape_is_the_same() -> None:
    made = image.fit(torch.ones(1, 90, 160, 3), width=1280, height=720, method="pad")
    assert torch.allclose(made, torch.ones(1, 720, 1280, 3))


def test_crop_keeps_the_middle() -> None:
    wide = torch.cat((torch.ones(1, 50, 25, 3), picture(50, 50), torch.ones(1, 50, 25, 3)), dim=2)
    assert torch.equal(image.fit(wide, width=50, height=50, method="crop"), picture(50, 50))
    high = wide.transpose(1, 2)
    made = image.fit(high, width=50, height=50, method="crop")
    assert torch.equal(made, picture(50, 50).transpose(1, 2))


def test_stretch_shows_all_of_it() -> None:
    made = image.fit(picture(64, 64), width=128, height=32, method="stretch")
    assert float((made - picture(128, 32))[:, :, :60].abs().max()) < 0.01


def test_fine_lines_become_grey_and_no_pattern() -> None:
    lines = torch.zeros(1, 512, 512, 3)
    lines[:, :, ::2] = 1
    made = image.fit(lines, width=60, height=60, method="stretch")
    assert float((made[:, 4:-4, 4:-4] - 0.5).abs().max()) < 0.02


def test_a_long_strip_fits_into_memory() -> None:
    strip = torch.rand(1, 2, 30000, 3)
    assert image.fit(strip, width=640, height=704, method="crop").shape == (1, 704, 640, 3)
    assert image.fit(strip, width=640, height=704, method="pad").shape == (1, 704, 640, 3)


def test_one_pixel_and_transparency() -> None:
    dot = torch.tensor([0.2, 0.4, 0.6, 0.5]).reshape(1, 1, 1, 4)
    made = image.fit(dot, width=64, height=32, method="crop")
    assert made.shape == (1, 32, 64, 3)
    assert torch.allclose(made, torch.tensor([0.2, 0.4, 0.6]), atol=1e-4)


@pytest.mark.parametrize(
    ("size", "multiple", "answer"), [(1280, 32, 1280), (1279, 32, 1248), (20, 32, 32), (7, 1, 7)]
)
def test_sizes_on_a_grid(size: int, multiple: int, answer: int) -> None:
    assert image.on_grid(size, multiple=multiple) == answer


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(ValueError, match="method: 'zoom' is not one of pad, crop, stretch"):
        image.fit(picture(4, 4), width=8, height=8, method="zoom")
