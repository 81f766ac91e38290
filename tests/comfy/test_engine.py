"""The engine: starts, says why it cannot, leaves ComfyUI's tree alone; jobs can be canceled."""

import dataclasses
import io
import socket
import threading
import time
import uuid
from pathlib import Path

import pytest
from PIL import Image

from runner import parameters
from runner.comfy import engine as engines
from runner.comfy.client import Comfy
from runner.comfy.engine import LocalEngine as Engine
from runner.entrypoints import setup
from runner.errors import Canceled, EngineUnavailable, Interrupted, PromptRejected
from runner.job import Job, Progress
from runner.request import check
from runner.run import run
from runner.settings import Settings
from runner.storage.local import LocalStorage
from runner.workflow import Workflow

from rendering import SMALL, Render, tree


def test_nothing_is_written_into_comfyuis_tree(
    comfyui_before: dict[Path, tuple[int, int]], settings: Settings, render: Render
) -> None:
    render()
    assert tree(settings.comfyui_dir) == comfyui_before


def test_no_comfyui_says_what_to_do(settings: Settings, tmp_path: Path) -> None:
    elsewhere = dataclasses.replace(settings, comfyui_dir=tmp_path)
    with (
        pytest.raises(EngineUnavailable, match="COMFYUI_DIR"),
        setup.started(elsewhere, rehearse=True),
    ):
        pass


def test_an_engine_that_ends_at_start_shows_the_end_of_its_log(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
    (tmp_path / "main.py").write_text('import sys; print("no module named torch"); sys.exit(3)\n')
    broken = dataclasses.replace(settings, comfyui_dir=tmp_path)
    with (
        pytest.raises(EngineUnavailable, match=r"exit code 3[\s\S]*no module named torch"),
        setup.started(broken, rehearse=True),
    ):
        pass


def test_another_version_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.29.1"\n')
    with pytest.warns(UserWarning, match=r"0\.29\.1; callsheet is tested with 0\.30\.0"):
        engines.check_version(tmp_path)


def test_the_packs_widgets_are_those_the_runner_reads(engine: Engine) -> None:
    for class_type, names in parameters.WIDGETS.items():
        sections = engine.comfy.object_info()[class_type]["input"]
        declared = {**sections["required"], **sections.get("optional", {})}
        widgets: list[str] = []
        for name, (_, options) in declared.items():
            widgets += [
                name,
                *(["control_after_generate"] if "control_after_generate" in options else []),
            ]
        assert tuple(widgets) == names


def test_the_server_refuses_what_the_runner_would(engine: Engine) -> None:
    prompt = {
        "1": {"class_type": "CallsheetInteger", "_meta": {"title": "Width"}, "inputs": {
            "value": 1000, "name": "width", "description": "", "required": False,
            "min": 64, "max": 1920, "step": 16}},
        "2": {"class_type": "PreviewAny", "_meta": {"title": "See"}, "inputs": {"source": ["1", 0]}},
    }  # fmt: skip
    with pytest.raises(PromptRejected) as caught:
        list(engine.comfy.run(prompt, prompt_id=str(uuid.uuid4()), workflow={}))
    assert str(caught.value) == (
        "Width (node 1): width: 1000 is not a multiple of 16; nearest 992 or 1008"
    )


@pytest.mark.parametrize("by", ["the caller", "somebody else"])
def test_a_job_that_is_ended_early(
    engine: Engine, settings: Settings, wan: Workflow, render: Render, tmp_path: Path, by: str
) -> None:
    long = {**SMALL, "steps": 100, "num_frames": 81, "seed": int(time.time())}
    job, canceled = Job(uuid.uuid4().hex, "w", long), threading.Event()

    def end(progress: Progress) -> None:
        if not progress.step or canceled.is_set():
            return
        if by == "the caller":
            canceled.set()
        else:
            with Comfy(engine.url) as other:
                other.cancel(job.prompt_id())

    before, out = engine.process.pid, tmp_path / "out"
    with pytest.raises(Canceled if by == "the caller" else Interrupted):
        run(
            check(job, wan),
            engine=engine,
            storage=LocalStorage(out),
            prepare=setup.stand_ins(settings),
            report=end,
            canceled=canceled,
        )
    assert not out.exists()
    assert render().artifacts
    assert engine.process.pid == before  # it was free in time


def test_previews_come_on_request(
    engine: Engine, settings: Settings, wan: Workflow, tmp_path: Path
) -> None:
    job, seen = Job(uuid.uuid4().hex, "w", {**SMALL, "seed": 7}), list[bytes]()
    run(
        check(job, wan),
        engine=engine,
        storage=LocalStorage(tmp_path),
        prepare=setup.stand_ins(settings),
        report=lambda p: seen.append(p.preview) if p.preview else None,
        previews=True,
    )
    assert seen
    assert Image.open(io.BytesIO(seen[0])).size > (0, 0)


def test_jobs_on_one_engine_do_not_see_each_others_files(render: Render) -> None:
    first, second = render(), render()
    assert Path(first.artifacts[0].location).is_file()
    assert Path(second.artifacts[0].location).is_file()
    assert first.artifacts[0].location != second.artifacts[0].location


def test_a_taken_port_is_said_so(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        options = dataclasses.replace(setup.engine_options(settings, rehearse=True), port=port)
        with (
            pytest.raises(EngineUnavailable, match=f"port {port} is taken"),
            engines.running(options),
        ):
            pass
