"""The engine dies, hangs or does not let go: every job ends in the right state, the next one runs."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.comfy import engine as engines
from runner.comfy import waiting
from runner.comfy.client import Message
from runner.comfy.engine import EngineOptions, LocalEngine
from runner.comfy.fullness import Kernel
from runner.comfy.process import Process
from runner.comfy.supervisor import FREE_WITHIN
from runner.errors import Canceled, EngineUnavailable
from runner.job import Deadlines
from runner.settings import Settings

from faulty import BUSY, HASTY, Cancel, Fault, act, as_soon_as, rendered, until, when


def send(engine: LocalEngine, number: signal.Signals) -> None:
    os.kill(engine.process.pid, number)


def next_one_runs(engine: LocalEngine) -> None:
    assert rendered(engine, act("nothing")).files


def test_killed_once(engine: LocalEngine, fault: Fault) -> None:
    """The engine is killed (SIGKILL) while the job runs."""
    before = engine.ready() and engine.process.pid
    outcome = fault.watch(
        lambda: rendered(
            engine, act("sleep", 1.0), see=when("executing", lambda: send(engine, signal.SIGKILL))
        )
    )
    assert fault.seen == "succeeded", outcome
    assert outcome.files
    assert engine.process.pid != before


def test_death_is_noticed_at_once(engine: LocalEngine) -> None:
    engine.ready()
    killed: list[float] = []
    noticed: list[float] = []

    def see(message: object, now: float) -> None:
        kind = message.type  # type: ignore[attr-defined]
        if kind == "progress" and not killed:
            killed.append(now)
            send(engine, signal.SIGKILL)
        if kind == "engine_lost":
            noticed.append(now)

    assert rendered(engine, act("sleep", 2.0), see=see).files
    assert noticed[0] - killed[0] < HASTY.silence  # it is seen to end, not missed


def test_killed_twice(engine: LocalEngine, fault: Fault) -> None:
    """The engine dies each time on the same job."""
    error = fault.watch(lambda: rendered(engine, act("leave")))
    assert fault.seen == "engine_unavailable"
    assert "exit code 7" in str(error)
    assert "the node leaves" in str(error)  # the end of the log
    assert error.details["attempts"] == 2
    next_one_runs(engine)


def test_frozen(engine: LocalEngine, fault: Fault, tmp_path: Path) -> None:
    """The engine hangs (SIGSTOP) while the job runs."""
    outcome = fault.watch(lambda: rendered(engine, act("freeze once", mark=tmp_path / "mark")))
    assert fault.seen == "succeeded", outcome
    assert outcome.files


def test_busy_is_not_hanging(engine: LocalEngine, fault: Fault) -> None:
    """The engine cannot answer for a while because a node keeps Python to itself."""
    before = engine.ready() and engine.process.pid
    fault.watch(lambda: rendered(engine, act("hold", 1.2)))
    assert fault.seen == "succeeded"
    assert engine.process.pid == before


@pytest.mark.parametrize(
    ("what", "seconds", "restarted"), [("sleep", 60.0, False), ("deaf", 60.0, True)]
)
def test_canceled_while_running(
    engine: LocalEngine, fault: Fault, tmp_path: Path, what: str, seconds: float, restarted: bool
) -> None:
    """The caller cancels a running job, in a node of kind "{what}"."""
    before = engine.ready() and engine.process.pid
    canceled, mark = Cancel(), tmp_path / "mark"
    prompt = act(what, seconds, mark)
    with as_soon_as(mark.exists, canceled.set):
        fault.watch(lambda: rendered(engine, prompt, canceled=canceled))
    took = canceled.ago()
    assert fault.seen == "canceled"
    assert took < FREE_WITHIN + BUSY
    next_one_runs(engine)
    assert (engine.process.pid != before) == restarted


def test_canceled_in_the_queue(engine: LocalEngine, fault: Fault) -> None:
    """The caller cancels a job that waits for another one."""
    engine.ready()
    first, over, canceled = threading.Event(), Cancel(), Cancel()
    said: list[str] = []

    def run_on() -> None:
        with pytest.raises(Canceled):
            rendered(engine, act("sleep", 60.0), canceled=over, see=when("executing", first.set))

    def see(message: Message, now: float) -> None:
        said.append(message.type)
        canceled.set()

    running = threading.Thread(target=run_on)
    running.start()
    try:
        assert first.wait(20)
        limits = Deadlines(total=20.0)
        fault.watch(
            lambda: rendered(engine, act("nothing"), canceled=canceled, see=see, deadlines=limits)
        )
        assert running.is_alive()
    finally:
        over.set()
        running.join()
    assert fault.seen == "canceled"
    assert said == ["tick"]  # it is told that it waits
    assert canceled.ago() < BUSY


@pytest.mark.parametrize("what", ["sleep", "deaf"])
def test_too_long(engine: LocalEngine, fault: Fault, what: str) -> None:
    """The job runs longer than its whole time, in a node of kind "{what}"."""
    engine.ready()
    limits = Deadlines(total=1.5, queue=60, stalled=60)
    error = fault.watch(lambda: rendered(engine, act(what, 60.0), deadlines=limits))
    assert (fault.seen, error.details["limit"]) == ("timed_out_total", 1.5)
    assert fault.seconds < 1.5 + FREE_WITHIN + BUSY
    next_one_runs(engine)


def test_stalled_once(engine: LocalEngine, fault: Fault, tmp_path: Path) -> None:
    """A node makes no progress for longer than it may, once."""
    before = engine.ready() and engine.process.pid
    limits = Deadlines(total=60, queue=60, stalled=2.0)
    prompt = act("deaf once", 60.0, tmp_path / "mark")
    outcome = fault.watch(lambda: rendered(engine, prompt, deadlines=limits))
    assert fault.seen == "succeeded", outcome
    assert outcome.files
    assert engine.process.pid != before  # it was wedged: it is ended, not asked


def test_stalled_twice(engine: LocalEngine, fault: Fault) -> None:
    """A node makes no progress for longer than it may, each time."""
    engine.ready()
    limits = Deadlines(total=60, queue=60, stalled=1.0)
    error = fault.watch(lambda: rendered(engine, act("deaf", 60.0), deadlines=limits))
    assert fault.seen == "timed_out_stalled"
    assert (error.details["limit"], error.details["attempts"]) == (1.0, 2)
    assert "tried twice" in str(error)
    next_one_runs(engine)


def test_a_slow_start_is_no_standstill(engine: LocalEngine, tmp_path: Path) -> None:
    """Starting ComfyUI again takes longer than a node may be still, and than the queue may last."""
    engine.ready()
    limits = Deadlines(total=60, queue=2.0, stalled=2.0)
    prompt = act("die once", mark=tmp_path / "mark")
    began = time.monotonic()
    assert rendered(engine, prompt, deadlines=limits).files
    assert time.monotonic() - began > limits.queue


def test_canceled_by_one_who_waits_outside(engine: LocalEngine) -> None:
    """What ends the waiting for all else does not keep the engine from being freed."""
    before, canceled = engine.ready() and engine.process.pid, threading.Event()

    def check() -> None:
        if canceled.is_set():
            raise Canceled("the caller has gone")

    with pytest.raises(Canceled, match="has gone"), waiting.watched(check):
        rendered(engine, act("sleep", 60.0), see=when("progress", canceled.set))
    next_one_runs(engine)
    assert engine.process.pid == before


def test_canceled_while_it_is_submitted(engine: LocalEngine, fault: Fault, tmp_path: Path) -> None:
    """The caller cancels while ComfyUI has not yet answered POST /prompt."""
    engine.ready()
    canceled, mark = Cancel(), tmp_path / "mark"
    prompt = act("check", 30.0, mark)
    with as_soon_as(mark.exists, canceled.set):
        fault.watch(lambda: rendered(engine, prompt, canceled=canceled))
    assert fault.seen == "canceled"
    assert canceled.ago() < FREE_WITHIN + BUSY
    next_one_runs(engine)


def test_canceled_while_it_starts_again(engine: LocalEngine, fault: Fault) -> None:
    """The caller cancels while the engine is started anew after its death."""
    before = engine.ready() and engine.process.pid
    canceled = Cancel()
    with as_soon_as(lambda: engine.process.pid != before, canceled.set):
        fault.watch(lambda: rendered(engine, act("die"), canceled=canceled))
    assert fault.seen == "canceled"
    assert canceled.ago() < BUSY
    next_one_runs(engine)


def test_the_kernel_ends_it(
    engine: LocalEngine, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel kills the engine because main memory is full."""
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom 2\noom_kill 2\n")
    (tmp_path / "memory.max").write_text(f"{32 << 30}\n")
    kernel = Kernel([counter], [tmp_path / "memory.max"])
    monkeypatch.setattr(Kernel, "of", lambda: kernel)
    engine.give_up()
    kills: list[int] = []

    def kill() -> None:
        kills.append(engine.process.pid)
        counter.write_text(f"low 0\noom 9\noom_kill {2 + len(kills)}\n")
        send(engine, signal.SIGKILL)

    def see(message: Message, now: float) -> None:
        if message.type == "progress" and engine.process.pid not in kills:
            kill()

    error = fault.watch(lambda: rendered(engine, act("sleep", 2.0), see=see))
    assert fault.seen == "out_of_memory"
    assert len(set(kills)) == 2  # where there is no thriftier way, a fresh one may have room
    assert (error.details["memory"], error.details["capacity"]) == ("main", "32.00 GiB")
    assert re.fullmatch(r"\d+\.\d\d [MG]iB", error.details["peak"])
    assert f"main memory was full (peak {error.details['peak']} of 32.00 GiB)" in str(error)
    next_one_runs(engine)


