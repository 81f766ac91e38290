"""The four LTX-2 workflows on the real ComfyUI: every mode and preset, what is seen, heard and refused."""

import dataclasses
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from runner import inputs
from runner import workflow as workflows
from runner.comfy.engine import Engine
from runner.entrypoints import setup
from runner.errors import (
    ExecutionFailed,
    InputError,
    InvalidParameters,
    PromptRejected,
    RequestError,
    RunnerError,
    WorkflowError,
)
from runner.graph import to_api
from runner.graph.prune import drop_decided, with_values
from runner.inputs import Access
from runner.job import Job, Progress, Result
from runner.request import check
from runner.run import run
from runner.settings import Settings
from runner.storage.local import LocalStorage

from rendering import difference, pictures
from sounds import ends, lag, sound, speak

WIDTH, HEIGHT = 256, 192
LIPSYNC, AUDIO = "ltx2-lipsync", "ltx2-audio"
KEYED_LIPSYNC, KEYED_AUDIO = "ltx2-keyframes-lipsync", "ltx2-keyframes-audio"
MODES = (LIPSYNC, AUDIO, KEYED_LIPSYNC, KEYED_AUDIO)
SPOKEN, KEYED = (LIPSYNC, KEYED_LIPSYNC), (KEYED_LIPSYNC, KEYED_AUDIO)
PRESETS = ("fast", "balanced", "quality")
COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 210)}
RED, GREEN, BLUE = COLOURS.values()
LOCAL = Access(local=True)

Film = Callable[..., Result]  # a mode and parameters by name


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and sounds as callers have them."""
    folder = tmp_path_factory.mktemp("media")
    for name, colour in COLOURS.items():
        plain(colour).save(folder / f"{name}.png")
    halves(WIDTH, HEIGHT).save(folder / "halves.png")
    speak(folder / "speech.wav", seconds=1.5)
    speak(folder / "short.wav", seconds=1.02)
    speak(folder / "other.wav", seconds=1.5, loudness=0.05, pitch=80)
    speak(folder / "stereo.wav", seconds=1.0, rate=48000, channels=2)
    return folder


def plain(colour: tuple[int, int, int], width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = plain(RED, width, height)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


def request(media: Path, mode: str, **params: Any) -> dict[str, Any]:
    """The parameters of a small job; a file's bare name is one of `media`; None leaves one out."""
    asked: dict[str, Any] = {
        "width": WIDTH, "height": HEIGHT, "seed": 3, "quality_preset": "fast",
        "prompt": "a talking head",
    }  # fmt: skip
    asked |= {"audio_url": "speech.wav"} if mode in SPOKEN else {"duration": 1.5}
    asked |= {"keyframes": three()} if mode in KEYED else {"image_url": "red.png"}
    asked |= params
    for name in ("image_url", "audio_url"):
        if asked.get(name):
            asked[name] = str(media / asked[name])
    if "keyframes" in asked:
        asked["keyframes"] = [
            {**row, "image_url": str(media / row["image_url"])} for row in asked["keyframes"]
        ]
    return {name: value for name, value in asked.items() if value is not None}


def three() -> list[dict[str, Any]]:
    return [
        {"image_url": "red.png", "frame_position": "first"},
        {"image_url": "green.png", "frame_position": 0.5},
        {"image_url": "blue.png", "frame_position": "last"},
    ]


@pytest.fixture(scope="module")
def film(
    engine: Engine, settings: Settings, media: Path, tmp_path_factory: pytest.TempPathFactory
) -> Film:
    """Renders a request, the same one once only."""
    made: dict[str, Result] = {}
    storage = LocalStorage(tmp_path_factory.mktemp("films"))

    def filmed(mode: str, **params: Any) -> Result:
        asked = request(media, mode, **params)
        key = json.dumps([mode, asked], sort_keys=True)
        if key not in made:
            found = workflows.find(mode, settings.workflows)
            made[key] = run(
                check(Job(uuid.uuid4().hex, mode, asked), found),
                engine=engine,
                storage=storage,
                prepare=setup.stand_ins(settings),
                access=LOCAL,
            )
        return made[key]

    return filmed


def seen(result: Result, frame: int) -> np.ndarray:
    """The mean colour of a frame."""
    return pictures(result)[frame].mean(axis=(0, 1))


