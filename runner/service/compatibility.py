"""The requests of the three services that callsheet replaces: a table, and one way to read it. Pure.

A request without `workflow` is one of these. The first row of the table whose marks are all given
is the one that is meant.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from runner.job import Artifact, Result

Answer: TypeAlias = Mapping[str, "str | Answer"]


@dataclass(frozen=True)
class Rows:
    """Fields that each hold one value, or a list of them, as rows of a list parameter."""

    fields: tuple[str, ...]
    parameter: str
    key: str


@dataclass(frozen=True)
class Old:
    """One request shape of an old service."""

    service: str
    mode: str
    marks: tuple[str, ...]  # fields that make a request this one
    workflow: str
    names: Mapping[str, str]  # field → parameter
    to: str  # where that service stored; `$NAME` is an environment variable
    answer: Answer  # field → `{fact}`, a text with facts in it, or a fixed text
    rows: tuple[Rows, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])  # by parameter
    # By a parameter and its value: what else is the default then.
    defaults_with: Mapping[tuple[str, Any], Mapping[str, Any]] = field(
        default_factory=dict[tuple[str, Any], Mapping[str, Any]]
    )
    destination: Mapping[str, Any] = field(default_factory=dict[str, Any])  # field → default
    required: tuple[str, ...] = ()  # of `destination`
    unused: tuple[str, ...] = ()  # taken, and without effect: what they asked for is always so


def _same(names: str, **others: str) -> Mapping[str, str]:
    return {**{name: name for name in names.split()}, **others}


_LTX_NAMES = _same(
    "prompt negative_prompt width height fps quality_preset steps img_compression lora_distilled "
    "lora_detailer lora_camera camera seed",
    prompt_positive="prompt",
    prompt_negative="negative_prompt",
)
_LTX: dict[str, Any] = {
    "service": "ltx2",
    "to": "gs://$GCS_BUCKET/ugc_media/{job_id}/ltx2_videos/{stamp}_{name}",
    "defaults": {
        "negative_prompt": "static, bad teeth, blurry, low quality, pixelated, "
        "compressed artifacts, flickering",
        "width": 1280,
        "height": 736,
        "fps": 30,
        "quality_preset": "high",
        "img_compression": 23,
        "lora_distilled": 0.6,
        "lora_detailer": 1.0,
        "lora_camera": 0.3,
    },
    "defaults_with": {
        ("quality_preset", "fast"): {"lora_detailer": 0.5},
        ("quality_preset", "ultra"): {"lora_distilled": 0.8},
    },
    "unused": ("buffer_seconds", "trim_to_audio", "frame_alignment", "auto_buffer_guide"),
    "answer": {
        "status": "success",
        "output": {
            "video_url": "{url}",
            "gcs_url": "{gs}",
            "video_filename": "{filename}",
            "video_size_bytes": "{bytes}",
            "resolution": "{width}x{height}",
            "duration": "{duration:.1f}s",
            "frames": "{frames}",
            "audio_frames": "{audio_frames}",
            "fps": "{fps}",
            "seed": "{seed}",
            "quality_preset": "{quality_preset}",
            "mode": "{mode}",
            "keyframes": "{keyframes}",
            "generation_time": "{seconds}",
        },
    },
}
_PROMPT = (
    "A person speaks naturally with perfect lip synchronization, high quality, "
    "detailed facial expressions"
)


def _ltx(mode: str, marks: str, workflow: str, fields: str, **more: Any) -> Old:
    own: dict[str, Any] = {
        **_LTX,
        **more,
        "defaults": {**_LTX["defaults"], **more.get("defaults", {})},
    }
    names = {**_LTX_NAMES, **_same(fields)}
    return Old(mode=mode, marks=tuple(marks.split()), workflow=workflow, names=names, **own)


_TALK: dict[str, Any] = {
    "service": "multitalk",
    "mode": "talk",
    "workflow": "multitalk@1",
    "names": _same(
        "image_url speakers audio_mode prompt negative_prompt size turbo steps text_guide_scale "
        "audio_guide_scale audio_scale shift seed",
        image="image_url",
    ),
    "rows": (
        Rows(("audio_url", "audio_urls", "first_audio", "second_audio"), "speakers", "audio_url"),
    ),
    "to": "s3://$S3_BUCKET/{job_id}/{name}",
    "unused": ("num_frames", "fps"),  # the sound decides how long, and it is 25 fps
    "answer": {
        "video_url": "{url}",
        "video_base64": "{base64}",
        "duration": "{duration}",
        "fps": "{fps}",
        "frames": "{frames}",
        "width": "{width}",
        "height": "{height}",
        "generation_time": "{seconds}",
    },
}
_WAN: dict[str, Any] = {
    "service": "wan",
    "mode": "t2v",
    "workflow": "wan-t2v@1",
    "names": _same(
        "prompt negative_prompt duration num_frames width height fps steps guidance_scale seed"
    ),
    "defaults": {"steps": 30, "guidance_scale": 5.0, "fps": 24, "width": 1280, "height": 720},
    "destination": {"project_id": None, "clip_index": 0},
    "required": ("project_id",),
    "to": "supabase://generated-assets/{project_id}/clips/clip_{clip_index:03d}.mp4",
    "answer": {
        "video_url": "{url}",
        "duration": "{duration}",
        "width": "{width}",
        "height": "{height}",
        "generation_time": "{seconds}",
    },
}

TABLE: tuple[Old, ...] = (
    Old(marks=("speakers",), **_TALK),
    Old(marks=("audio_urls",), **_TALK),
    Old(marks=("first_audio",), **_TALK),
    _ltx("3a", "keyframes audio_url", "ltx2-keyframes-lipsync@1", "keyframes audio_url",
         # The sound says how long.
         unused=(*_LTX["unused"], "duration"), defaults={"prompt": _PROMPT}),
    _ltx("3b", "keyframes", "ltx2-keyframes-audio@1", "keyframes duration"),
    _ltx("1", "audio_url", "ltx2-lipsync@1", "image_url audio_url img_strength",
         unused=(*_LTX["unused"], "duration"), defaults={"prompt": _PROMPT}),
    Old(marks=("audio_url",), **_TALK),  # where the LTX-2 service is not served
    Old(marks=("project_id",), **_WAN),
    _ltx("2", "duration", "ltx2-audio@1", "image_url duration img_strength"),
    _ltx("2", "image_url", "ltx2-audio@1", "image_url duration img_strength"),
    Old(marks=("prompt",), **_WAN),
)  # fmt: skip
SERVICES = tuple(dict.fromkeys(old.service for old in TABLE))


def meant(request: Mapping[str, Any], services: Sequence[str] = SERVICES) -> Old | None:
    """The shape that a request has, of the services that are served here."""
    given = {name for name, value in request.items() if value is not None}
    fitting = (old for old in TABLE if old.service in services and given.issuperset(old.marks))
    return next(fitting, None)


def known(old: Old) -> list[str]:
    """Every field that such a request may have."""
    rows = [name for row in old.rows for name in row.fields]
    return sorted({*old.names, *rows, *old.destination, *old.unused})


def params(old: Old, request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the workflow; fields that are unknown are left out."""
    given = {
        old.names[name]: value
        for name, value in request.items()
        if name in old.names and value is not None
    }
    for row in old.rows:
        values = [v for name in row.fields for v in _listed(request.get(name))]
        if values:
            given.setdefault(row.parameter, [{row.key: value} for value in values])
    defaults = dict(old.defaults)
    for (name, value), more in old.defaults_with.items():
        if given.get(name, defaults.get(name)) == value:
            defaults |= more
    return {**defaults, **given}


