"""`callsheet worker` and `callsheet bench`, as they are typed; ComfyUI rehearses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from runner.outputs import probe

from workers import free_port

CALLSHEET = Path(sys.executable).with_name("callsheet")
HUB = Path(__file__).resolve().parents[2] / ".runpod"


def typed(*words: str, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = ("PATH", "HOME", "COMFYUI_DIR", "CALLSHEET_CACHE", "LANG", "VIRTUAL_ENV")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    own |= {"CALLSHEET_HOME": str(home), "CALLSHEET_MIN_FREE_GB": "0.1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(CALLSHEET), *words], env={**own, **settings}, cwd=home,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_the_hub_s_test_runs_as_the_hub_runs_it(tmp_path: Path) -> None:
    """One job after a warm-up."""
    hub = json.loads((HUB / "tests.json").read_text())
    settings: dict[str, str] = {entry["key"]: entry["value"] for entry in hub["config"]["env"]}
    request = json.dumps({"input": hub["tests"][0]["input"]})
    done = typed("worker", "--test_input", request, home=tmp_path,
                 **settings, CALLSHEET_WARM_UP="jobs", CALLSHEET_TO=str(tmp_path / "out"))  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    events: list[dict[str, Any]] = [
        json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")
    ]
    warm = next(event for event in events if event.get("check") == "warm_up")
    assert re.fullmatch(r"wan-t2v@1\.[\d.]+ in [\d.]+ s", warm["found"])
    assert [e["event"] for e in events].index("job_taken") > events.index(warm)
    (video,) = (tmp_path / "out").glob("*.mp4")
    assert probe(video).frames == hub["tests"][0]["input"]["params"]["num_frames"]
    assert "completed successfully" in done.stdout + done.stderr


def test_a_wrong_setting_is_told_before_anything_starts(tmp_path: Path) -> None:
    done = typed("worker", home=tmp_path, CALLSHEET_WARM_UP="hot")
    assert done.returncode == 2
    assert "CALLSHEET_WARM_UP=hot: write no, files or jobs" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_comfyui_that_runs_already_is_not_started(tmp_path: Path) -> None:
    done = typed("worker", home=tmp_path, CALLSHEET_SERVE="wan-t2v", CALLSHEET_WARM_UP="no",
                 CALLSHEET_COMFY=f"http://127.0.0.1:{free_port()}")  # fmt: skip
    assert done.returncode == 1
    unfit = json.loads(done.stderr.splitlines()[-1])
    assert (unfit["event"], unfit["check"]) == ("unfit", "engine")
    assert "it is not ours to start" in unfit["message"]


def test_a_cold_start_by_its_stages(tmp_path: Path) -> None:
    done = typed("bench", "cold-start", "wan-t2v", "--rehearse", "--json", home=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    seconds = json.loads(done.stdout)["seconds"]
    assert {"start ComfyUI", "first small job", "the same again", "in all"} <= seconds.keys()
    parts = [value for stage, value in seconds.items() if stage != "in all"]
    assert abs(sum(parts) - seconds["in all"]) < 1.0, "nothing is left out"