def far(one: np.ndarray, other: tuple[int, int, int]) -> float:
    """The largest difference of two colours, in steps of 0..255."""
    return float(np.abs(one - np.asarray(other)).max())


@dataclass(frozen=True)
class Sampled:
    """Latents of a job: what went in as sound, what came out of each stage."""

    given: np.ndarray
    pictures: list[np.ndarray]
    sounds: list[np.ndarray]
    decoded: np.ndarray  # what the video is decoded from


Latents = Callable[..., Sampled]  # a mode and parameters by name


@pytest.fixture(scope="module")
def latents(engine: Engine, settings: Settings, media: Path) -> Latents:
    """Runs a request's graph with its latents saved on the way."""

    def sampled(mode: str, **params: Any) -> Sampled:
        job = uuid.uuid4().hex
        asked = request(media, mode, **{"width": 128, "height": 128, **params})
        ready = check(Job(job, mode, asked), workflows.find(mode, settings.workflows))
        definitions = engine.comfy.object_info()
        with inputs.folder_in(engine.input) as folder:
            ready = inputs.fetch(ready, folder, root=engine.input, access=LOCAL)
            converted = to_api(ready.document, definitions)
            prompt = dict(drop_decided(with_values(converted), definitions))
            stages = by_class(prompt, "LTXVSeparateAVLatent")
            given = by_class(prompt, "LTXVAudioVAEEncode") or by_class(
                prompt, "LTXVEmptyLatentAudio"
            )
            slots = [(given[0], 0), *((stage, slot) for slot in (0, 1) for stage in stages)]
            (decoder,) = by_class(prompt, "VAEDecodeTiled")
            slots.append(tuple(prompt[decoder]["inputs"]["samples"]))
            for number, (node_id, slot) in enumerate(slots):
                prompt[f"save{number}"] = {
                    "class_type": "SaveLatent",
                    "inputs": {"samples": [node_id, slot], "filename_prefix": f"{job}/{number}"},
                }
            setup.stand_ins(settings)(prompt)
            for _ in engine.comfy.run(prompt, prompt_id=str(uuid.uuid4()), workflow={}):
                pass
        files = sorted((engine.output / job).glob("*.latent"))
        first, *rest, last = (load_file(file)["latent_tensor"].astype(np.float32) for file in files)
        assert len(rest) == 2 * len(stages)
        return Sampled(first, rest[: len(stages)], rest[len(stages) :], last)

    return sampled


def by_class(prompt: Mapping[str, Any], class_type: str) -> list[str]:
    return [node_id for node_id, node in prompt.items() if node["class_type"] == class_type]


# --- every mode, every preset -------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_mode_and_preset_is_as_asked(film: Film, mode: str, preset: str) -> None:
    result = film(mode, quality_preset=preset)
    (artifact,) = result.artifacts
    probe = artifact.probe
    assert artifact.name == "video"
    assert (probe.width, probe.height, probe.frames, probe.fps) == (WIDTH, HEIGHT, 45, 30)
    assert probe.has_audio
    assert probe.sample_rate == (44100 if mode in SPOKEN else 24000)
    picture, heard = ends(artifact.location)
    assert picture == pytest.approx(1.5, abs=0.001)
    assert abs(picture - heard) <= 1 / 30
    assert sound(artifact.location).loudness > 0.005
    assert (result.workflow, result.params["quality_preset"]) == (f"{mode}@1.0.0", preset)


@pytest.mark.parametrize(("old", "preset"), [("high", "balanced"), ("ultra", "quality")])
def test_an_old_presets_name_renders_the_same(film: Film, old: str, preset: str) -> None:
    assert difference(film(LIPSYNC, quality_preset=old), film(LIPSYNC, quality_preset=preset)) == 0


@pytest.mark.parametrize("fps", [24, 25, 30])
@pytest.mark.parametrize(
    ("mode", "params", "seconds"),
    [(LIPSYNC, {"audio_url": "short.wav"}, 1.02), (AUDIO, {"duration": 1.26}, 1.26)],
)
def test_as_many_frames_as_the_duration_has(
    film: Film, mode: str, params: dict[str, Any], seconds: float, fps: int
) -> None:
    (artifact,) = film(mode, **params, fps=fps, width=128, height=96).artifacts
    frames = round(seconds * fps)
    assert (artifact.probe.frames, artifact.probe.fps) == (frames, fps)
    picture, heard = ends(artifact.location)
    assert picture == pytest.approx(frames / fps, abs=0.001)
    assert abs(picture - heard) <= 1 / fps


