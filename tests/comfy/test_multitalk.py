"""The MultiTalk workflow on the real ComfyUI: lengths, speakers, what is seen, heard and refused, and going on."""

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from runner import workflow as workflows
from runner.comfy import engine as engines
from runner.comfy.engine import LocalEngine
from runner.entrypoints import setup
from runner.errors import (
    EngineUnavailable,
    ExecutionFailed,
    InputError,
    InvalidParameters,
    RunnerError,
)
from runner.inputs import Access
from runner.job import Job, Result
from runner.request import check
from runner.run import run
from runner.settings import Settings
from runner.storage.local import LocalStorage

from rendering import difference, pictures
from sounds import Sound, ends, lag, sound, speak

NAME = "multitalk"
LOCAL = Access(local=True)
SIDE = 160  # pixels: a square picture in the draft size
FPS = 25
LEFT, RIGHT = slice(0, SIDE // 2), slice(SIDE // 2, SIDE)

Talk = Callable[..., Result]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talk")
    two_people().save(folder / "two.png")
    Image.new("RGB", (320, 320), (90, 110, 70)).save(folder / "other.png")
    for name, corner in (("left", (20, 60, 130, 260)), ("right", (190, 60, 300, 260))):
        mask = Image.new("L", (320, 320), 0)
        mask.paste(255, corner)
        mask.save(folder / f"{name}-mask.png")
    background = Image.new("L", (320, 320), 255)
    background.paste(0, (0, 60, 320, 260))
    background.save(folder / "background.png")
    speak(folder / "short.wav", seconds=1.3)
    speak(folder / "again.wav", seconds=1.3, loudness=0.2, pitch=90)
    speak(folder / "brief.wav", seconds=0.7, pitch=150)
    speak(folder / "three.wav", seconds=3.0)
    speak(folder / "ten.wav", seconds=10.0, rate=16000)
    speak(folder / "minute.wav", seconds=60.0, rate=16000)
    speak(folder / "stereo.wav", seconds=1.0, rate=48000, channels=2)
    speak(folder / "telephone.wav", seconds=1.0, rate=8000)
    silence(folder / "silence.wav", seconds=1.3)
    for name, grey in (("black", 0), ("white", 255)):
        Image.new("L", (32, 32), grey).save(folder / f"{name}.png")
    Image.new("RGB", (1, 1), (200, 50, 50)).save(folder / "pixel.png")
    return folder


def two_people() -> Image.Image:
    """Two faces beside each other on a grey wall."""
    picture = Image.new("RGB", (320, 320), (120, 120, 130))
    picture.paste((200, 160, 140), (40, 80, 120, 220))
    picture.paste((120, 90, 75), (200, 80, 280, 220))
    return picture


def silence(path: Path, *, seconds: float) -> None:
    speak(path, seconds=seconds, loudness=0)


def request(media: Path, speakers: Any, **params: Any) -> dict[str, Any]:
    """A small request; bare names of files are of `media`, a speaker may be a file's name only."""
    rows = [{"audio_url": row} if isinstance(row, str) else dict(row) for row in speakers]
    for row in rows:
        for key in ("audio_url", "mask_url"):
            if key in row:
                row[key] = str(media / row[key])
    asked = {
        "image_url": "two.png", "speakers": rows, "prompt": "two people talk", "size": "draft",
        "steps": 2, "seed": 5, **params,
    }  # fmt: skip
    for name in ("image_url", "video_url", "background_mask_url"):
        if asked.get(name):
            asked[name] = str(media / asked[name])
    return {name: value for name, value in asked.items() if value is not None}


def asked(
    media: Path, settings: Settings, speakers: Any, *, workflow: str = NAME, **params: Any
) -> Any:
    job = Job(uuid.uuid4().hex, workflow, request(media, speakers, **params))
    return check(job, workflows.find(workflow, settings.workflows))


@pytest.fixture(scope="module")
def talk(
    engine: LocalEngine, settings: Settings, media: Path, tmp_path_factory: pytest.TempPathFactory
) -> Talk:
    """Renders a request, the same one once only."""
    made: dict[str, Result] = {}
    storage = LocalStorage(tmp_path_factory.mktemp("films"))

    def talked(*speakers: Any, **params: Any) -> Result:
        key = json.dumps([speakers, params], sort_keys=True)
        if key not in made:
            made[key] = run(
                asked(media, settings, speakers, **params),
                engine=engine,
                storage=storage,
                prepare=setup.stand_ins(settings),
                access=LOCAL,
            )
        return made[key]

    return talked


def change(one: Result, other: Result, columns: slice = slice(None)) -> float:
    """Mean absolute difference of two videos within some columns, in steps of 0..255."""
    a, b = (pictures(each)[:, :, columns].astype(float) for each in (one, other))
    assert a.shape == b.shape
    return float(np.abs(a - b).mean())


def assert_length(result: Result, seconds: float) -> None:
    """As many frames as the sound is long, and both end together."""
    (artifact,) = result.artifacts
    frames = int(np.ceil(FPS * seconds - 1e-6))
    assert (artifact.probe.frames, artifact.probe.fps) == (frames, FPS)
    with av.open(artifact.location) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"  # what every player takes
        assert sum(1 for _ in container.decode(video=0)) == frames
    picture, heard = ends(artifact.location)
    assert picture == pytest.approx(frames / FPS, abs=0.001)
    assert abs(picture - heard) <= 1 / FPS
    assert sound(artifact.location).seconds >= seconds - 0.001


# --- length ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "seconds"), [("brief.wav", 0.7), ("short.wav", 1.3), ("three.wav", 3), ("ten.wav", 10)]
)
def test_the_video_is_as_long_as_the_sound(talk: Talk, name: str, seconds: float) -> None:
    assert_length(talk(name), seconds)


