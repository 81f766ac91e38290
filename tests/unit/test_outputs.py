"""Outputs: which files count, what they hold, what is refused."""

from pathlib import Path

import av
import numpy as np
import pytest

from runner import outputs
from runner.errors import OutputMissing
from runner.job import Outcome, Saved
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
    files = outputs.collect(Outcome(tuple(saved)), FINAL, folders)
    assert [(f.name, f.probe.frames) for f in files] == [("Final", 17)]


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
        outputs.collect(Outcome((Saved("4", "a.mp4", "", "output"),)), FINAL, {"output": tmp_path})


def test_a_declared_output_without_a_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputMissing, match="Final"):
        outputs.collect(Outcome(()), FINAL, {"output": tmp_path})


def test_a_file_outside_comfyuis_folder_is_refused(tmp_path: Path) -> None:
    make_video(tmp_path / "secret.mp4")
    (tmp_path / "output").mkdir()
    saved = [Saved("4", "secret.mp4", "..", "output")]
    with pytest.raises(OutputMissing, match="outside"):
        outputs.collect(Outcome(tuple(saved)), FINAL, {"output": tmp_path / "output"})


def test_without_a_choice_what_is_saved_comes_before_what_is_shown(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    make_video(tmp_path / "preview.mp4", frames=3)
    folders = {"output": tmp_path, "temp": tmp_path}
    everything = Expected({"4": "Final", "9": "Look", "5": "Text"}, chosen=False)
    file, preview = Saved("4", "a.mp4", "", "output"), Saved("9", "preview.mp4", "", "temp")
    texts = (("5", "forty-two"),)
    both = outputs.collect(Outcome((file, preview), texts), everything, folders)
    assert [f.name for f in both] == ["Final"]
    shown = outputs.collect(Outcome((preview,), texts), everything, folders)
    assert [(f.name, f.probe.kind) for f in shown] == [("Look", "video"), ("Text", "text")]
    assert shown[1].path.read_text() == "forty-two"
    with pytest.raises(OutputMissing, match="no node has saved or shown"):
        outputs.collect(Outcome(()), everything, folders)