# --- lip-sync -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", SPOKEN)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_sound_is_the_sources(film: Film, media: Path, mode: str, preset: str) -> None:
    heard = sound(film(mode, quality_preset=preset).artifacts[0].location)
    source = sound(media / "speech.wav")
    late, alike = lag(source, heard)
    assert alike > 0.99
    assert abs(late) <= 1024  # samples: AAC's frame


def test_a_stereo_source_stays_at_its_rate(film: Film, media: Path) -> None:
    (artifact,) = film(LIPSYNC, audio_url="stereo.wav", width=128, height=96).artifacts
    heard = sound(artifact.location)
    assert (heard.rate, len(heard.samples)) == (48000, 2)
    late, alike = lag(sound(media / "stereo.wav"), heard)
    assert alike > 0.99
    assert abs(late) <= 1024


@pytest.mark.parametrize("mode", SPOKEN)
def test_another_sound_is_another_video(film: Film, mode: str) -> None:
    assert difference(film(mode), film(mode, audio_url="other.wav")) > 0.5


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("mode", [LIPSYNC, AUDIO])
def test_the_first_frame_is_the_image(film: Film, mode: str, preset: str) -> None:
    result = film(mode, quality_preset=preset)
    assert far(seen(result, 0), RED) < 10
    assert far(seen(result, -1), RED) < 60  # it holds


def test_an_image_of_two_halves_holds(film: Film) -> None:
    frames = pictures(film(LIPSYNC, image_url="halves.png"))
    quarter = WIDTH // 4
    for frame, most in ((0, 12), (len(frames) // 2, 60), (-1, 60)):
        assert far(frames[frame, :, :quarter].mean(axis=(0, 1)), RED) < most
        assert far(frames[frame, :, -quarter:].mean(axis=(0, 1)), BLUE) < most


@pytest.mark.parametrize("preset", PRESETS)
def test_sampling_leaves_the_sounds_latent_as_it_was(latents: Latents, preset: str) -> None:
    """What is sampled to is the source, in each stage."""
    found = latents(LIPSYNC, quality_preset=preset)
    assert np.abs(found.given).max() > 0.1
    assert len(found.sounds) == (1 if preset == "fast" else 2)
    for latent in found.sounds:
        assert np.abs(latent - found.given).max() < 1e-4


# --- keyframes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", KEYED)
@pytest.mark.parametrize("preset", PRESETS)
def test_keyframes_are_seen_at_their_times(film: Film, mode: str, preset: str) -> None:
    result = film(mode, quality_preset=preset)
    frames = pictures(result)
    assert len(frames) == 45
    for frame, colour in ((0, RED), (22, GREEN), (-1, BLUE)):
        assert far(seen(result, frame), colour) < 60, frame
        assert nearest(frames[frame]) == colour


@pytest.mark.parametrize("mode", KEYED)
@pytest.mark.parametrize("preset", ["fast", "balanced"])
def test_guides_are_taken_off_before_decoding(latents: Latents, mode: str, preset: str) -> None:
    found = latents(mode, quality_preset=preset)
    assert {latent.shape[2] for latent in found.pictures} == {7 + 3}  # 49 frames, three guides
    assert found.decoded.shape[2] == 7


def test_keyframes_without_positions_are_spread_evenly(film: Film) -> None:
    spread = [{"image_url": f"{name}.png"} for name in COLOURS]
    frames = pictures(film(KEYED_AUDIO, keyframes=spread))
    assert [nearest(frames[i]) for i in (0, 22, -1)] == [RED, GREEN, BLUE]


def test_nine_keyframes_run(film: Film) -> None:
    nine = [{"image_url": f"{name}.png"} for name in [*COLOURS] * 3]
    result = film(KEYED_AUDIO, keyframes=nine, quality_preset="balanced", duration=2.5)
    frames = pictures(result)
    assert len(frames) == 75
    assert nearest(frames[0]) == RED
    assert nearest(frames[-1]) == BLUE


@pytest.mark.parametrize("mode", KEYED)
def test_one_keyframe_runs(film: Film, mode: str) -> None:
    result = film(mode, keyframes=[{"image_url": "green.png"}])
    assert len(pictures(result)) == 45
    assert far(seen(result, 0), GREEN) < 30


def nearest(picture: np.ndarray) -> tuple[int, int, int]:
    colour = picture.mean(axis=(0, 1))
    return min(COLOURS.values(), key=lambda other: far(colour, other))


# --- every parameter ----------------------------------------------------------------------------

TINY = {"width": 128, "height": 96}


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a Blue sea"},
        {"img_compression": 50},
        {"img_strength": 0.7},
        {"lora_distilled": 0},
        {"lora_detailer": 0},
        {"lora_camera": 0},
        {"lora_camera": 1},
    ],
    ids=lambda change: "-".join(map(str, *change.items())),
)
def test_every_parameter_changes_the_picture(film: Film, change: dict[str, Any]) -> None:
    base = {**TINY, "image_url": "halves.png"}
    assert difference(film(LIPSYNC, **base), film(LIPSYNC, **{**base, **change})) > 0.3