def test_no_frame_is_repeated_or_lost_where_windows_meet(
    talk: Talk, settings: Settings, tmp_path: Path
) -> None:
    """Each frame of four windows shows what it shows where one window holds the whole video."""
    whole = windowed(253, settings, tmp_path / "whole.json")
    expected, shown = (light(each) for each in (talk("ten.wav", workflow=whole), talk("ten.wav")))
    assert len(shown) == len(expected) == 250
    for start in (45, 81, 117, 153, 189, 217):  # behind the cuts at 81, 153 and 225, and between
        assert late(expected, shown, start=start, length=24) == 0, start


def windowed(frames: int, settings: Settings, file: Path) -> str:
    """The workflow with windows of another length."""
    document = json.loads(json.dumps(workflows.find(NAME, settings.workflows).document))
    (node,) = (n for n in document["nodes"] if n["type"] == "CallsheetMultiTalkSampler")
    node["widgets_values"][3] = frames
    file.write_text(json.dumps(document), encoding="utf-8")
    return str(file)


def light(result: Result) -> np.ndarray:
    """How much brighter each frame is than the one before: the mouths follow the sound."""
    return np.diff(pictures(result).mean(axis=(1, 2, 3)), prepend=0)


def late(expected: np.ndarray, shown: np.ndarray, *, start: int, length: int) -> int:
    """By how many frames a part of the video is late, at most the overlap; below 0, early."""
    part = shown[start : start + length]
    return min(
        range(start + length - min(start + length + 9, len(expected)), 10),
        key=lambda by: np.abs(expected[start - by : start - by + length] - part).sum(),
    )


def test_the_picture_holds_over_all_windows(talk: Talk, media: Path) -> None:
    shown = np.asarray(two_people().resize((SIDE, SIDE)), dtype=float)
    frames = pictures(talk("silence.wav")).astype(float)
    assert np.abs(frames[0] - shown).mean() < 12
    long = pictures(talk("ten.wav")).astype(float)
    wall = long[:, :20, :, :].mean(axis=(1, 2, 3))
    assert np.ptp(wall) < 60


# --- sound ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["short.wav", "stereo.wav", "telephone.wav"])
def test_the_sound_is_the_sources(talk: Talk, media: Path, name: str) -> None:
    source, heard = sound(media / name), sound(talk(name).artifacts[0].location)
    late, alike = lag(source, heard)
    assert alike > 0.98
    assert abs(late) <= 1024  # samples: AAC's frame
    assert len(heard.samples) == len(source.samples)


def test_loudness_is_for_the_models_ear_only(talk: Talk, media: Path) -> None:
    plain, normal = talk("again.wav", normalize_loudness=False), talk("again.wav")
    a, b = (heard_in(each) for each in (plain, normal))
    assert a.loudness == pytest.approx(b.loudness, rel=1e-3)
    assert a.loudness == pytest.approx(sound(media / "again.wav").loudness, rel=0.05)


