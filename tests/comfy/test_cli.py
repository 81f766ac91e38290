"""The command line as people and scripts use it: a process, its output, its exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from runner.preview import GUTTER, WIDTH

RUN = ["run", "wan-t2v", "--rehearse", "-p", "prompt=a red kite", "-p", "num_frames=17", "-p",
       "width=128", "-p", "height=96", "-p", "steps=4"]  # fmt: skip


def callsheet(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner.entrypoints.cli", *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def test_json_is_one_document_whose_probe_matches_the_request(tmp_path: Path) -> None:
    done = callsheet(*RUN, "--to", str(tmp_path / "{workflow}"), "--json", "--preview")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    video = Path(result["artifacts"][0]["location"])
    with Image.open(video.with_suffix(".png")) as sheet:
        assert sheet.width == 6 * WIDTH + 7 * GUTTER
    assert str(video.with_suffix(".png")) in done.stderr
    assert "\033" not in done.stderr  # no terminal, no picture
    probe = result["artifacts"][0]["probe"]
    assert (probe["width"], probe["height"], probe["frames"], probe["fps"]) == (128, 96, 17, 16)
    assert video.parent == tmp_path / "wan-t2v"
    assert result["status"] == "succeeded"
    assert "100%" in done.stderr


def test_bad_parameters_are_all_named_before_anything_starts(tmp_path: Path) -> None:
    started = time.monotonic()
    done = callsheet("run", "wan-t2v", "-p", "width=1000", "-p", "num_frames=18", "-p", "promt=x",
                     "--json", "--to", str(tmp_path), COMFYUI_DIR=str(tmp_path))  # fmt: skip
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "invalid_parameters"
    assert {p["parameter"] for p in error["details"]["problems"]} == {
        "width", "num_frames", "promt", "prompt",
    }  # fmt: skip
    for said in ("nearest 992 or 1008", "nearest 17 or 21", "did you mean prompt?"):
        assert said in done.stderr
    assert time.monotonic() - started < 60
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "wan-t3v"], 2, "wan-t2v@1.0.0"),
        (["run", "nosuch.json"], 2, "there is no file nosuch.json"),
        (["run", "wan-t2v", "-p", "prompt"], 2, "write it as name=value"),
        (["run", "wan-t2v", "--params", "nosuch.json"], 2, "nosuch.json cannot be read"),
        (["run", "wan-t2v", "-p", "prompt=x", "--to", "ftp://x"], 2, "ftp://…: outputs cannot"),
        (["run", "--nosuch"], 2, "No such option"),
        (["run"], 2, "Missing argument"),
    ],
)
def test_a_wrong_request_exits_2(words: list[str], code: int, said: str) -> None:
    done = callsheet(*words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not done.stdout


def test_no_comfyui_exits_1(tmp_path: Path) -> None:
    done = callsheet(*RUN, COMFYUI_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "there is no ComfyUI in" in done.stderr


def test_list_show_and_schema_need_no_comfyui(tmp_path: Path) -> None:
    nowhere = {"COMFYUI_DIR": str(tmp_path)}
    assert "wan-t2v" in callsheet("list", **nowhere).stdout
    shown = callsheet("show", "wan-t2v", **nowhere).stdout
    for word in ("num_frames", "quality_preset", "fast | balanced | quality", "umt5_xxl"):
        assert word in shown
    schema = json.loads(callsheet("schema", "wan-t2v@1", **nowhere).stdout)
    assert schema["required"] == ["prompt"]


def test_convert_writes_what_prompt_takes(tmp_path: Path) -> None:
    done = callsheet(
        "convert", "workflows/wan-t2v/1.0.0.json", "--to", str(tmp_path), CALLSHEET_CPU="1"
    )
    assert done.returncode == 0, done.stderr
    assert "starting ComfyUI" in done.stderr
    prompt = json.loads((tmp_path / "1.0.0.api.json").read_text())
    assert {n["class_type"] for n in prompt.values()} >= {"KSamplerAdvanced", "SaveVideo"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cancels_the_job_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "runner.entrypoints.cli", *RUN[:3], "-p", "prompt=x", "-p",
               "width=640", "-p", "height=480", "-p", "steps=100", "--to", str(tmp_path / "out")]  # fmt: skip
    places = {"CALLSHEET_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **places},
        # A shell's background jobs ignore it, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Sample, high noise" in line:
                break
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "canceled" in said
    assert list((tmp_path / "out").iterdir()) == []
    (log,) = (tmp_path / "home" / "logs").iterdir()
    assert "interrupt" in log.read_text().lower()
    running = [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in _read(p)]
    assert running == []
    assert list(tmp_path.glob("callsheet-*")) == []


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:  # the process has ended meanwhile
        return ""