def test_each_camera_moves_another_way(film: Film) -> None:
    cameras = ("dolly-in", "dolly-out", "jib-up")
    one, two, three = (film(AUDIO, **TINY, camera=name, lora_camera=1) for name in cameras)
    assert difference(one, two) > 0.3
    assert difference(one, three) > 0.3
    assert difference(two, three) > 0.3


@pytest.mark.parametrize("change", [{"seed": 4}, {"steps": 4}])
def test_what_changes_the_sound(film: Film, change: dict[str, Any]) -> None:
    """The stand-ins' picture hides the noise that it began with; their sound does not."""
    one, other = (sound(film(AUDIO, **TINY, **c).artifacts[0].location) for c in ({}, change))
    assert np.abs(one.samples - other.samples).max() > 0.01


def test_a_negative_prompt_counts_in_quality_alone(latents: Latents) -> None:
    for preset, counts in (("quality", True), ("balanced", False)):
        one, other = (
            latents(AUDIO, quality_preset=preset, negative_prompt=text).pictures[0]
            for text in ("a Red barn", "a Blue sea")
        )
        assert (np.abs(one - other).max() > 0.01) == counts


def test_a_keyframes_strength_changes_the_picture(film: Film) -> None:
    weaker = [{**row, "strength": 0.7} for row in three()]
    assert difference(film(KEYED_AUDIO), film(KEYED_AUDIO, keyframes=weaker)) > 0.3


def test_the_same_request_renders_the_same_frames(film: Film) -> None:
    base = film(AUDIO, **TINY)
    again = film(AUDIO, **TINY, img_strength=1)  # the default, written out: rendered anew
    assert base is not again
    assert difference(base, again) == 0


def test_a_lora_at_0_is_not_asked_for(
    film: Film, engine: Engine, settings: Settings, media: Path, tmp_path: Path
) -> None:
    off = {"lora_detailer": 0, "lora_camera": 0, "lora_distilled": 0}
    base = film(AUDIO, **TINY, **off)  # the stand-ins of everything else are there now
    found = workflows.find(AUDIO, settings.workflows)
    text = json.dumps(found.document)
    for old in ("ic-lora-detailer", "camera-control-", "distilled-lora-384", "detailer-lora-768"):
        text = text.replace(old, f"nosuch-{old}")
    bare = dataclasses.replace(found, document=json.loads(text))
    storage = LocalStorage(tmp_path)
    ready = check(Job("off", AUDIO, request(media, AUDIO, **TINY, **off)), bare)
    assert difference(base, run(ready, engine=engine, storage=storage, access=LOCAL)) == 0
    ready = check(
        Job("on", AUDIO, request(media, AUDIO, **TINY, **off | {"lora_detailer": 1})), bare
    )
    with pytest.raises(WorkflowError, match="nosuch-ic-lora-detailer"):
        run(ready, engine=engine, storage=storage, access=LOCAL)


# --- odd pictures that are fine -----------------------------------------------------------------


def test_a_cmyk_jpeg(film: Film, media: Path) -> None:
    plain(GREEN).convert("CMYK").save(media / "cmyk.jpg", quality=95)
    assert far(seen(film(AUDIO, image_url="cmyk.jpg"), 0), GREEN) < 15


def test_a_png_of_16_bits(film: Film, media: Path) -> None:
    deep(RED).tofile(media / "deep.png")
    assert far(seen(film(AUDIO, image_url="deep.png"), 0), RED) < 10


