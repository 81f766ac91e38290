"""Every request shape of the three old services, and what their callers get."""

import dataclasses
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from runner import parameters
from runner import workflow as workflows
from runner.errors import InvalidParameters
from runner.job import Artifact, Probe, Result, Status
from runner.request import check
from runner.service import answers, compatibility
from runner.service.compatibility import SERVICES, TABLE
from runner.service.destinations import Destinations, fields_of
from runner.service.requests import Asked, Served, read
from runner.storage import naming

FOLDERS = (Path(__file__).parents[2] / "workflows",)
NOW = datetime(2026, 1, 31, 23, 59, 58)
IMAGE, SOUND = "https://media.example/face.png", "https://media.example/speech.wav"
KEYFRAMES = [{"image_url": IMAGE, "frame_position": "first"}, {"image_url": IMAGE}]


def asked(request: dict[str, Any], **served: Any) -> Asked:
    """Read, and valid for the workflow that it became."""
    found = read(request, given_id="runpod-1", now=NOW, served=Served(**served))
    check(found.job, workflows.find(found.job.workflow, FOLDERS))
    return found


def result(workflow: str, location: str, seed: int = 7, **params: Any) -> Result:
    probe = Probe("video", "mp4", "h264", 1280, 736, 246, 30.0, 8.2, True)
    artifact = Artifact("Video", location, 123_456, "0" * 64, probe)
    return Result("runpod-1", Status.SUCCEEDED, workflow, (artifact,), {"seed": seed, **params},
                  seed, {"render": 61.239, "store": 1.5})  # fmt: skip


WAN = {"prompt": "a boat", "project_id": "p-1"}


def test_wan_as_its_callers_know_it() -> None:
    found = asked({**WAN, "clip_index": 4, "negative_prompt": "rain", "duration": 5, "width": 832,
                   "height": 480, "steps": 20, "guidance_scale": 6.5, "seed": 3})  # fmt: skip
    assert found.job.workflow == "wan-t2v@1" and found.job.id == "runpod-1"
    assert found.job.params == {"prompt": "a boat", "negative_prompt": "rain", "duration": 5,
                                "width": 832, "height": 480, "steps": 20, "guidance_scale": 6.5,
                                "seed": 3, "fps": 24}  # fmt: skip


def test_wan_by_default_is_as_it_was() -> None:
    assert asked(WAN).job.params == {"prompt": "a boat", "steps": 30, "guidance_scale": 5.0,
                                     "fps": 24, "width": 1280, "height": 720}  # fmt: skip


def test_wan_by_frames() -> None:
    assert asked({**WAN, "num_frames": 121}).job.params["num_frames"] == 121


def test_wan_s_object_has_its_old_name() -> None:
    environment = {"SUPABASE_URL": "https://ref.supabase.co"}
    found = asked({**WAN, "clip_index": 4})
    to = Destinations(environment=environment).of(found)
    assert to is not None
    bucket, _, path = to.removeprefix("supabase://").partition("/")
    key = naming.parse(path, fields_of(to, found)).key(
        "runpod-1.mp4", {"output": "Video", "index": 0}
    )
    assert (bucket, key) == ("generated-assets", "p-1/clips/clip_004.mp4")


def test_wan_s_answer() -> None:
    url = "https://ref.supabase.co/storage/v1/object/public/generated-assets/p-1/clips/clip_004.mp4"
    assert answers.output(asked(WAN), result("wan-t2v@1.0.0", url), {}) == {
        "video_url": url,
        "duration": 8.2,
        "width": 1280,
        "height": 736,
        "generation_time": 61.24,
    }