def test_in_add_the_sounds_follow_each_other(talk: Talk, media: Path) -> None:
    result = talk("short.wav", "brief.wav", audio_mode="add")
    assert_length(result, 2.0)
    both = [sound(media / name).samples for name in ("short.wav", "brief.wav")]
    late, alike = lag(Sound(np.concatenate(both, axis=1), 44100), heard_in(result))
    assert alike > 0.98
    assert abs(late) <= 1024


def test_in_para_the_sounds_are_heard_at_once(talk: Talk, media: Path) -> None:
    result = talk("short.wav", "brief.wav", audio_mode="para")
    assert_length(result, 1.3)
    one, other = (sound(media / name).samples for name in ("short.wav", "brief.wav"))
    mix = one.copy()
    mix[:, : other.shape[1]] += other
    late, alike = lag(Sound(mix, 44100), heard_in(result))
    assert alike > 0.98
    assert abs(late) <= 1024


def heard_in(result: Result) -> Sound:
    return sound(result.artifacts[0].location)


# --- influence ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["add", "para"])
def test_each_speaker_is_seen_on_their_side(talk: Talk, mode: str) -> None:
    base = talk("short.wav", "short.wav", audio_mode=mode)
    first = talk("silence.wav", "short.wav", audio_mode=mode)
    second = talk("short.wav", "silence.wav", audio_mode=mode)
    assert change(base, first, LEFT) > 2 * change(base, first, RIGHT)
    assert change(base, second, RIGHT) > 2 * change(base, second, LEFT)
    assert change(base, first, LEFT) > 0.5
    assert change(base, second, RIGHT) > 0.5


def test_para_is_not_add(talk: Talk) -> None:
    """The second speaker is seen from the start in one, after the first in the other."""
    add = pictures(talk("short.wav", "short.wav", audio_mode="add")).astype(float)
    para = pictures(talk("short.wav", "short.wav", audio_mode="para")).astype(float)
    assert len(add) > len(para)
    right = np.abs(add[: len(para)] - para)[:, :, RIGHT].mean()
    assert right > 0.5


def test_masks_boxes_and_background_change_who_is_where(talk: Talk) -> None:
    rows = [{"audio_url": "short.wav"}, {"audio_url": "brief.wav"}]
    halves = talk(*rows, audio_mode="para")
    swapped = talk(
        {**rows[0], "mask_url": "right-mask.png"}, {**rows[1], "mask_url": "left-mask.png"},
        audio_mode="para",
    )  # fmt: skip
    boxes = talk(
        {**rows[0], "bbox": [40, 80, 80, 140]}, {**rows[1], "bbox": [200, 80, 80, 140]},
        audio_mode="para",
    )  # fmt: skip
    fractions = talk(
        {**rows[0], "bbox": [0.125, 0.25, 0.25, 0.4375]},
        {**rows[1], "bbox": [0.625, 0.25, 0.25, 0.4375]},
        audio_mode="para",
    )  # fmt: skip
    behind = talk(*rows, audio_mode="para", background_mask_url="background.png")
    assert difference(halves, swapped) > 0.3
    assert difference(boxes, fractions) == 0
    assert difference(halves, behind) > 0.02


@pytest.mark.parametrize(
    ("params", "least"),
    [
        ({"audio_scale": 0}, 0.3),
        ({"audio_guide_scale": 3}, 0.1),
        ({"prompt": "something else altogether, red and dark"}, 0.02),
        ({"turbo": False, "steps": 2}, 0.02),
        ({"clip_vision": True}, 0.005),
        ({"image_url": "other.png"}, 3),
        ({"seed": 6}, 0.005),
    ],
)
def test_it_is_seen_in_the_video(talk: Talk, params: dict[str, Any], least: float) -> None:
    assert difference(talk("short.wav"), talk("short.wav", **params)) > least


def test_without_audio_no_mouth_moves(talk: Talk) -> None:
    assert difference(
        talk("short.wav", audio_scale=0), talk("again.wav", audio_scale=0)
    ) == pytest.approx(0, abs=0.01)


# --- a clip to go on from --------------------------------------------------------------------------


