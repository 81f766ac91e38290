"""Supervision without a ComfyUI: memory's ladder, the environment, ids, and the causes of a failed start."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest

from runner import memory
from runner.comfy import fullness, process, waiting
from runner.comfy.client import Comfy, Message, _binary  # pyright: ignore[reportPrivateUsage]
from runner.comfy.fullness import in_exception
from runner.entrypoints import console
from runner.errors import OutOfMemory
from runner.job import Artifact, Job, Probe, Result, Status
from runner.request import Ready, check
from runner.run import fingerprint
from runner.workflow import Workflow

from workflows import document, parameter


def ready(value: str = "normal", **params: Any) -> Ready:
    ladder = parameter("Choice", 1, value, "memory", "", False, "normal\ntiled\noffload")
    width = parameter("Integer", 2, 64, "width", "", False, 16, 128, 16)
    workflow = Workflow(document(ladder, width), None, "w", "1.0.0")
    return check(Job("job", "w", params), workflow)


def test_the_ladder_goes_down_step_by_step() -> None:
    first = memory.step_down(ready())
    assert first == memory.Step("normal", "tiled")
    lower = memory.stepped(ready(), first)
    assert lower.values["memory"] == "tiled"
    assert lower.document["nodes"][0]["widgets_values"][0] == "tiled"
    assert memory.step_down(lower) == memory.Step("tiled", "offload")
    assert memory.step_down(ready(memory="offload")) is None


def test_only_a_choice_called_memory_is_a_ladder() -> None:
    number = parameter("Integer", 1, 8, "memory", "", False, 1, 64, 1)
    other = parameter("Choice", 2, "a", "quality", "", False, "a\nb")
    asked = check(Job("j", "w"), Workflow(document(number, other), None, "w", "1.0.0"))
    assert memory.step_down(asked) is None


def test_what_helps_is_said() -> None:
    error = memory.explained(OutOfMemory("Sample: full", details={"memory": "main"}), ready())
    assert str(error) == (
        "main memory is full. Sample: full\n"
        "What helps: memory=offload takes less; smaller values of width take less."
    )
    assert error.details["advice"]


@pytest.mark.parametrize(
    ("exception", "text", "kind"),
    [
        ("torch.OutOfMemoryError", "Allocation on device 0", "GPU"),
        ("torch.AcceleratorError", "CUDA error: out of memory", "GPU"),
        ("RuntimeError", "HIP out of memory. Tried to allocate 2.00 GiB", "GPU"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "GPU"),
        ("MemoryError", "", "main"),
        ("numpy._core._exceptions._ArrayMemoryError", "Unable to allocate 9.31 GiB", "main"),
        ("RuntimeError", "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes", "main"),
        ("OSError", "[Errno 12] Cannot allocate memory", "main"),
        ("ValueError", "memory of the past", None),
        ("RuntimeError", "mat1 and mat2 shapes cannot be multiplied", None),
    ],
)  # fmt: skip
def test_full_memory_is_recognised(exception: str, text: str, kind: str | None) -> None:
    assert in_exception(exception, text).get("memory") == kind


def test_figures_of_full_memory() -> None:
    text = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12"
    assert in_exception("RuntimeError", text) == {"memory": "main", "wanted": "4096 bytes"}
    assert fullness.in_log("…\nMemoryError\n") == {"memory": "main"}
    assert fullness.in_log("CUDA out of memory") == {}  # that ends a job and no process
    assert fullness.told({"peak": "3.00 GiB"}) == " (peak 3.00 GiB)"
    assert fullness.told({"capacity": "3.00 GiB"}) == ""


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("inside", [True, False])
def test_the_kernels_counters_are_found(tmp_path: Path, version: int, inside: bool) -> None:
    """Of both versions of control groups; a container sees its own group as the root."""
    own = "0::/pod/a\n" if version == 2 else "3:cpu:/\n4:memory:/pod/a\n0::/\n"
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own)
    (tmp_path / "proc/vmstat").write_text("oom_kill 70\n")
    group = (
        tmp_path
        / "sys/fs/cgroup"
        / ("memory" if version == 1 else "")
        / ("" if inside else "pod/a")
    )
    group.mkdir(parents=True)
    kernel = fullness.Kernel.of(tmp_path)
    assert kernel.kills() == 70  # of the machine, where the group has no counter
    (group / ("memory.oom_control" if version == 1 else "memory.events")).write_text(
        "oom 9\noom_kill 3\n"
    )
    limit = group / ("memory.limit_in_bytes" if version == 1 else "memory.max")
    limit.write_text(f"{2 << 30}\n")
    assert (kernel.kills(), kernel.capacity()) == (3, "2.00 GiB")
    limit.write_text("9223372036854771712\n" if version == 1 else "max\n")
    whole = kernel.capacity()
    assert whole is not None and whole != "2.00 GiB"


def test_the_kernels_counters_may_be_missing(tmp_path: Path) -> None:
    assert fullness.Kernel.of(tmp_path).kills() == 0


def test_waiting_ends_by_any_check() -> None:
    def stop() -> None:
        raise InterruptedError

    with waiting.watched(stop), waiting.watched(lambda: None):
        with pytest.raises(InterruptedError):
            waiting.pause(60)
        with waiting.unwatched():
            waiting.pause(0.01)
        lock = threading.Lock()
        lock.acquire()
        with pytest.raises(InterruptedError), waiting.held(lock):
            pass
    waiting.look()


def test_answers_together_have_one_time() -> None:
    assert waiting.left(5.0) == 5.0
    with waiting.limited(2.0):
        assert 1.9 < waiting.left(5.0) <= 2.0
        assert waiting.left(1.0) == 1.0
    with waiting.limited(0.0):
        assert waiting.left(5.0) == waiting.LAST
    assert waiting.left(5.0) == 5.0


def test_notes_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    console.show_result(Result("j", Status.SUCCEEDED, "w@1", (), {}, None, {}, notes=("[b] full",)))
    assert "note  [b] full" in capsys.readouterr().out


def test_the_environment_is_an_allow_list() -> None:
    own = {"PATH": "/bin", "LC_ALL": "C", "CUDA_VISIBLE_DEVICES": "1", "PYTORCH_CUDA_ALLOC_CONF": "x",
           "HF_HOME": "/hf", "HF_TOKEN": "t", "AWS_ACCESS_KEY_ID": "a", "CALLSHEET_HOME": "h",
           "GOOGLE_APPLICATION_CREDENTIALS": "g", "OMP_NUM_THREADS": "1"}  # fmt: skip
    passed = process.environment(own, CALLSHEET_SEGMENTS="/s")
    assert set(passed) == {"PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF",
                           "HF_HOME", "OMP_NUM_THREADS", "CALLSHEET_SEGMENTS"}  # fmt: skip


def test_binary_messages() -> None:
    size = (4).to_bytes(4, "big")
    assert _binary(b"\0\0\0\1" + b"\0\0\0\1" + b"JPEG") == Message("preview", {"image": b"JPEG"})
    text = b"\0\0\0\3" + size + b"12:3" + b"Fenster 3 of 14"
    assert _binary(text) == Message("progress_text", {"node": "12:3", "text": "Fenster 3 of 14"})
    about = b'{"prompt_id": "p"}'
    framed = b"\0\0\0\4" + len(about).to_bytes(4, "big") + about + b"PNG"
    assert _binary(framed) == Message("preview", {"prompt_id": "p", "image": b"PNG"})
    for broken in (b"", b"\0\0", b"\0\0\0\4\0\0\0\2{]", b"\0\0\0\7xyz"):
        assert _binary(broken) is None


def test_a_request_has_a_fingerprint() -> None:
    same = fingerprint(ready(width=64), rehearsal=False)
    assert same == fingerprint(ready(width=64), rehearsal=False)
    others = [fingerprint(ready(width=80), rehearsal=False), fingerprint(ready(width=64), rehearsal=True),
              fingerprint(dataclasses.replace(ready(width=64), workflow=Workflow({"nodes": []}, None, "w", "1")), rehearsal=False)]  # fmt: skip
    assert same not in others
    assert len(set(others)) == 3


def test_a_result_survives_json() -> None:
    probe = Probe("video", frames=17, fps=16.0)
    artifact = Artifact("Final", "/x.mp4", 3, "ab", probe)
    result = Result("j", Status.SUCCEEDED, "w@1", (artifact,), {"width": 64}, 7, {"render": 1.0},
                    notes=("told",), request="hash")  # fmt: skip
    assert Result.from_dict(result.to_dict()) == result


def test_a_closed_conversation_can_be_closed_again() -> None:
    comfy = Comfy("http://127.0.0.1:9")
    comfy.close()
    comfy.close()