def test_a_kill_by_somebody_is_no_full_memory(tmp_path: Path) -> None:
    """The kernel has counted none."""
    killed = Process(["/bin/sh", "-c", "kill -9 $$"], env={}, cwd=tmp_path, log=tmp_path / "log")
    assert killed.wait(10)
    assert killed.shortage() is None
    assert killed.main_memory()["peak"]
    assert str(killed.death()).startswith("ComfyUI was killed by SIGKILL; the end of")


def test_it_ends_itself(engine: LocalEngine, fault: Fault) -> None:
    """The engine aborts because main memory is full (std::bad_alloc)."""
    error = fault.watch(lambda: rendered(engine, act("abort")))
    assert fault.seen == "out_of_memory"
    assert error.details["memory"] == "main"
    assert "SIGABRT: main memory was full" in str(error)
    next_one_runs(engine)


@pytest.mark.parametrize(
    ("what", "said"), [("torch_full", "can't allocate memory"), ("python_full", "MemoryError")]
)
def test_main_memory_is_full(engine: LocalEngine, fault: Fault, what: str, said: str) -> None:
    """A node asks for more main memory than there is: {said}."""
    error = fault.watch(lambda: rendered(engine, act(what)))
    assert fault.seen == "out_of_memory"
    assert said in str(error)
    assert error.details["memory"] == "main"
    assert {"peak", "capacity"} <= error.details.keys()
    assert what == "python_full" or error.details["wanted"] == f"{1 << 60} bytes"
    next_one_runs(engine)