def deep(colour: tuple[int, int, int]) -> np.ndarray:
    """The bytes of a PNG with 16 bits per channel, which Pillow does not write."""
    frame = av.VideoFrame.from_ndarray(
        np.full((HEIGHT, WIDTH, 3), np.array(colour) * 257, np.uint16), format="rgb48le"
    )
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "rgb48be"
    codec.time_base = Fraction(1, 25)
    packets = [*codec.encode(frame.reformat(format="rgb48be")), *codec.encode(None)]
    return np.frombuffer(b"".join(map(bytes, packets)), np.uint8)


def test_a_grey_png_of_16_bits_is_not_white(film: Film, media: Path) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH), 100 * 257, np.uint16)).save(media / "grey.png")
    assert far(seen(film(AUDIO, image_url="grey.png"), 0), (100, 100, 100)) < 10


def test_a_jpeg_of_a_turned_phone_comes_out_upright(film: Film, media: Path) -> None:
    upright = halves(WIDTH, HEIGHT)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    upright.rotate(90, expand=True).save(media / "turned.jpg", exif=exif, quality=95)
    first = pictures(film(AUDIO, image_url="turned.jpg"))[0]
    quarter = WIDTH // 4
    assert far(first[:, :quarter].mean(axis=(0, 1)), RED) < 15
    assert far(first[:, -quarter:].mean(axis=(0, 1)), BLUE) < 15


def test_a_picture_of_one_pixel_is_a_plain_one(film: Film, media: Path) -> None:
    plain(BLUE, 1, 1).save(media / "pixel.png")
    assert far(seen(film(AUDIO, image_url="pixel.png"), 0), BLUE) < 10


def test_a_transparent_picture(film: Film, media: Path) -> None:
    plain(GREEN).convert("RGBA").save(media / "alpha.png")
    assert far(seen(film(AUDIO, image_url="alpha.png"), 0), GREEN) < 10


# --- what is refused, and why -------------------------------------------------------------------


