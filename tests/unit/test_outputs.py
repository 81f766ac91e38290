"""Outputs: which files count, what they hold, what is refused."""

from pathlib import Path

import av
import numpy as np
import pytest

from runner import outputs
from runner.errors import OutputMissing, WorkflowError
from runner.job import Outcome, OutputFile, Probe, Saved
from runner.outputs import Expected

PROMPT = {
    "4": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "x"}, "_meta": {"title": "Final"}},
    "9": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "x"}, "_meta": {"title": "Draft"}},
    "5": {"class_type": "Other", "inputs": {}, "_meta": {"title": "o"}},
}  # fmt: skip
INFO = {"SaveVideo": {"output_node": True}, "Other": {}}
FINAL = Expected({"4": "Final"}, chosen=True)


def make_video(
    path: Path, *, frames: int = 17, fps: int = 16, size: tuple[int, int] = (96, 64)
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            image = np.full((size[1], size[0], 3), index * 7 % 255, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_app_view_chooses_and_orders_the_outputs() -> None:
    everything = outputs.expected(PROMPT, INFO, {})
    assert (dict(everything.names), everything.chosen) == ({"4": "Final", "9": "Draft"}, False)
    chosen = outputs.expected(PROMPT, INFO, {"extra": {"linearData": {"outputs": [9]}}})
    assert (dict(chosen.names), chosen.chosen) == ({"9": "Draft"}, True)


def test_every_saving_node_writes_under_the_jobs_prefix() -> None:
    prompt = outputs.with_prefix(PROMPT, {"4": "Final cut!"}, "jobs/7")
    assert prompt["4"]["inputs"]["filename_prefix"] == "jobs/7/final-cut"
    assert prompt["9"]["inputs"]["filename_prefix"] == "jobs/7/9"
    assert PROMPT["4"]["inputs"]["filename_prefix"] == "x"


def test_a_video_is_probed(tmp_path: Path) -> None:
    found = outputs.probe(make_video(tmp_path / "a.mp4"))
    assert (found.kind, found.codec, found.width, found.height) == ("video", "h264", 96, 64)
    assert (found.frames, found.fps, found.has_audio) == (17, 16.0, False)
    assert found.duration == pytest.approx(17 / 16)


def test_an_image_is_probed(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    found = outputs.probe(tmp_path / "a.png")
    assert (found.kind, found.width, found.height, found.fps) == ("image", 40, 30, None)


def test_collecting_follows_subfolder_and_type(tmp_path: Path) -> None:
    folders = {"output": tmp_path / "output", "temp": tmp_path / "temp"}
    make_video(folders["output"] / "jobs" / "a_00001_.mp4")
    make_video(folders["temp"] / "preview.mp4", frames=3)
    saved = [Saved("4", "preview.mp4", "", "temp"), Saved("4", "a_00001_.mp4", "jobs", "output")]
    files = outputs.collect(Outcome(tuple(saved)), FINAL, folders, tmp_path / "own")
    assert [(f.name, f.probe.frames) for f in files] == [("Final", 17)]


def make_sound(path: Path, codec: str, *, seconds: int = 2, rate: int = 48000) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        resampler = av.AudioResampler(
            format=stream.codec_context.format or "s16", layout=stream.layout, rate=rate
        )
        noise = np.random.default_rng(0)
        for index in range(seconds * 10):
            samples = noise.integers(-9999, 9999, (1, rate // 10), dtype=np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, index * rate // 10
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode())
    return path


def make_film(path: Path, codec: str, options: dict[str, str] | None = None) -> Path:
    """Two seconds of noise with sound: every part of the file counts."""
    noise = np.random.default_rng(0)
    with av.open(str(path), "w", options=options or {}) as container:
        video = container.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
        sound = container.add_stream("libopus" if path.suffix == ".webm" else "aac", rate=48000)
        form = "flt" if path.suffix == ".webm" else "fltp"
        for index in range(50):
            picture = noise.integers(0, 255, (96, 160, 3), dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            samples = noise.random((1, 1920), dtype=np.float32) - 0.5
            heard = av.AudioFrame.from_ndarray(samples, format=form, layout="mono")
            heard.sample_rate, heard.pts = 48000, index * 1920
            container.mux(sound.encode(heard))
        container.mux(video.encode())
        container.mux(sound.encode())
    return path


def make_animation(path: Path) -> Path:
    from PIL import Image

    noise = np.random.default_rng(0)
    frames = [
        Image.fromarray(noise.integers(0, 255, (64, 48, 3), dtype=np.uint8)) for _ in range(8)
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)
    return path


FAST = {"movflags": "+faststart"}  # the index comes first: a cut file still opens
WHOLE = {
    "faststart.mp4": lambda path: make_film(path, "h264", FAST),
    "video.mp4": lambda path: make_film(path, "h264"),
    "video.mkv": lambda path: make_film(path, "h264"),
    "video.webm": lambda path: make_film(path, "libvpx-vp9"),
    "sound.wav": lambda path: make_sound(path, "pcm_s16le"),
    "sound.flac": lambda path: make_sound(path, "flac"),
    "sound.mp3": lambda path: make_sound(path, "libmp3lame"),
    "sound.opus": lambda path: make_sound(path, "libopus"),
    "sound.m4a": lambda path: make_sound(path, "aac"),
    "moving.webp": make_animation,
    "moving.png": make_animation,
    "moving.gif": make_animation,
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_file_is_no_output_and_a_whole_one_is(tmp_path: Path, name: str) -> None:
    file = WHOLE[name](tmp_path / name)
    found = outputs.probe(file)
    assert found.duration == pytest.approx(0.32 if name.startswith("moving") else 2.0, abs=0.05)
    whole = file.read_bytes()
    for part in (0.3, 0.67, 0.9):
        file.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(OutputMissing):
            outputs.probe(file)


def test_an_animated_webp_is_a_video(tmp_path: Path) -> None:
    found = outputs.probe(make_animation(tmp_path / "a.webp"))
    assert (found.kind, found.frames, found.fps) == ("video", 8, 25.0)
    assert (found.width, found.height, found.codec) == (48, 64, "webp")


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise"])
def test_a_broken_output_is_no_success(tmp_path: Path, damage: str) -> None:
    file = make_video(tmp_path / "a.mp4")
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(
            {"empty": b"", "cut": whole[: len(whole) // 3], "noise": b"x" * 999}[damage]
        )
    with pytest.raises(OutputMissing):
        outputs.collect(
            Outcome((Saved("4", "a.mp4", "", "output"),)), FINAL, {"output": tmp_path}, tmp_path
        )


def test_a_declared_output_without_a_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputMissing, match="Final"):
        outputs.collect(Outcome(()), FINAL, {"output": tmp_path}, tmp_path)


def test_a_file_outside_comfyuis_folder_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "secret.mp4")
    (tmp_path / "output").mkdir()
    saved = [Saved("4", "secret.mp4", "..", "output")]
    with pytest.raises(OutputMissing, match="outside"):
        outputs.collect(Outcome(tuple(saved)), FINAL, {"output": tmp_path / "output"}, tmp_path)


def test_without_a_choice_what_is_saved_comes_before_what_is_shown(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    make_video(tmp_path / "preview.mp4", frames=3)
    folders = {"output": tmp_path, "temp": tmp_path}
    everything = Expected({"4": "Final", "9": "Look", "5": "Text"}, chosen=False)
    file, preview = Saved("4", "a.mp4", "", "output"), Saved("9", "preview.mp4", "", "temp")
    texts = (("5", "forty-two"),)
    both = outputs.collect(Outcome((file, preview), texts), everything, folders, tmp_path / "own")
    assert [f.name for f in both] == ["Final"]
    shown = outputs.collect(Outcome((preview,), texts), everything, folders, tmp_path / "own")
    assert all(f.path.parent == tmp_path / "own" for f in shown)  # removed with all of the job's
    assert [(f.name, f.probe.kind) for f in shown] == [("Look", "video"), ("Text", "text")]
    assert shown[1].path.read_text() == "forty-two"
    with pytest.raises(OutputMissing, match="no node has saved or shown"):
        outputs.collect(Outcome(()), everything, folders, tmp_path / "own")


def test_a_file_that_saves_nothing_is_refused() -> None:
    prompt = {"1": {"class_type": "Silent", "inputs": {}}}
    with pytest.raises(WorkflowError, match="add a node that does, such as Save Video"):
        outputs.expected(prompt, {"Silent": {"output_node": False}}, {})


def test_a_name_in_any_script_fits_into_a_file_name() -> None:
    name = outputs.slug("视频" * 60)
    assert 70 < len(name.encode()) <= 80
    assert "视频".startswith(name[-2:])
    names = outputs.file_names(
        (OutputFile("视频" * 60, Path("a.mp4"), Probe("video")),), outputs.stem("任" * 80)
    )
    assert all(len(f".{n}.part".encode()) < 255 for n in names)