@pytest.mark.parametrize(
    ("request_", "workflow", "mode"),
    [
        ({"image_url": IMAGE, "audio_url": SOUND}, "ltx2-lipsync@1", "1"),
        ({"image_url": IMAGE, "audio_url": SOUND, "duration": 5}, "ltx2-lipsync@1", "1"),
        ({"image_url": IMAGE, "duration": 5}, "ltx2-audio@1", "2"),
        ({"keyframes": KEYFRAMES, "audio_url": SOUND}, "ltx2-keyframes-lipsync@1", "3a"),
        ({"keyframes": KEYFRAMES, "audio_url": SOUND, "duration": 9}, "ltx2-keyframes-lipsync@1", "3a"),
        ({"keyframes": KEYFRAMES, "duration": 5}, "ltx2-keyframes-audio@1", "3b"),
        ({"keyframes": KEYFRAMES}, "ltx2-keyframes-audio@1", "3b"),
    ],
)  # fmt: skip
def test_ltx_is_routed_by_what_is_given(request_: dict[str, Any], workflow: str, mode: str) -> None:
    found = asked({**request_, "prompt": "she speaks", "seed": 1})
    assert found.job.workflow == workflow
    assert found.old is not None and found.old.mode == mode
    assert found.job.params["prompt"] == "she speaks"
    said = answers.output(found, result(workflow, "gs"), {})
    assert said["output"]["mode"] == mode


def test_ltx_by_default_is_as_it_was() -> None:
    params = asked({"image_url": IMAGE, "audio_url": SOUND}).job.params
    assert params == {
        "image_url": IMAGE,
        "audio_url": SOUND,
        "prompt": "A person speaks naturally with perfect lip synchronization, high quality, "
        "detailed facial expressions",
        "negative_prompt": "static, bad teeth, blurry, low quality, pixelated, "
        "compressed artifacts, flickering",
        "width": 1280, "height": 736, "fps": 30, "quality_preset": "high", "img_compression": 23,
        "lora_distilled": 0.6, "lora_detailer": 1.0, "lora_camera": 0.3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "distilled", "detailer"),
    [("fast", 0.6, 0.5), ("high", 0.6, 1.0), ("ultra", 0.8, 1.0)],
)
def test_ltx_s_presets_choose_its_loras(preset: str, distilled: float, detailer: float) -> None:
    params = asked({"image_url": IMAGE, "duration": 5, "quality_preset": preset}).job.params
    assert (params["lora_distilled"], params["lora_detailer"]) == (distilled, detailer)
    given = {"image_url": IMAGE, "duration": 5, "quality_preset": preset, "lora_detailer": 0.25}
    assert asked(given).job.params["lora_detailer"] == 0.25


def test_ltx_s_other_names() -> None:
    params = asked({"image_url": IMAGE, "duration": 5, "prompt_positive": "a sea",
                    "prompt_negative": "rain", "buffer_seconds": 1.0, "trim_to_audio": True,
                    "frame_alignment": 8, "auto_buffer_guide": "none"}).job.params  # fmt: skip
    assert (params["prompt"], params["negative_prompt"]) == ("a sea", "rain")
    assert "buffer_seconds" not in params


def test_ltx_s_object_and_answer() -> None:
    found = asked({"image_url": IMAGE, "audio_url": SOUND, "job_id": "job-9", "seed": 7})
    to = Destinations(environment={"GCS_BUCKET": "our-bucket"}).of(found)
    assert to is not None and to.startswith("gs://our-bucket/")
    path = to.removeprefix("gs://our-bucket/")
    key = naming.parse(path, fields_of(to, found)).key("job-9.mp4", {"output": "Video", "index": 0})
    assert key == "ugc_media/job-9/ltx2_videos/20260131_235958_job-9.mp4"
    url = f"https://storage.googleapis.com/our-bucket/{key}"
    done = result("ltx2-lipsync@1.0.0", url, quality_preset="high")
    assert answers.output(found, done, {}) == {
        "status": "success",
        "output": {
            "video_url": url,
            "gcs_url": f"gs://our-bucket/{key}",
            "video_filename": "20260131_235958_job-9.mp4",
            "video_size_bytes": 123_456,
            "resolution": "1280x736",
            "duration": "8.2s",
            "frames": 246,
            "audio_frames": 205,
            "fps": 30.0,
            "seed": 7,
            "quality_preset": "high",
            "mode": "1",
            "keyframes": 0,
            "generation_time": 61.24,
        },
    }


