"""Speakers, start and plan of a talking video on the real ComfyUI: files made on the spot."""

import json
import math
import uuid
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from runner import parameters
from runner.comfy.engine import Engine
from runner.errors import ExecutionFailed, PromptRejected
from runner.graph import to_api

from sounds import sound, speak

Prompt = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def folder(engine: Engine) -> Path:
    """A folder of the engine's input folder."""
    made = engine.input / "talk"
    made.mkdir()
    speak(made / "one.wav", seconds=1.0, rate=16000)
    speak(made / "two.wav", seconds=2.0, rate=44100, channels=2, loudness=0.1)
    speak(made / "minute.wav", seconds=61, rate=8000)
    with wave.open(str(made / "old.wav"), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(int(128 + 90 * math.sin(i / 4)) for i in range(8000)))
    encode(made / "liar.wav", "libmp3lame", "mp3")
    encode(made / "film.mp4", "aac", "mp4", frames=40)
    picture = Image.new("RGB", (400, 300), (255, 0, 0))
    picture.paste((0, 0, 255), (200, 0, 400, 300))
    picture.save(made / "both.png")
    mask = Image.new("L", (200, 150))  # half the picture's size
    mask.paste(255, (120, 30, 180, 120))
    mask.save(made / "right.png")
    Image.new("L", (8, 8)).save(made / "black.png")
    return made


