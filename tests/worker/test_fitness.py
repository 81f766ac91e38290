"""A machine that cannot serve says why, and takes no job."""

import errno
from pathlib import Path
from typing import Any

import av
import pytest

from runner.errors import EngineUnavailable, RunnerError, StorageError
from runner.service import fitness
from runner.service.destinations import Destinations
from runner.storage import Storage

from cloud import Cloud
from workers import Start

WANTED = {"workflow": "act@1", "params": {}}


class Sees:
    """An engine, as far as the check of its GPU looks at it."""

    def __init__(self, *devices: dict[str, Any]) -> None:
        self.devices = list(devices)

    def ready(self) -> "Sees":
        return self

    def system_stats(self) -> dict[str, Any]:
        return {"devices": self.devices}


def test_a_gpu_is_asked_for() -> None:
    gpu: Any = Sees({"type": "cuda", "name": "cuda:0 NVIDIA A100"})
    assert fitness.gpu(gpu, cpu_allowed=False) == "cuda:0 NVIDIA A100"
    cpus: list[Any] = [Sees({"type": "cpu", "name": "cpu"}), Sees()]
    for cpu in cpus:
        with pytest.raises(EngineUnavailable, match="CALLSHEET_CPU=1"):
            fitness.gpu(cpu, cpu_allowed=False)
    assert fitness.gpu(cpus[0], cpu_allowed=True) == "cpu"


def test_a_disk_has_to_have_room(tmp_path: Path) -> None:
    assert "GB free" in fitness.disk(tmp_path, 1)
    with pytest.raises(RunnerError, match=r"100000 GB are needed \(CALLSHEET_MIN_FREE_GB\)"):
        fitness.disk(tmp_path, 10**14)


def test_video_and_sound_are_written_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitness.media().startswith("H.264, AAC and MP4 by ffmpeg")

    def refuse(*_: Any, **__: Any) -> None:
        raise av.error.EncoderNotFoundError(errno.EINVAL, "h264")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(RunnerError, match="cannot write and read an MP4"):
        fitness.media()


class Place:
    def __init__(self, log: list[str], name: str) -> None:
        self.log, self.name = log, name

    def require_writable(self) -> None:
        self.log.append(self.name)
        if "closed" in self.name:
            raise StorageError("403: no right to write")


def test_every_default_place_is_tried() -> None:
    tried: list[str] = []

    def open_at(destination: str, **_: Any) -> Storage:
        return Place(tried, destination)  # type: ignore[return-value]

    environment = {"GCS_BUCKET": "ours", "S3_BUCKET": "closed", "SUPABASE_URL": "https://s"}
    both = Destinations(environment=environment)
    assert fitness.storage(both, ("ltx2", "wan"), open_at).count("://") == len(tried) == 2
    with pytest.raises(StorageError, match=r"cannot be stored in s3://closed.*403"):
        fitness.storage(both, ("multitalk",), open_at)
    assert fitness.storage(Destinations(), ("wan",), open_at).startswith("none")
    assert fitness.storage(Destinations("gs://x"), ("wan",), open_at) == "gs://x"


@pytest.mark.parametrize(
    ("check", "setting", "says"),
    [
        ("workflows", {"CALLSHEET_SERVE": "act,acting"}, "acting"),
        ("disk", {"CALLSHEET_MIN_FREE_GB": "900000"}, "900000 GB are needed"),
        ("storage", {"CALLSHEET_TO": "/proc/nowhere"}, "/proc/nowhere"),
        ("models", {"CALLSHEET_SERVE": "act,mochi-t2v"}, "mochi_preview"),
    ],
)
def test_a_machine_that_cannot_serve(
    cloud: Cloud, start: Start, check: str, setting: dict[str, str], says: str
) -> None:
    cloud.send("never", WANTED)
    machine = start(**{**cloud.environment, **setting})
    assert machine.process.wait(90) == 1
    unfit = machine.events("unfit")
    assert [event["check"] for event in unfit] == [check]
    assert says in unfit[0]["message"]
    told = [ping for ping in cloud.pings if ping.get("status") == ["unhealthy"]]
    assert [ping["check"] for ping in told] == [[f"callsheet_{check}"]], "RunPod hears of it, too"
    assert not cloud.taken and not machine.events("job_taken")
    assert machine.left() == []
