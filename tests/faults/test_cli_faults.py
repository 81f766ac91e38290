"""The command line with a ComfyUI that runs elsewhere, deadlines and ids that come twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

from runner.comfy.engine import LocalEngine

from faulty import graph


def callsheet(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner.entrypoints.cli", *words],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )  # fmt: skip


def saved(folder: Path, act: str, seconds: float = 0.0) -> str:
    file = folder / f"{act}.json"
    file.write_text(json.dumps(graph(act, seconds=seconds).document))
    return str(file)


def test_a_comfyui_elsewhere(engine: LocalEngine, tmp_path: Path) -> None:
    words = ["run", saved(tmp_path, "nothing"), "--comfy", engine.ready().url, "--job-id", "mine",
             "--to", str(tmp_path / "out"), "--json"]  # fmt: skip
    done = callsheet(*words)
    assert done.returncode == 0, done.stderr
    assert Path(json.loads(done.stdout)["artifacts"][0]["location"]).is_file()
    # The same once more: nothing is started, nobody is asked.
    again = callsheet(*[w if w != engine.url else "http://127.0.0.1:9" for w in words])
    assert json.loads(again.stdout) == json.loads(done.stdout)
    other = callsheet("run", saved(tmp_path, "sleep"), *words[2:])
    assert other.returncode == 2
    assert json.loads(other.stdout)["error"]["code"] == "job_conflict"


def test_a_deadline(engine: LocalEngine, tmp_path: Path) -> None:
    done = callsheet("run", saved(tmp_path, "sleep", 60.0), "--comfy", engine.ready().url,
                     "--timeout", "1", "--to", str(tmp_path / "out"), "--json")  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["code"] == "timed_out_total"
    assert list((tmp_path / "out").iterdir()) == []


def test_wrong_words(tmp_path: Path) -> None:
    file, to = saved(tmp_path, "nothing"), ["--to", str(tmp_path / "out")]
    for words, said, code in (
        (["--comfy", "127.0.0.1:8188"], "looks like http://127.0.0.1:8188", 2),
        (["--comfy", "http://127.0.0.1:9", "--rehearse"], "does not go with --comfy", 2),
        (["--timeout", "0"], "--timeout", 2),
    ):
        done = callsheet("run", file, *to, *words)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    done = callsheet("run", file, *to, CALLSHEET_STALL_TIMEOUT="soon")
    assert "CALLSHEET_STALL_TIMEOUT=soon: it is a number of seconds" in done.stderr