def fields(old: Old, request: Mapping[str, Any]) -> dict[str, Any]:
    """What a destination's path may name of the request."""
    return {
        name: default if request.get(name) is None else request[name]
        for name, default in old.destination.items()
    }


def answer(old: Old, result: Result, texts: Mapping[str, str]) -> dict[str, Any]:
    """The old service's answer. `texts`: base64 by the outputs' locations."""
    facts = _facts(old, result, texts)
    return _filled(old.answer, facts)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _filled(shape: Answer, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A field whose fact is missing is left out."""
    filled: dict[str, Any] = {}
    for name, source in shape.items():
        if not isinstance(source, str):
            filled[name] = _filled(source, facts)
        elif source.startswith("{") and source[1:-1] in facts:
            value = facts[source[1:-1]]
            filled |= {} if value is None else {name: value}
        else:
            filled[name] = source.format(**facts)
    return filled


def _facts(old: Old, result: Result, texts: Mapping[str, str]) -> dict[str, Any]:
    video = _video(result.artifacts)
    probe, inline = video.probe, video.location in texts
    duration = probe.duration or 0.0
    return {
        "url": None if inline else video.location,
        "base64": texts.get(video.location),
        "gs": _gs(video.location),
        "filename": video.location.partition("?")[0].rpartition("/")[2],
        "bytes": video.bytes,
        "width": probe.width,
        "height": probe.height,
        "duration": round(duration, 3),
        "frames": probe.frames,
        "audio_frames": math.ceil(duration * 25),  # the model's audio latents: 25 Hz
        "fps": probe.fps,
        "seed": result.seed,
        "quality_preset": result.params.get("quality_preset"),
        "mode": old.mode,
        "keyframes": len(_listed(result.params.get("keyframes"))),
        "seconds": round(result.timings.get("render", 0.0), 2),
    }


def _video(artifacts: Sequence[Artifact]) -> Artifact:
    return next((a for a in artifacts if a.probe.kind == "video"), artifacts[0])


def _gs(url: str) -> str | None:
    public = "https://storage.googleapis.com/"
    return f"gs://{url.removeprefix(public).partition('?')[0]}" if url.startswith(public) else None
