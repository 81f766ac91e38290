"""Talking videos of any length, window by window, finished frames on disk."""

import hashlib
import logging
import os
import uuid
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import comfy.samplers
import comfy.utils
import folder_paths
import latent_preview
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import InputImpl, io

from ..ops import audio, fingerprint, heap, media, windows
from ..ops import segments as disk
from . import talk
from .guider import CATEGORY
from .sockets import Speech

FORMAT = "1"  # of what segments hold; another one makes all of them anew
FOLDER = "CALLSHEET_SEGMENTS"  # environment variables
DAYS = "CALLSHEET_SEGMENTS_DAYS"
GIGABYTES = "CALLSHEET_SEGMENTS_GB"

# Inputs that need models, in the order in which these load, when all else is there.
HEAVY = ("speech", "model_patch", "guider", "sigmas", "vae", "clip_vision_output")


class MultiTalkSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetMultiTalkSampler",
            display_name="MultiTalk sampler",
            category=CATEGORY,
            description="Samples a talking video of any length with InfiniteTalk. Windows continue "
            "each other; finished frames go to disk, so memory does not grow, and a job that was "
            "killed goes on where it stopped.",
            search_aliases=["callsheet", "infinitetalk", "lip sync", "talking", "long video"],
            inputs=[
                *sampling_inputs(),
                *model_inputs(),
                *scene_inputs(),
                *window_inputs(),
            ],
            outputs=[
                io.Video.Output(
                    display_name="video",
                    tooltip="At 25 fps, one frame for each of the speech, with the sound.",
                )
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(cls, window, overlap) -> bool | str:
        if window is None or overlap is None:  # linked: known in execution only
            return True
        try:
            windows.check_sizes(frames=1, window=window, overlap=overlap)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def check_lazy_status(cls, image, motion=None, **linked) -> list[str]:
        """What is wrong with pictures, boxes and sounds is said before gigabytes are loaded."""
        check_pictures(image, motion)
        return [name for name in HEAVY if name in linked and linked[name] is None][:1]

    @classmethod
    def execute(
        cls,
        guider,
        sampler,
        sigmas,
        noise_seed,
        vae,
        model_patch,
        speech,
        image,
        audio_scale,
        window,
        overlap,
        motion=None,
        masks=None,
        clip_vision_output=None,
        soundtrack=None,
    ) -> io.NodeOutput:
        check_parts(guider, model_patch, speech, masks)
        check_pictures(image, motion)
        scene = talk.Scene(
            guider,
            sampler,
            sigmas,
            noise_seed,
            vae,
            model_patch,
            speech["speakers"],
            image[:1],
            masks if len(speech["speakers"]) > 1 else None,  # one speaker needs no telling apart
            clip_vision_output,
            audio_scale,
        )
        usable = 0 if motion is None else windows.motion_length(len(motion), overlap=overlap)
        plan = windows.plan(frames=speech["frames"], window=window, overlap=overlap, motion=usable)
        before = motion[-usable:] if usable else None
        node = cls.hidden.unique_id
        with segments_of(node, cls.hidden.prompt) as segments:
            film(scene, plan, segments, before=before, overlap=overlap, say=teller(node))
            video = joined(segments, len(plan), soundtrack)
            segments.discard()
        return io.NodeOutput(InputImpl.VideoFromFile(str(video)))


# --- inputs ---------------------------------------------------------------------------------------


def sampling_inputs() -> list[io.Input]:
    return [
        io.Guider.Input(
            "guider", lazy=True, tooltip="Of MultiTalk guider; a CFG guider at cfg 1 does, too."
        ),
        io.Sampler.Input("sampler", tooltip="Of KSamplerSelect; euler."),
        io.Sigmas.Input("sigmas", lazy=True, tooltip="The noise levels of each window's steps."),
        io.Int.Input(
            "noise_seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=True,
            tooltip="Of the first window's noise; each further window takes the next number.",
        ),
    ]


def model_inputs() -> list[io.Input]:
    return [
        io.Vae.Input("vae", lazy=True, tooltip="Of Wan 2.1."),
        io.ModelPatch.Input("model_patch", lazy=True, tooltip="InfiniteTalk, of ModelPatchLoader."),
    ]


def scene_inputs() -> list[io.Input]:
    return [
        Speech.Input("speech", lazy=True, tooltip="Of Encode speech; its length is the video's."),
        io.Image.Input("image", tooltip="Who talks; width and height are multiples of 16."),
        io.Image.Input(
            "motion",
            optional=True,
            tooltip="The last frames of a clip that the video continues; as large as the image.",
        ),
        io.Mask.Input(
            "masks",
            optional=True,
            tooltip="Where the first and the second speaker are; a third mask is the background. "
            "Needed for two speakers, not used for one.",
        ),
        io.ClipVisionOutput.Input(
            "clip_vision_output",
            optional=True,
            lazy=True,
            tooltip="What CLIP vision sees in the image.",
        ),
        io.Audio.Input(
            "soundtrack", optional=True, tooltip="The video's sound, all of it, as it is."
        ),
        io.Float.Input(
            "audio_scale",
            default=1.0,
            min=-10.0,
            max=10.0,
            step=0.01,
            round=False,
            tooltip="How much of what the model hears goes into the picture; 0 is deaf.",
        ),
    ]


def window_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "window",
            default=81,
            min=5,
            max=1001,
            step=4,
            advanced=True,
            tooltip="Frames that are sampled at once: 4k+1. The model was trained on 81.",
        ),
        io.Int.Input(
            "overlap",
            default=9,
            min=1,
            max=33,
            step=4,
            advanced=True,
            tooltip="Frames of a window that the next one continues: 4k+1. They are shown once.",
        ),
    ]


# --- what is refused ------------------------------------------------------------------------------