def test_queued_too_long(engine: LocalEngine, fault: Fault) -> None:
    """The job waits in the queue longer than it may."""
    engine.ready()
    first = threading.Event()
    running = threading.Thread(
        target=lambda: rendered(engine, act("sleep", 3.0), see=when("executing", first.set))
    )
    running.start()
    assert first.wait(20)
    limits = Deadlines(total=60, queue=0.5, stalled=60)
    fault.watch(lambda: rendered(engine, act("nothing"), deadlines=limits))
    running.join()
    assert fault.seen == "timed_out_queue"


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("fail", "execution_failed"),
        ("interrupt", "interrupted"),
        ("gpu_full", "out_of_memory"),
        ("main_full", "out_of_memory"),
    ],
)
def test_a_node_ends_the_job(engine: LocalEngine, fault: Fault, what: str, code: str) -> None:
    """A node ends the job: {what}."""
    error = fault.watch(lambda: rendered(engine, act(what)))
    assert fault.seen == code
    if what == "gpu_full":
        said = {k: error.details[k] for k in ("memory", "wanted", "capacity", "peak")}
        assert said == {"memory": "GPU", "wanted": "20.00 GiB", "capacity": "23.64 GiB", "peak": "22.40 GiB"}  # fmt: skip
    if what == "main_full":
        assert (error.details["memory"], error.details["wanted"]) == ("main", "9.31 GiB")
    next_one_runs(engine)


def test_windows_are_shown(engine: LocalEngine) -> None:
    said: list[str] = []
    rendered(
        engine, act("windows", 0.5),
        see=lambda message, now: said.append(str(message.data.get("text"))),
    )  # fmt: skip
    assert [f"window {n} of 4" for n in (1, 2, 3, 4)] == [s for s in said if s.startswith("window")]


# --- starting and ending ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import no_such_package", "the Python package no_such_package is missing"),
        ("raise OSError('[Errno 98] error while attempting to bind: address already in use')",
         "its port is taken by another program"),
        ("raise RuntimeError('Found no NVIDIA driver on your system.')", "CUDA is not there"),
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("import time; time.sleep(60)", "did not answer within 3 s"),
    ],
)  # fmt: skip
def test_it_does_not_start(
    options: EngineOptions, fault: Fault, tmp_path: Path, body: str, said: str
) -> None:
    """ComfyUI does not start: {said}."""
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
    (tmp_path / "main.py").write_text(f'print("the log", flush=True)\n{body}\n')
    broken = dataclasses.replace(
        options, comfyui_dir=tmp_path, log_dir=tmp_path / "logs",
        ready_within=3.0 if "sleep" in body else 60.0,
    )  # fmt: skip

    def start() -> None:
        with engines.running(broken):
            pass

    error = fault.watch(start)
    assert fault.seen == "engine_unavailable"
    assert said in str(error)
    assert "the log" in str(error)
    assert fault.seconds < 3.0 + BUSY