def test_a_clip_is_continued(talk: Talk, media: Path) -> None:
    clip = Path(talk("short.wav").artifacts[0].location)
    (media / "clip.mp4").write_bytes(clip.read_bytes())
    result = talk("three.wav", video_url="clip.mp4", image_url=None)
    assert_length(result, 3)
    last, first = pictures(talk("short.wav"))[-1], pictures(result)[0]
    assert np.abs(last.astype(float) - first).mean() < 25


# --- going on, and memory --------------------------------------------------------------------------


@pytest.mark.timeout(900)  # seconds: four windows, three times
def test_a_killed_job_goes_on_where_it_stopped(
    settings: Settings, engine: LocalEngine, media: Path, tmp_path: Path
) -> None:
    """Killed once, it goes on by itself; killed again, when it is run again."""
    ready = asked(media, settings, ["ten.wav"], seed=77)
    prepare, segments = setup.stand_ins(settings), settings.home / "segments"
    with engines.running(setup.engine_options(settings, rehearse=True)) as doomed:
        killer = threading.Thread(target=kill_at, args=(doomed, segments, (1, 2)))
        killer.start()
        with pytest.raises(EngineUnavailable):
            run(ready, engine=doomed, storage=LocalStorage(tmp_path), prepare=prepare, access=LOCAL)
        killer.join()
        assert "goes on at window 2 of 4" in log_of(doomed)
    kept = len(finished(segments))
    assert 2 <= kept < 4

    again = run(ready, engine=engine, storage=LocalStorage(tmp_path), prepare=prepare, access=LOCAL)
    assert f"goes on at window {kept + 1} of 4" in log_of(engine)
    assert finished(segments) == []
    assert_length(again, 10)

    anew = asked(media, settings, ["ten.wav"], seed=77)
    whole = run(anew, engine=engine, storage=LocalStorage(tmp_path), prepare=prepare, access=LOCAL)
    assert difference(again, whole) == 0


def finished(segments: Path) -> list[Path]:
    return sorted(segments.rglob("window-*.json"))


def log_of(engine: LocalEngine) -> str:
    return engine.log.read_text(errors="replace")


def kill_at(engine: LocalEngine, segments: Path, marks: tuple[int, ...]) -> None:
    """SIGKILL each time so many windows are on disk."""
    for mark in marks:
        until = time.monotonic() + 400
        while len(finished(segments)) < mark:
            assert time.monotonic() < until, f"{mark} windows are not there within 400 s"
            time.sleep(0.02)
        os.kill(engine.process.pid, signal.SIGKILL)


@pytest.mark.timeout(1800)  # seconds: a minute of video on a busy machine
def test_memory_does_not_grow_with_length(settings: Settings, media: Path, tmp_path: Path) -> None:
    """Ten seconds and a minute, each the first job of a fresh engine."""
    peaks: list[float] = []
    pixels: list[int] = []  # bytes of all frames, as ComfyUI holds pictures
    for name in ("ten.wav", "minute.wav"):
        with engines.running(setup.engine_options(settings, rehearse=True)) as fresh:
            result = run(
                asked(media, settings, [name]),
                engine=fresh,
                storage=LocalStorage(tmp_path),
                prepare=setup.stand_ins(settings),
                access=LOCAL,
            )
            peaks.append(peak_memory(fresh.process.pid))
        assert_length(result, 10 if name == "ten.wav" else 60)
        probe = result.artifacts[0].probe
        pixels.append((probe.frames or 0) * (probe.width or 0) * (probe.height or 0) * 3 * 4)
    # Allocators differ by some 80 MB; the frames of the longer video are 384 MB more.
    assert peaks[1] - peaks[0] < (pixels[1] - pixels[0]) / 2, (peaks, pixels)