@pytest.mark.parametrize(
    "request_",
    [
        {"image_url": IMAGE, "speakers": [{"audio_url": SOUND}, {"audio_url": SOUND}]},
        {"image_url": IMAGE, "audio_urls": [SOUND, SOUND]},
        {"image": IMAGE, "first_audio": SOUND, "second_audio": SOUND},
    ],
)
def test_multitalk_with_two_speakers(request_: dict[str, Any]) -> None:
    found = asked({**request_, "prompt": "two talk", "size": "multitalk-720", "turbo": False})
    assert found.job.workflow == "multitalk@1"
    assert found.job.params == {"image_url": IMAGE, "prompt": "two talk", "size": "multitalk-720",
                                "turbo": False, "speakers": [{"audio_url": SOUND}] * 2}  # fmt: skip


def test_one_voice_is_multitalk_where_ltx_is_not_served() -> None:
    found = asked({"image_url": IMAGE, "audio_url": SOUND}, services=("multitalk",))
    assert found.job.params["speakers"] == [{"audio_url": SOUND}]


def test_multitalk_s_object_and_answer() -> None:
    found = asked({"image_url": IMAGE, "audio_urls": [SOUND], "inline": True})
    assert (
        Destinations(environment={"S3_BUCKET": "talks"}).of(found) == "s3://talks/{job_id}/{name}"
    )
    assert Destinations(environment={}).of(found) is None
    done = result("multitalk@1.0.0", "runpod-1.mp4")
    shape = {"duration": 8.2, "fps": 30.0, "frames": 246, "width": 1280, "height": 736,
             "generation_time": 61.24}  # fmt: skip
    assert answers.output(found, done, {"runpod-1.mp4": "QUJD"}) == {
        **shape,
        "video_base64": "QUJD",
    }
    stored = dataclasses.replace(
        done, artifacts=(dataclasses.replace(done.artifacts[0], location="https://s3/x.mp4"),)
    )
    assert answers.output(found, stored, {}) == {**shape, "video_url": "https://s3/x.mp4"}


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({**WAN, "durration": 5}, "durration: is no field of such a request; did you mean duration?"),
        ({"prompt": "a boat"}, "project_id: is missing: without `workflow` this is read as a request of the old wan"),
        ({**WAN, "clip_index": 1.5}, "clip_index: is neither a text nor a whole number"),
        ({"image_url": IMAGE, "duration": 5, "project_id": "p"}, "image_url: is no field"),
        ({"duration": 5}, "image_url"),
        ({"sound": SOUND}, 'workflow: is missing; write {"workflow": "name@1", "params": {…}}'),
        ({"keyframes": KEYFRAMES, "width": 100}, "width"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(request_: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        asked(request_)
    assert says in caught.value.message


def test_old_requests_can_be_refused() -> None:
    with pytest.raises(InvalidParameters, match="workflow: is missing"):
        read(WAN, given_id="1", now=NOW, served=Served(services=()))
    with pytest.raises(InvalidParameters, match="workflow: is missing"):
        read({"keyframes": KEYFRAMES}, given_id="1", now=NOW, served=Served(services=("wan",)))


@pytest.mark.parametrize("old", TABLE, ids=lambda old: f"{old.service} {old.mode}")
def test_the_table_names_parameters_that_exist(old: compatibility.Old) -> None:
    found = workflows.find(old.workflow, FOLDERS)
    known = {p.name for p in parameters.read(found.document)}
    assert {*old.names.values(), *old.defaults, *(row.parameter for row in old.rows)} <= known
    assert set(old.marks) <= set(compatibility.known(old))
    assert old.service in SERVICES
    json.dumps(old.answer)