def encode(path: Path, codec: str, container: str, frames: int = 0) -> None:
    """A second of sound; pictures that grow brighter: frame i is 5·i."""
    with av.open(str(path), "w", format=container) as out:
        pictures = out.add_stream("libx264", rate=25, options={"crf": "1"}) if frames else None
        track = out.add_stream(codec, rate=44100, layout="mono")
        if pictures is not None:
            pictures.width, pictures.height, pictures.pix_fmt = 320, 192, "yuv420p"
            for index in range(frames):
                grey = np.full((192, 320, 3), 5 * index, dtype=np.uint8)
                out.mux(pictures.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            out.mux(pictures.encode(None))
        tone = np.sin(np.arange(44100, dtype=np.float32) / 20)[None] * 0.5
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 44100
        out.mux(track.encode(frame))
        out.mux(track.encode(None))


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def speakers(*rows: dict[str, Any], **limits: Any) -> dict[str, Any]:
    own = {"value": json.dumps(rows), "name": "it", "description": "", "required": True}
    return node("CallsheetSpeakers", **{**own, "min_rows": 1, "max_rows": 2, "max_duration": 0.0,
                                        **limits})  # fmt: skip


def arranged(*rows: dict[str, Any], mode: str = "add", **options: Any) -> Prompt:
    arrange = {"audio_mode": mode, "normalize": True, "max_duration": 600.0, **options}
    return {
        "speakers": speakers(*rows),
        "arrange": node("CallsheetArrangeSpeakers", speakers=["speakers", 0], **arrange),
    }


def run(engine: Engine, prompt: Prompt, **sees: tuple[str, int]) -> dict[str, str]:
    """What each of the outputs is, as text."""
    shown = {name: node("PreviewAny", source=list(link)) for name, link in sees.items()}
    prompt_id = str(uuid.uuid4())
    list(engine.comfy.run({**prompt, **shown}, prompt_id=prompt_id, workflow={}))
    return dict(engine.comfy.outcome(prompt_id).texts)


def saved(engine: Engine, prompt: Prompt, save: dict[str, Any]) -> list[Path]:
    prompt_id = str(uuid.uuid4())
    list(engine.comfy.run({**prompt, "save": save}, prompt_id=prompt_id, workflow={}))
    files = engine.comfy.outcome(prompt_id).files
    return [engine.output / file.subfolder / file.filename for file in files]


def pictures(engine: Engine, prompt: Prompt, output: tuple[str, int]) -> list[np.ndarray]:
    """Of an IMAGE output: [height, width, 3] each, 0..255."""
    save = node("SaveImage", images=list(output), filename_prefix=uuid.uuid4().hex)
    return [np.asarray(Image.open(path).convert("RGB")) for path in saved(engine, prompt, save)]


def refusal(engine: Engine, prompt: Prompt, output: tuple[str, int]) -> str:
    with pytest.raises((PromptRejected, ExecutionFailed)) as caught:
        run(engine, prompt, see=output)
    return str(caught.value)


# --- speakers -------------------------------------------------------------------------------------


def test_speakers_of_any_sound(engine: Engine, folder: Path) -> None:
    for rows in (["talk/old.wav", "talk/liar.wav"], ["talk/film.mp4"]):
        prompt = {"1": speakers(*({"audio": name} for name in rows))}
        said = run(engine, prompt, count=("1", 1), is_given=("1", 2))
        assert said == {"count": str(len(rows)), "is_given": "True"}


def test_not_given(engine: Engine) -> None:
    prompt = {"1": speakers(required=False)}
    said = run(engine, prompt, all=("1", 0), count=("1", 1), is_given=("1", 2))
    assert said == {"all": "[]", "count": "0", "is_given": "False"}


def test_every_row_with_a_problem_is_named(engine: Engine, folder: Path) -> None:
    rows = [
        {"audio": "talk/gone.wav", "bbox": [1, 2, 3]},
        {"audio": "talk/minute.wav", "mask": "talk/one.wav"},
        {"audio": "talk/both.png"},
    ]
    prompt = {"1": speakers(*rows, max_duration=60)}
    with pytest.raises(PromptRejected) as caught:
        run(engine, prompt, see=("1", 0))
    said = str(caught.value)
    for part in (
        "it: 3 speakers; at most 2: the weights tell two people apart, no more",
        "row 1: no such audio file: talk/gone.wav",
        "row 1: bbox [1, 2, 3] is not [x, y, width, height]: four numbers of 0 or more",
        "row 2: talk/minute.wav: 61 seconds long; at most 60",
        "row 2: talk/one.wav: not a readable picture",
        "row 3: talk/both.png: there is no sound in it",
    ):
        assert part in said


def test_a_replaced_sound_is_read_again(engine: Engine, folder: Path) -> None:
    for seconds in (1.0, 1.6):
        speak(folder / "replaced.wav", seconds=seconds, rate=8000)
        said = run(engine, arranged({"audio": "talk/replaced.wav"}), duration=("arrange", 2))
        assert float(said["duration"]) == seconds


def test_what_the_runner_fills_in_is_what_the_node_reads(engine: Engine, folder: Path) -> None:
    stored = {
        "id": 1, "type": "CallsheetSpeakers", "title": "Speakers", "inputs": [], "outputs": [],
        "mode": 0, "widgets_values": ["[]", "speakers", "", True, 1, 2, 60],
    }  # fmt: skip
    document = {"version": 0.4, "nodes": [stored], "links": []}
    found = parameters.read(document)
    rows = [
        {"audio_url": "talk/one.wav", "bbox": [0, 0, 0.5, 1], "mask_url": None},
        {"audio_url": "talk/two.wav", "bbox": None, "mask_url": "talk/right.png"},
    ]
    parameters.validate(found, {"speakers": rows})
    filled = parameters.fill(document, found, {"speakers": rows})
    prompt = to_api(filled, engine.comfy.object_info())
    assert run(engine, prompt, count=("1", 1)) == {"count": "2"}


def test_widgets_are_those_that_the_runner_knows(engine: Engine) -> None:
    inputs = engine.comfy.object_info()["CallsheetSpeakers"]["input"]["required"]
    assert tuple(inputs) == parameters.WIDGETS["CallsheetSpeakers"]
    columns = inputs["value"][1]["columns"]
    assert [(column["name"], column["type"]) for column in columns] == [
        ("audio", "audio"), ("bbox", "box"), ("mask", "image"),
    ]  # fmt: skip


# --- their sounds ---------------------------------------------------------------------------------

ROWS = ({"audio": "talk/one.wav"}, {"audio": "talk/two.wav"})


@pytest.mark.parametrize(("mode", "seconds", "frames"), [("add", 3.0, 75), ("para", 2.0, 50)])
def test_arranged(engine: Engine, folder: Path, mode: str, seconds: float, frames: int) -> None:
    prompt = arranged(*ROWS, mode=mode)
    said = run(engine, prompt, all=("arrange", 0), duration=("arrange", 2), frames=("arrange", 3))
    assert (float(said["duration"]), int(said["frames"])) == (seconds, frames)
    assert said["all"].count("'voice'") == 2 and "16000" in said["all"]
    save = node("SaveAudio", audio=["arrange", 1], filename_prefix=uuid.uuid4().hex)
    heard = sound(saved(engine, prompt, save)[0])
    assert (heard.rate, len(heard.samples), heard.seconds) == (44100, 2, seconds)
    quiet = sound(folder / "two.wav").samples  # not normalised: as quiet as it was
    part = heard.samples[:, 44100:]
    expected = quiet if mode == "add" else quiet[:, 44100:]
    assert part == pytest.approx(expected, abs=2e-3)


def test_too_long_is_refused_with_both_figures(engine: Engine, folder: Path) -> None:
    said = refusal(engine, arranged(*ROWS, max_duration=2.5), ("arrange", 2))
    assert "3 s of sound (1 + 2); at most 2.5 s" in said


# --- the start ------------------------------------------------------------------------------------


def start(size: str, **links: Any) -> Prompt:
    return {
        "image": node("LoadImage", image="talk/both.png"),
        "video": node("LoadVideo", file="talk/film.mp4"),
        "start": node("CallsheetFitStart", size=size, **links),
    }


def test_a_picture_is_fitted(engine: Engine, folder: Path) -> None:
    prompt = start("draft", image=["image", 0])
    said = run(engine, prompt, motion=("start", 1), width=("start", 2), height=("start", 3))
    assert said == {"motion": "None", "width": "176", "height": "144"}  # 3:4 is 0.75: 0.82
    (fitted,) = pictures(engine, prompt, ("start", 0))
    assert fitted.shape == (144, 176, 3)
    assert fitted[70, 40].tolist() == [255, 0, 0] and fitted[70, 140].tolist() == [0, 0, 255]
    (source,) = pictures(engine, prompt, ("start", 4))
    assert source.shape == (300, 400, 3)


def test_a_choice_names_the_size(engine: Engine, folder: Path) -> None:
    choice = node("CallsheetChoice", value="multitalk-720", name="size", description="",
                  required=False, choices="multitalk-480\nmultitalk-720\ndraft")  # fmt: skip
    prompt = {**start("draft", image=["image", 0]), "choice": choice}
    prompt["start"]["inputs"]["size"] = ["choice", 0]
    said = run(engine, prompt, width=("start", 2), height=("start", 3))
    assert said == {"width": "1088", "height": "832"}
    prompt["plan"] = node("CallsheetMultiTalkPlan", turbo=False, size=["choice", 0], steps=0,
                          text_guide_scale=0, audio_guide_scale=0, shift=0,
                          presets=default(engine, "CallsheetMultiTalkPlan", "presets"))  # fmt: skip
    said = run(engine, prompt, **{name: ("plan", i) for i, name in enumerate("abcd")})
    assert said == {"a": "40", "b": "5.0", "c": "4.0", "d": "11.0"}


def default(engine: Engine, class_type: str, name: str) -> Any:
    return engine.comfy.object_info()[class_type]["input"]["required"][name][1]["default"]


def test_the_end_of_a_clip_is_what_comfyui_decodes(engine: Engine, folder: Path) -> None:
    prompt = start("draft", video=["video", 0])
    prompt["parts"] = node("GetVideoComponents", video=["video", 0])
    said = run(engine, prompt, width=("start", 2), height=("start", 3))
    width, height = int(said["width"]), int(said["height"])
    assert (width, height) == (192, 128)  # 192:320 is 0.6: 0.67
    prompt["fit"] = node("CallsheetFitImage", image=["parts", 0], width=width, height=height,
                         method="crop", multiple=1, background="black")  # fmt: skip
    ours = pictures(engine, prompt, ("start", 1))
    whole = pictures(engine, prompt, ("fit", 0))
    assert (len(ours), len(whole)) == (9, 40)
    assert np.stack(ours) == pytest.approx(np.stack(whole[-9:]), abs=1.01)
    (first,) = pictures(engine, prompt, ("start", 0))
    assert np.array_equal(first, ours[-1])


def test_a_clip_and_a_picture_have_the_pictures_size(engine: Engine, folder: Path) -> None:
    prompt = start("draft", image=["image", 0], video=["video", 0])
    motion = pictures(engine, prompt, ("start", 1))
    assert {picture.shape for picture in motion} == {(144, 176, 3)} and len(motion) == 9
    (first,) = pictures(engine, prompt, ("start", 0))
    assert first[70, 40].tolist() == [255, 0, 0]


def test_a_clip_made_in_the_graph(engine: Engine, folder: Path) -> None:
    prompt = start("draft")
    prompt["made"] = node("RepeatImageBatch", image=["image", 0], amount=4)
    prompt["video"] = node("CreateVideo", images=["made", 0], fps=50.0)
    prompt["start"]["inputs"]["video"] = ["video", 0]
    assert len(pictures(engine, prompt, ("start", 1))) == 2  # 4 frames at 50 are 2 at 25


@pytest.mark.parametrize(
    ("size", "links", "message"),
    [
        ("draft", {}, "neither image nor video is given; give an image that talks, or a video"),
        ("huge", {"image": ["image", 0]}, "size: 'huge' is not one of multitalk-480, multitalk"),
    ],
)
def test_no_start_is_refused(
    engine: Engine, folder: Path, size: str, links: dict[str, Any], message: str
) -> None:
    assert message in refusal(engine, start(size, **links), ("start", 2))


# --- masks ----------------------------------------------------------------------------------------


def masked(engine: Engine, *rows: dict[str, Any], **more: Any) -> list[np.ndarray]:
    """[height, width] each, 0 or 255."""
    return [picture[..., 0] for picture in pictures(engine, mask_graph(*rows, **more), ("show", 0))]


def mask_graph(*rows: dict[str, Any], **more: Any) -> Prompt:
    masks = node("CallsheetSpeakerMasks", speakers=["speakers", 0], image=["start", 4],
                 width=["start", 2], height=["start", 3], **more)  # fmt: skip
    return {
        **start("draft", image=["image", 0]),
        "speakers": speakers(*rows),
        "back": node("LoadImage", image="talk/right.png"),
        "back_mask": node("LoadImageMask", image="talk/right.png", channel="red"),
        "masks": masks,
        "show": node("MaskToImage", mask=["masks", 0]),
    }


def test_masks_of_boxes_masks_and_halves(engine: Engine, folder: Path) -> None:
    left, right = masked(engine, *ROWS)
    assert left.shape == right.shape == (144, 176)
    assert left[72, 44] == right[72, 132] == 255 and left[72, 132] == right[72, 44] == 0
    boxed, shown = masked(engine, {**ROWS[0], "bbox": [0.1, 0.2, 0.3, 0.6]},
                          {**ROWS[1], "mask": "talk/right.png"})  # fmt: skip
    assert boxed.mean() / 255 == pytest.approx(0.3 * 0.6 * 400 / (300 * 176 / 144), rel=0.05)
    assert shown[72, 132] == 255 and shown[72, 44] == 0
    (everywhere,) = masked(engine, ROWS[0])
    assert everywhere.min() == 255


@pytest.mark.parametrize("given", ["back", "back_mask"])
def test_a_background_is_the_third(engine: Engine, folder: Path, given: str) -> None:
    left, right, nobody = masked(engine, *ROWS, background=[given, 0])
    assert nobody[72, 132] == 255 and right[72, 132] == 0 and left[72, 44] == 255


def test_no_background_is_given(engine: Engine, folder: Path) -> None:
    prompt = mask_graph(*ROWS, background=["none", 0])
    prompt["none"] = node("CallsheetImage", value="", name="back", description="", required=False)
    assert len(pictures(engine, prompt, ("show", 0))) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"bbox": [300, 10, 200, 50]}, "speaker 2: bbox [300, 10, 200, 50] leaves the picture"),
        (
            {"bbox": [100, 10, 200, 50]},
            "the boxes of speaker 1 and speaker 2 overlap: x 100 to 190",
        ),
        ({"mask": "talk/black.png"}, "speaker 2: its mask is black all over"),
    ],
)
def test_a_wrong_place_names_the_speaker(
    engine: Engine, folder: Path, row: dict[str, Any], message: str
) -> None:
    assert message in refusal(engine, mask_graph(ROWS[0], {**ROWS[1], **row}), ("masks", 0))