def peak_memory(pid: int) -> float:
    """Bytes: the most that the process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) * 1024


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "params", "said"),
    [
        ([], {}, "speakers"),
        (["short.wav"] * 3, {}, "at most 2"),
        ([{"bbox": [0, 0, 1, 1]}], {}, "audio_url"),
        ([{"audio_url": "short.wav", "bbox": [1, 2, 3]}], {}, "bbox"),
        ([{"audio_url": "short.wav", "voice": 3}], {}, "voice"),
        (["short.wav"], {"audio_mode": "both"}, "add"),
        (["short.wav"], {"size": "480"}, "multitalk-480"),
        (["short.wav"], {"steps": 1}, "steps"),
    ],
)
def test_a_wrong_request_is_refused_before_the_engine(
    media: Path, settings: Settings, rows: Any, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidParameters, match=said):
        asked(media, settings, rows, **params)


def test_files_that_are_no_sound_are_refused(talk: Talk, media: Path) -> None:
    with pytest.raises(InputError, match="sound"):
        talk("two.png")
    (media / "empty.wav").write_bytes(b"")
    with pytest.raises(InputError):
        talk("empty.wav")


def test_a_sound_by_another_name_is_still_one(talk: Talk, media: Path) -> None:
    encoded(media / "short.wav", media / "wrong.txt.wav")
    assert_length(talk("wrong.txt.wav"), sound(media / "wrong.txt.wav").seconds)


def encoded(source: Path, target: Path) -> None:
    """The sound as mp3, under a name that says something else."""
    with av.open(str(source)) as given, av.open(str(target), "w", format="mp3") as made:
        stream = made.add_stream("mp3", rate=44100)
        for frame in [*given.decode(audio=0), None]:
            if frame is not None:
                frame.pts = None
            made.mux(stream.encode(frame))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"audio_url": "short.wav", "bbox": [300, 300, 400, 400]}, "brief.wav"], "bbox"),
        (
            [
                {"audio_url": "short.wav", "bbox": [0, 0, 200, 200]},
                {"audio_url": "brief.wav", "bbox": [100, 100, 200, 200]},
            ],
            "overlap",
        ),
    ],
)
def test_boxes_that_cannot_be_are_refused(talk: Talk, rows: Any, said: str) -> None:
    with pytest.raises(RunnerError, match=said):
        talk(*rows)


@pytest.mark.parametrize(
    ("rows", "params", "said"),
    [
        ([{"audio_url": "short.wav", "mask_url": "black.png"}, "brief.wav"], {}, "black all over"),
        ([{"audio_url": "short.wav", "bbox": [5, 5, 2, 2]}, "brief.wav"], {}, "too small"),
        (["short.wav", "brief.wav"], {"background_mask_url": "white.png"}, "covers all"),
        (["short.wav", "brief.wav"], {"image_url": "pixel.png"}, "too small to tell"),
    ],
)
def test_what_is_wrong_with_pictures_is_said_before_models_load(
    engine: LocalEngine, settings: Settings, media: Path, tmp_path: Path,
    rows: Any, params: dict[str, Any], said: str,
) -> None:  # fmt: skip
    file = tmp_path / "multitalk.json"
    text = json.dumps(workflows.find(NAME, settings.workflows).document)
    # A model of its own: what another test has loaded would not be loaded again.
    file.write_text(text.replace("infiniteTalk_multi", "infiniteTalk_single"), encoding="utf-8")
    job = Job(uuid.uuid4().hex, str(file), request(media, rows, **params))
    executed: list[str] = []

    def watched(prompt: Any) -> None:
        setup.stand_ins(settings)(prompt)
        messages = engine.comfy.run(prompt, prompt_id=str(uuid.uuid4()), workflow={})
        nodes = [m.data["node"] for m in messages if m.type == "executing" and m.data["node"]]
        executed.extend(prompt[node]["class_type"] for node in nodes)

    with pytest.raises(ExecutionFailed, match=said):
        run(
            check(job, workflows.find(str(file), settings.workflows)),
            engine=engine,
            storage=LocalStorage(tmp_path),
            prepare=watched,
            access=LOCAL,
        )
    assert "CallsheetSpeakerMasks" in executed
    assert not [kind for kind in executed if "Loader" in kind]


def test_neither_picture_nor_clip_is_refused(talk: Talk) -> None:
    with pytest.raises(RunnerError, match="neither image nor video"):
        talk("short.wav", image_url=None)


def test_two_hours_are_refused_with_the_limit(talk: Talk, media: Path) -> None:
    with av.open(str(media / "hours.flac"), "w") as made:
        stream = made.add_stream("flac", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 80000), np.int16), "s16", "mono")
        block.sample_rate = 8000
        for _ in range(720):
            block.pts = None
            made.mux(stream.encode(block))
        made.mux(stream.encode(None))
    with pytest.raises(RunnerError, match="600"):
        talk("hours.flac")
