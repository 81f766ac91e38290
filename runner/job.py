"""What travels along a job's path: frozen values, nothing that acts."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

# Fixed for ever: prompt ids of earlier jobs must stay derivable.
_PROMPT_NAMESPACE = uuid.UUID("6f1d8a52-3f0b-4a0e-9d54-0c7a5c0f5e11")


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True)
class Job:
    """One request to run one workflow once."""

    id: str  # any non-empty string; ours
    workflow: str  # reference `name@version`, or the path of a .json file
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def prompt_id(self, attempt: int = 1) -> str:
        """ComfyUI's id of this job's attempt: the same job and attempt always give the same UUID."""
        return str(uuid.uuid5(_PROMPT_NAMESPACE, f"{self.id}#{attempt}"))


@dataclass(frozen=True)
class Deadlines:
    """How long a render may take, in seconds."""

    total: float = 6 * 3600.0  # from the wish to render to the end, a second attempt included
    queue: float = 3600.0  # until it starts
    stalled: float = 1800.0  # without a message; one node may work so long without a word


def new_job_id(workflow_name: str, now: datetime) -> str:
    """A job id that sorts by time and says what it was: `wan-t2v-20260131-235959-3f9a`."""
    return f"{workflow_name}-{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"


@dataclass(frozen=True)
class Probe:
    """What a media file holds, as read from the file itself."""

    kind: str  # video, image, audio, text or other
    container: str | None = None
    codec: str | None = None
    width: int | None = None  # pixels
    height: int | None = None  # pixels
    frames: int | None = None
    fps: float | None = None
    duration: float | None = None  # seconds
    has_audio: bool = False
    audio_codec: str | None = None
    sample_rate: int | None = None  # Hz


@dataclass(frozen=True)
class Saved:
    """A file that a node reports to have saved."""

    node_id: str
    filename: str
    subfolder: str
    type: str  # output, temp or input


@dataclass(frozen=True)
class Outcome:
    """What a job that has succeeded left behind, in the order in which its nodes finished."""

    files: tuple[Saved, ...]
    texts: tuple[tuple[str, str], ...] = ()  # node id, what the node shows


@dataclass(frozen=True)
class OutputFile:
    """A file that a node saved, not yet stored."""

    name: str  # the output's name: the title of the node that saved it
    path: Path
    probe: Probe


@dataclass(frozen=True)
class Artifact:
    """An output once stored."""

    name: str
    location: str  # a path or a URL
    bytes: int
    sha256: str
    probe: Probe
    file: str = ""  # the file's own name, which the storage may have put into another


@dataclass(frozen=True)
class Progress:
    """Where a job is. `fraction` never falls within one job."""

    fraction: float  # 0..1
    stage: str
    step: int | None = None
    steps: int | None = None
    eta: float | None = None  # seconds
    preview: bytes | None = None  # a JPEG or PNG of what is being made, where it was asked for


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Result:
    job_id: str
    status: Status
    workflow: str  # name@version
    artifacts: tuple[Artifact, ...]
    params: Mapping[str, Any]  # as the job ran with, defaults and drawn seeds included
    seed: int | None
    timings: Mapping[str, float]  # seconds per stage
    rehearsal: bool = False
    notes: tuple[str, ...] = ()  # what was not as asked for, for people
    request: str = ""  # fingerprint of what was asked for
    moments: Mapping[str, str | int] = field(default_factory=dict[str, str | int])

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "artifacts": [_artifact(a) for a in self.artifacts]}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Result":
        """The inverse of `to_dict`. Raises KeyError, TypeError, ValueError for anything else."""
        artifacts = [_artifact_of(a) for a in said["artifacts"]]
        own: dict[str, Any] = {
            "status": Status(said["status"]),
            "artifacts": tuple(artifacts),
            "notes": tuple(said.get("notes", ())),
        }
        return cls(**{**said, **own})


def _artifact_of(said: Mapping[str, Any]) -> Artifact:
    probe: Any = Probe(**said["probe"])
    return Artifact(**{**said, "probe": probe})


def _artifact(artifact: Artifact) -> dict[str, Any]:
    probe = {key: value for key, value in vars(artifact.probe).items() if value is not None}
    return {**vars(artifact), "probe": probe}