def test_no_secret_reaches_comfyui(
    options: EngineOptions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
    (tmp_path / "main.py").write_text("import os; print(sorted(os.environ)); os.abort()\n")
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "SUPABASE_KEY", "RUNPOD_API_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    broken = dataclasses.replace(options, comfyui_dir=tmp_path, log_dir=tmp_path / "logs")
    with pytest.raises(EngineUnavailable) as caught, engines.running(broken):
        pass
    said = str(caught.value)
    assert "'CUDA_VISIBLE_DEVICES'" in said
    assert "'CALLSHEET_SEGMENTS'" in said
    assert "'PATH'" in said
    for name in ("AWS", "HF_TOKEN", "SUPABASE", "RUNPOD"):
        assert name not in said


def test_logs_are_pruned(options: EngineOptions, tmp_path: Path) -> None:
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
    (tmp_path / "main.py").write_text("raise SystemExit(1)\n")
    (tmp_path / "logs").mkdir()
    for n in range(30):
        (tmp_path / "logs" / f"comfyui-{n:02}.log").write_text("")
        os.utime(tmp_path / "logs" / f"comfyui-{n:02}.log", (n, n))
    broken = dataclasses.replace(options, comfyui_dir=tmp_path, log_dir=tmp_path / "logs")
    with pytest.raises(EngineUnavailable), engines.running(broken):
        pass
    left = sorted(log.name for log in (tmp_path / "logs").iterdir())
    assert len(left) == 20
    assert left[0] == "comfyui-11.log"


ORPHAN = """
import os, signal, sys, threading, time
from pathlib import Path
from runner.comfy.process import Process

log = Path(sys.argv[1])
child = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: print('lives', flush=True)); print('up', flush=True); [time.sleep(1) for _ in range(120)]"
started = []

def wait_for(true):
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)

def start():
    started.append(Process([sys.executable, "-c", child], env={}, cwd=Path("."), log=log))
    started.append(threading.get_native_id())
    wait_for(lambda: "up" in log.read_text())

starter = threading.Thread(target=start)  # the child must outlive it
starter.start(); starter.join()
process, thread = started
wait_for(lambda: not Path(f"/proc/self/task/{thread}").exists())
os.kill(process.pid, signal.SIGUSR1)
wait_for(lambda: "lives" in log.read_text() or process.death())
print(process.pid, "gone" if process.death() else "lives", flush=True)
time.sleep(120)
"""


def test_no_orphan(fault: Fault, tmp_path: Path) -> None:
    """The runner itself is killed (SIGKILL)."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        pid, state = runner.stdout.readline().split()

        def kill() -> None:
            runner.kill()
            until(lambda: not _lives(pid))
            fault.seen = "ComfyUI ends, too"

        fault.watch(kill)
    assert state == "lives"  # when the thread that asked for it had ended
    assert fault.seen == "ComfyUI ends, too"


def _lives(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


def test_a_child_of_a_parent_that_is_gone_does_not_start() -> None:
    child = Path(engines.__file__).with_name("child.py")
    done = subprocess.run(
        [sys.executable, str(child), "1", "/bin/echo", "started"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "started" not in done.stdout


def test_it_starts_again_with_pauses(
    options: EngineOptions, settings: Settings, tmp_path: Path
) -> None:
    """A restart is tried again; a first start and one that a person has to mend are not."""
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
    starts = tmp_path / "starts"
    (tmp_path / "main.py").write_text(FLAKY.format(starts=str(starts)))
    flaky = dataclasses.replace(options, comfyui_dir=tmp_path, log_dir=tmp_path / "logs")
    with engines.running(flaky) as engine:
        assert len(starts.read_text()) == 1
        engine.give_up()
        began = time.monotonic()
        engine.ready()
        assert len(starts.read_text()) == 3  # the second start fails, the third does not
        assert time.monotonic() - began >= engines.RESTART_PAUSE


FLAKY = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
with open({starts!r}, "a") as file:
    file.write("x")
if len(open({starts!r}).read()) == 2:
    sys.exit(1)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{{}}")
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""