def write_bad(folder: Path) -> None:
    frames = [plain(colour, 64, 48) for colour in (RED, GREEN)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
    speak(folder / "empty.wav", seconds=0)
    speak(folder / "long.wav", seconds=61, rate=8000)
    (folder / "note.png").write_text("a note")
    with av.open(str(folder / "silent.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_image(frames[0])))
        container.mux(stream.encode(None))


def ten() -> list[dict[str, Any]]:
    return [{"image_url": "red.png"}] * 10


def rows(**more: Any) -> list[dict[str, Any]]:
    return [{"image_url": "red.png"}, {"image_url": "blue.png", **more}]


BALANCED = {"quality_preset": "balanced"}


@pytest.mark.parametrize(
    ("mode", "params", "error", "reason"),
    [
        (LIPSYNC, {"audio_url": "silent.mp4"}, InputError,
         r"audio_url: .*silent\.mp4 is MP4 without a sound stream"),
        (LIPSYNC, {"audio_url": "red.png"}, InputError, r"red\.png is an image \(PNG\), not a sound"),
        (LIPSYNC, {"audio_url": "empty.wav"}, InputError, r"empty\.wav lasts 0 s: it holds no sound"),
        (LIPSYNC, {"audio_url": "long.wav"}, InputError, r"long\.wav lasts 61\.00 s; at most 30 s"),
        (KEYED_LIPSYNC, {"audio_url": "long.wav"}, InputError, r"lasts 61\.00 s; at most 30 s"),
        (LIPSYNC, {"image_url": "moving.gif"}, InputError, r"image_url: .*is an animation \(GIF\)"),
        (KEYED_AUDIO, {"keyframes": [{"image_url": "moving.gif"}]}, InputError,
         r"keyframes\[0\]\.image_url: .*is an animation \(GIF\)"),
        (AUDIO, {"image_url": "note.png"}, InputError, r"note\.png is a text, not an image"),
        (AUDIO, {"image_url": "nowhere.png"}, InputError, r"nowhere\.png: No such file"),
        (AUDIO, {"image_url": None}, InvalidParameters, "image_url: is required"),
        (KEYED_AUDIO, {"keyframes": ten()}, InvalidParameters, "keyframes: 10 keyframes; at most 9"),
        (KEYED_AUDIO, {"keyframes": []}, InvalidParameters, "keyframes: 0 keyframes; at least 1"),
        (KEYED_AUDIO, {"keyframes": rows(frame_position=1.5)}, InvalidParameters,
         r"keyframes\[1\]\.frame_position: 1\.5 is not between 0 and 1"),
        (KEYED_AUDIO, {"keyframes": rows(frame_position="middle")}, InvalidParameters,
         r"keyframes\[1\]\.frame_position: 'middle' is not first, last or a number"),
        (KEYED_AUDIO, {"keyframes": rows(strength="high")}, InvalidParameters,
         r"keyframes\[1\]\.strength: 'high' is not a number"),
        (AUDIO, {"width": 1000}, InvalidParameters,
         "width: 1000 is not a multiple of 32; nearest 992 or 1024"),
        (AUDIO, {"width": 736, **BALANCED}, InvalidParameters,
         r"width: 736 is not a multiple of 64 \(two stages\); nearest 704 or 768"),
        (LIPSYNC, {"height": 96, **BALANCED}, InvalidParameters,
         "height: 96 is not between 128 and"),
        (KEYED_AUDIO, {"keyframes": [{"image_url": "red.png", "frame_position": "first"},
                                     {"image_url": "blue.png", "frame_position": 0}]},
         InvalidParameters,
         r"keyframes\[1\]\.frame_position: 0 is the place of keyframes\[0\] \('first'\), too"),
        (AUDIO, {"duration": 0.5}, InvalidParameters, "duration: 0.5 is not between 1 and 30"),
        (AUDIO, {"duration": 61}, InvalidParameters, "duration: 61 is not between 1 and 30"),
        (AUDIO, {"quality_preset": "best"}, InvalidParameters, "quality_preset: 'best' is not one of"),
        (AUDIO, {"audio_url": "speech.wav"}, InvalidParameters, "audio_url: is no parameter"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_rendering(
    engine: Engine, settings: Settings, media: Path, tmp_path: Path,
    mode: str, params: dict[str, Any], error: type[RunnerError], reason: str,
) -> None:  # fmt: skip
    if not (media / "silent.mp4").exists():
        write_bad(media)
    said: list[Progress] = []
    found = workflows.find(mode, settings.workflows)
    with pytest.raises(error, match=reason) as caught:
        run(
            check(Job(uuid.uuid4().hex, mode, request(media, mode, **params)), found),
            engine=engine,
            storage=LocalStorage(tmp_path / "out"),
            prepare=setup.stand_ins(settings),
            access=LOCAL,
            report=said.append,
        )
    assert isinstance(caught.value, RequestError | PromptRejected)
    assert {p.fraction for p in said} <= {0.0}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("fps", "nearest"), [(23, 24), (26, 25), (29, 30), (60, 30)])
def test_fps_is_24_or_25_or_30(
    settings: Settings, media: Path, mode: str, fps: int, nearest: int
) -> None:
    found = workflows.find(mode, settings.workflows)
    message = f"fps: {fps} is not one of 24, 25, 30; nearest {nearest}$"
    with pytest.raises(InvalidParameters, match=message):
        check(Job("fps", mode, request(media, mode, fps=fps)), found)
    assert check(Job("fps", mode, request(media, mode)), found).values["fps"] == 30


@pytest.mark.parametrize(
    ("mode", "params"),
    [(KEYED_AUDIO, {"duration": 1}), (KEYED_LIPSYNC, {"audio_url": "short.wav"})],
)
def test_more_keyframes_than_fit_are_refused_before_a_prompt_is_encoded(
    engine: Engine,
    settings: Settings,
    media: Path,
    tmp_path: Path,
    mode: str,
    params: dict[str, Any],
) -> None:
    """By Fit keyframes, and not by the guides, which wait for the text encoder and the VAE."""
    nine = [{"image_url": f"{name}.png"} for name in [*COLOURS] * 3]
    job = Job(uuid.uuid4().hex, mode, request(media, mode, keyframes=nine, **params))
    ready = check(job, workflows.find(mode, settings.workflows))
    reason = "^Fit keyframes: .*9 keyframes do not fit: 3[01] frames have room for 5, on every 8th"
    with pytest.raises(ExecutionFailed, match=reason):
        run(
            ready,
            engine=engine,
            storage=LocalStorage(tmp_path),
            prepare=setup.stand_ins(settings),
            access=LOCAL,
        )
