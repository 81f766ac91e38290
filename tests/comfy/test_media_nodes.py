"""Image, Audio, Video and Keyframes parameters on the real ComfyUI: files made on the spot."""

import json
import uuid
import wave
from collections.abc import Callable
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

Make = Callable[[str], Any]
FRESH: dict[str, dict[str, Any]] = {
    "CallsheetImage": {},
    "CallsheetVideo": {},
    "CallsheetAudio": {"max_duration": 0},
    "CallsheetKeyframes": {"min_rows": 1, "max_rows": 9},
}


@pytest.fixture(scope="module")
def folder(engine: Engine) -> Path:
    """A folder of the engine's input folder."""
    made = engine.input / "media"
    made.mkdir()
    picture = Image.new("RGB", (48, 32), (255, 0, 0))
    picture.paste((0, 0, 255), (24, 0, 48, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to see it
    picture.save(made / "plain.png")
    picture.save(made / "rotated.jpg", exif=exif, quality=100, subsampling=0)
    picture.convert("CMYK").save(made / "cmyk.jpg", quality=100)
    Image.fromarray(np.full((32, 48), 32768, dtype=np.uint16)).save(made / "sixteen.png")
    picture.save(made / "animated.gif", save_all=True, append_images=[picture.rotate(180)])
    (made / "broken.png").write_bytes((made / "plain.png").read_bytes()[:60])
    _wav(made / "voice.wav", seconds=2)
    _wav(made / "minute.wav", seconds=61)
    _wav(made / "nothing.wav", seconds=0)
    _silent_video(made / "silent.mp4")
    return made


def _wav(path: Path, seconds: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x00\x10" * 8000 * seconds)


def _silent_video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        for _ in range(5):
            frame = av.VideoFrame.from_image(Image.new("RGB", (32, 32), "red"))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def parameter(class_type: str, value: Any, required: bool = True, **limits: Any) -> dict[str, Any]:
    own = {"value": value, "name": "it", "description": "", "required": required}
    return {"class_type": class_type, "inputs": {**own, **FRESH[class_type], **limits}}


def run(engine: Engine, node: dict[str, Any], **sees: dict[str, Any]) -> str:
    """Runs the node as "1" with what looks at it."""
    prompt_id = str(uuid.uuid4())
    prompt = {"1": node, **sees}
    list(engine.comfy.run(prompt, prompt_id=prompt_id, workflow={}))
    return prompt_id


def text_of(engine: Engine, node: dict[str, Any], output: int) -> str:
    see = {"class_type": "PreviewAny", "inputs": {"source": ["1", output]}}
    return engine.comfy.outcome(run(engine, node, see=see)).texts[0][1]


def picture_of(engine: Engine, node: dict[str, Any]) -> np.ndarray:
    """The IMAGE of the first output: [height, width, 3], 0..255."""
    save = {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": uuid.uuid4().hex},
    }
    (saved,) = engine.comfy.outcome(run(engine, node, save=save)).files
    return np.asarray(Image.open(engine.output / saved.subfolder / saved.filename).convert("RGB"))


def refusal(engine: Engine, node: dict[str, Any]) -> str:
    with pytest.raises(PromptRejected) as caught:
        run(engine, node, see={"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}})
    return str(caught.value).partition(": ")[2]


# --- pictures -------------------------------------------------------------------------------------


def test_a_rotated_photo_comes_out_upright(engine: Engine, folder: Path) -> None:
    picture = picture_of(engine, parameter("CallsheetImage", "media/rotated.jpg"))
    assert picture.shape == (48, 32, 3)
    assert picture[5, 16] == pytest.approx([255, 0, 0], abs=6)  # red above, blue below
    assert picture[43, 16] == pytest.approx([0, 0, 255], abs=6)


def test_cmyk_and_sixteen_bits(engine: Engine, folder: Path) -> None:
    cmyk = picture_of(engine, parameter("CallsheetImage", "media/cmyk.jpg"))
    assert cmyk[16, 5] == pytest.approx([255, 0, 0], abs=12)
    assert cmyk[16, 43] == pytest.approx([0, 0, 255], abs=12)
    grey = picture_of(engine, parameter("CallsheetImage", "media/sixteen.png"))
    assert grey[16, 16] == pytest.approx([127, 127, 127], abs=1)


def test_a_replaced_picture_is_read_again(engine: Engine, folder: Path) -> None:
    node = parameter("CallsheetImage", "media/replaced.png")
    for colour in ([255, 0, 0], [0, 255, 0]):
        Image.new("RGB", (16, 16), tuple(colour)).save(folder / "replaced.png")
        assert picture_of(engine, node)[8, 8].tolist() == colour


@pytest.mark.parametrize(
    ("class_type", "value", "limits", "message"),
    [
        ("CallsheetImage", "media/animated.gif", {},
         "it: media/animated.gif: an animation (GIF, 2 pictures); one picture is needed"),
        ("CallsheetImage", "media/broken.png", {}, "it: media/broken.png: not a readable picture"),
        ("CallsheetImage", "media/gone.png", {}, "it: no such image: media/gone.png"),
        ("CallsheetImage", "media", {}, "it: no such image: media"),
        ("CallsheetImage", "../../etc/passwd", {}, "it: no such image: ../../etc/passwd"),
        ("CallsheetImage", "", {}, "it: no image is chosen"),
        ("CallsheetAudio", "media/silent.mp4", {}, "it: media/silent.mp4: there is no sound in it"),
        ("CallsheetAudio", "media/minute.wav", {"max_duration": 60},
         "it: media/minute.wav: 61 seconds long; at most 60"),
        ("CallsheetAudio", "media/plain.png", {}, "it: media/plain.png: there is no sound in it"),
        ("CallsheetAudio", "media/gone.wav", {}, "it: no such audio file: media/gone.wav"),
        ("CallsheetVideo", "media/voice.wav", {}, "it: media/voice.wav: there is no picture in it"),
        ("CallsheetVideo", "", {}, "it: no video is chosen"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_before_anything_runs(
    engine: Engine, folder: Path, class_type: str, value: str, limits: dict[str, Any], message: str
) -> None:
    assert refusal(engine, parameter(class_type, value, **limits)).startswith(message)


def test_a_sound_of_zero_seconds_is_refused(engine: Engine, folder: Path) -> None:
    node = parameter("CallsheetAudio", "media/nothing.wav")
    with pytest.raises((PromptRejected, ExecutionFailed), match="the sound is 0 seconds long"):
        text_of(engine, node, 1)


@pytest.mark.parametrize("class_type", FRESH)
def test_not_given(engine: Engine, class_type: str) -> None:
    given = {"CallsheetImage": 2, "CallsheetVideo": 1}.get(class_type, 2)
    node = parameter(class_type, "", required=False)
    assert text_of(engine, node, given) == "False"
    first = text_of(engine, node, 0)
    assert first == ("[]" if class_type == "CallsheetKeyframes" else "None")


# --- sound and video ------------------------------------------------------------------------------


def test_a_sound_and_its_length(engine: Engine, folder: Path) -> None:
    node = parameter("CallsheetAudio", "media/voice.wav", max_duration=2)
    assert text_of(engine, node, 1) == "2.0"
    assert text_of(engine, node, 2) == "True"
    save = {
        "class_type": "SaveAudio",
        "inputs": {"audio": ["1", 0], "filename_prefix": uuid.uuid4().hex},
    }
    (saved,) = engine.comfy.outcome(run(engine, node, save=save)).files
    with av.open(str(engine.output / saved.filename)) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 8000
        assert sum(frame.samples for frame in container.decode(audio=0)) == 16000


def test_a_video(engine: Engine, folder: Path) -> None:
    node = parameter("CallsheetVideo", "media/silent.mp4")
    parts = {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}}
    see = {"class_type": "PreviewAny", "inputs": {"source": ["parts", 2]}}
    outcome = engine.comfy.outcome(run(engine, node, parts=parts, see=see))
    assert outcome.texts[0][1] == "10.0"


# --- keyframes ------------------------------------------------------------------------------------


def test_keyframes(engine: Engine, folder: Path) -> None:
    rows = [
        {"image": "media/rotated.jpg", "position": "first"},
        {"image": "media/plain.png", "position": 0.5, "strength": 0.25},
        {"image": "media/cmyk.jpg"},
    ]
    node = parameter("CallsheetKeyframes", json.dumps(rows))
    assert text_of(engine, node, 1) == "3"
    assert text_of(engine, node, 2) == "True"
    shown = text_of(engine, node, 0)
    for wanted in ("'first'", "0.5", "None", "1.0", "0.25", "0.8"):
        assert wanted in shown


def test_every_row_with_a_problem_is_named(engine: Engine, folder: Path) -> None:
    rows = [
        {"image": "media/plain.png", "position": 0},
        {"image": "media/gone.png", "position": 1.5},
        {"image": "media/animated.gif", "strength": "high"},
        {"image": "media/plain.png", "position": "first"},
    ]
    said = refusal(engine, parameter("CallsheetKeyframes", json.dumps(rows), max_rows=3))
    assert said == (
        "it: 4 keyframes; at most 3; "
        "row 2: no such image: media/gone.png; row 2: position 1.5 is not between 0 and 1; "
        "row 3: media/animated.gif: an animation (GIF, 2 pictures); one picture is needed; "
        "row 3: strength 'high' is not a number; "
        "row 1 (0) and row 4 (first) are at the same place"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "it: 0 keyframes; at least 1"),
        ("[{", "it: not JSON: "),
        ('{"image": "a.png"}', "it: not a list of rows like"),
        (json.dumps([{"image": "media/plain.png"}] * 10), "it: 10 keyframes; at most 9"),
    ],
)
def test_a_wrong_list_is_refused(engine: Engine, folder: Path, value: str, message: str) -> None:
    assert refusal(engine, parameter("CallsheetKeyframes", value)).startswith(message)


def test_what_the_runner_fills_in_is_what_the_node_reads(engine: Engine, folder: Path) -> None:
    node = {
        "id": 1, "type": "CallsheetKeyframes", "title": "Keyframes", "inputs": [], "outputs": [],
        "mode": 0, "widgets_values": ["[]", "keyframes", "", True, 1, 9],
    }  # fmt: skip
    document = {"version": 0.4, "nodes": [node], "links": []}
    found = parameters.read(document)
    rows = [{"image_url": "media/plain.png", "frame_position": "last", "strength": 0.5}]
    parameters.validate(found, {"keyframes": rows})
    filled = parameters.fill(document, found, {"keyframes": rows})
    prompt = to_api(filled, engine.comfy.object_info())
    assert text_of(engine, prompt["1"], 1) == "1"
    assert "'last'" in text_of(engine, prompt["1"], 0)