def check_parts(guider, model_patch, speech, masks) -> None:
    if not isinstance(guider, comfy.samplers.CFGGuider):
        raise ValueError(
            "guider: it is not of a kind that this node can copy; use MultiTalk guider"
        )
    if not hasattr(model_patch.model, "audio_proj"):
        raise ValueError(
            "model_patch: not a MultiTalk one; choose wan2.1_infiniteTalk_…_fp16 in the loader"
        )
    speakers = len(speech["speakers"])
    if speakers > 2:
        raise ValueError(f"speech: {speakers} speakers; the model tells at most 2 apart")
    if speakers == 2 and (masks is None or len(masks) not in (2, 3)):
        given = "none is given" if masks is None else f"{len(masks)} are given"
        raise ValueError(
            f"masks: two speakers need two, and a third for the background if wanted; {given}"
        )


def check_pictures(image, motion) -> None:
    height, width = image.shape[1:3]
    if height % talk.CELL or width % talk.CELL:
        raise ValueError(
            f"image: {width}x{height} are not multiples of {talk.CELL}; Fit start makes it so"
        )
    if motion is not None and motion.shape[1:3] != image.shape[1:3]:
        raise ValueError(
            f"motion: {motion.shape[2]}x{motion.shape[1]} is not the image's size, {width}x{height}"
        )


# --- the loop -------------------------------------------------------------------------------------


def film(
    scene: talk.Scene,
    plan: list[windows.Window],
    segments: disk.Segments,
    *,
    before: torch.Tensor | None,
    overlap: int,
    say: Callable[[str], None],
) -> None:
    """Samples the windows that are not there yet; each one's frames go to disk at once."""
    done, continued = segments.resume([window.keep for window in plan])
    before = before if continued is None else continued
    if done:
        say(f"goes on at window {min(done + 1, len(plan))} of {len(plan)}: {done} are there")
    steps = max(1, scene.sigmas.shape[-1] - 1)
    show = steps_shown(scene.guider.model_patcher, steps=steps, windows=len(plan))
    for window in plan[done:]:
        throw_exception_if_processing_interrupted()
        say(f"window {window.index + 1} of {len(plan)}")
        frames = talk.sampled(scene, window, before, show(window.index))
        before = windows.tail(before, frames, count=overlap)
        last = window is plan[-1]
        segments.keep(window.index, frames, None if last else before)
        del frames  # before the next window's are made
        heap.trim()


def steps_shown(model, *, steps: int, windows: int) -> Callable[[int], talk.Callback]:
    """One bar over all steps of all windows, with ComfyUI's previews; window → its callback."""
    previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
    bar = comfy.utils.ProgressBar(steps * windows)

    def of_window(index: int) -> talk.Callback:
        def callback(step, x0, _x, _total):
            preview = previewer.decode_latent_to_preview_image("JPEG", x0) if previewer else None
            bar.update_absolute(index * steps + step + 1, steps * windows, preview)

        return callback

    return of_window


def teller(node: str | None) -> Callable[[str], None]:
    """Tells the log, and the node in the editor."""

    def say(text: str) -> None:
        logging.info("MultiTalk sampler: %s", text)
        from server import PromptServer  # there only when a server runs

        server = getattr(PromptServer, "instance", None)
        if server is not None and node is not None:
            server.send_progress_text(text, node)

    return say


def joined(segments: disk.Segments, count: int, soundtrack) -> Path:
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"callsheet-talk-{uuid.uuid4().hex}.mp4"
    waveform, rate = None, 0
    if soundtrack is not None:
        tracks, rate = audio.for_track(soundtrack["waveform"][:1], rate=soundtrack["sample_rate"])
        waveform = tracks[0]
    segments.join(count, target, waveform, rate)
    return target


# --- where frames are kept ------------------------------------------------------------------------


def segments_of(node: str | None, prompt: dict | None):
    """The folder of this job's frames, ours alone; leftovers of other jobs are cleaned first."""
    root = Path(
        os.environ.get(FOLDER) or Path(folder_paths.get_user_directory(), "callsheet/segments")
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        removed = disk.clean(root, days=setting(DAYS, 7), gigabytes=setting(GIGABYTES, 20))
    except OSError as error:
        raise ValueError(
            f"{root}, where finished frames are kept, cannot be used: {error.strerror}; "
            f"{FOLDER} names another folder"
        ) from error
    if removed:
        logging.info("MultiTalk sampler: %d folders of old jobs removed", len(removed))
    return disk.held(root, job_name(node, prompt), fps=windows.FPS)


def setting(name: str, default: float) -> float:
    try:
        return float(os.environ.get(name) or default)
    except ValueError as error:
        raise ValueError(f"{name}: {os.environ[name]!r} is not a number") from error


def job_name(node: str | None, prompt: dict | None) -> str:
    """The same for all that gives the same frames; a new one where the graph is not known."""
    if node is None or not prompt or node not in prompt:
        return uuid.uuid4().hex
    return fingerprint.fingerprint(
        node, find=prompt.get, identify=file_named, version=FORMAT, ignore={"soundtrack"}
    )


def file_named(text: str) -> list | None:
    """An input file by its content: the runner renames it each time. A model by size and time."""
    if not text:
        return None
    if folder_paths.exists_annotated_filepath(text):
        path = folder_paths.get_annotated_filepath(text)
        if Path(path).is_file():
            return ["content", content(path, media.fingerprint(path))]
    for folder in folder_paths.folder_names_and_paths:
        if folder != "custom_nodes" and (path := folder_paths.get_full_path(folder, text)):
            return ["model", folder, text, *media.fingerprint(path)]
    return None


@lru_cache(maxsize=256)
def content(path: str, _state: media.Fingerprint) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
