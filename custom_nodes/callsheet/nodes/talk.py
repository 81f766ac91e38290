"""One window of a talking video, sampled as ComfyUI's WanInfiniteTalkToVideo and its template do."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import comfy.model_management
import comfy.patcher_extension
import comfy.sample
import comfy.samplers
import comfy.utils
import torch
from comfy.ldm.wan.model_multitalk import (
    InfiniteTalkOuterSampleWrapper,
    MultiTalkCrossAttnPatch,
    MultiTalkGetAttnMapPatch,
    project_audio_features,
)

from ..ops import windows
from ..ops.windows import Window
from .guider import SILENCE

CELL = 16  # pixels that one token is wide and high: 8 of the VAE, 2 of the model
LATENT_CHANNELS = 16

# (step, x0, x, steps): what a sampler calls behind each step
Callback = Callable[[int, torch.Tensor, torch.Tensor, int], None]


@dataclass(frozen=True)
class Scene:
    """What all windows share."""

    guider: comfy.samplers.CFGGuider
    sampler: Any
    sigmas: torch.Tensor
    seed: int
    vae: Any
    model_patch: Any
    speakers: list[torch.Tensor]  # [frames, layers, channels] each
    image: torch.Tensor  # [1, height, width, 3]
    masks: torch.Tensor | None  # [2 or 3, height, width]
    clip_vision: Any
    audio_scale: float
    stills: dict[int, dict[str, torch.Tensor]] = field(default_factory=dict)  # by frames


def sampled(
    scene: Scene, window: Window, before: torch.Tensor | None, callback: Callback
) -> torch.Tensor:
    """The frames that the window adds, [keep, height, width, 3]. `before` ends with its overlap."""
    still = still_of(scene, window.length)
    if window.drop:
        motion = scene.vae.encode(before[-window.drop :, :, :, :3])
    else:
        motion = still["concat_latent_image"][:, :, :1]
    guider = bound(scene, window, still, motion)
    latent = torch.zeros(
        [1, LATENT_CHANNELS, *still["concat_latent_image"].shape[2:]],
        device=comfy.model_management.intermediate_device(),
    )
    seed = windows.seed_of(scene.seed, window.index)
    samples = guider.sample(
        comfy.sample.prepare_noise(latent, seed),
        latent,
        scene.sampler,
        scene.sigmas,
        callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        seed=seed,
    ).to(comfy.model_management.intermediate_device())
    frames = scene.vae.decode(samples)
    frames = frames.reshape(-1, *frames.shape[-3:])
    return frames[window.drop : window.drop + window.keep]


def still_of(scene: Scene, length: int) -> dict[str, torch.Tensor]:
    """The picture, grey behind it, and a mask that says so."""
    if length not in scene.stills:
        _, height, width, _ = scene.image.shape
        frames = torch.full((length, height, width, 3), 0.5).to(scene.image)
        frames[:1] = scene.image[..., :3]
        latent = scene.vae.encode(frames)
        mask = torch.ones((1, 1, *latent.shape[2:])).to(scene.image)
        mask[:, :, :1] = 0.0
        scene.stills[length] = {"concat_latent_image": latent, "concat_mask": mask}
    return scene.stills[length]


def bound(
    scene: Scene, window: Window, still: dict[str, torch.Tensor], motion: torch.Tensor
) -> comfy.samplers.CFGGuider:
    """A copy of the guider that samples this window; the one given stays as it is."""
    guider = copy.copy(scene.guider)
    guider.model_patcher = patched(scene, window, motion)
    guider.model_options = guider.model_patcher.model_options
    seen = {**still}
    if scene.clip_vision is not None:
        seen["clip_vision_output"] = scene.clip_vision
    guider.original_conds = {
        name: [{**cond, **seen} for cond in conds]
        for name, conds in scene.guider.original_conds.items()
    }
    return guider


def patched(scene: Scene, window: Window, motion: torch.Tensor) -> Any:
    """A clone of the model that hears the window's speech."""
    patch = scene.model_patch
    model = scene.guider.model_patcher.clone()
    speech, silence = heard(scene, window)
    model.model_options["transformer_options"]["audio_embeds"] = speech.to(model.model_dtype())
    model.model_options[SILENCE] = silence.to(model.model_dtype())
    model.add_wrapper_with_key(
        comfy.patcher_extension.WrappersMP.OUTER_SAMPLE,
        "infinite_talk_outer_sample",
        InfiniteTalkOuterSampleWrapper(motion, patch, is_extend=window.drop > 0),
    )
    model.set_model_patch(MultiTalkCrossAttnPatch(patch, scene.audio_scale), "attn2_patch")
    if scene.masks is not None:
        model.set_model_patch(MultiTalkGetAttnMapPatch(tokens(scene)), "attn1_patch")
    return model


def heard(scene: Scene, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
    """(the speakers' embeddings, those of one who is silent), as the model takes them."""
    device = comfy.model_management.get_torch_device()
    parts = [
        windows.heard(speaker, start=window.speech, length=window.length).to(device)
        for speaker in scene.speakers
    ]
    span = (windows.REACH, windows.REACH + window.length)
    project = scene.model_patch.model.audio_proj
    # The original's silence is zeros for one speaker, however many there are.
    silence = [torch.zeros_like(parts[-1])]
    return project_audio_features(project, parts, *span), project_audio_features(
        project, silence, *span
    )


def tokens(scene: Scene) -> torch.Tensor:
    """[speakers, tokens of a frame]: where each of them is, and the background, if it is given."""
    _, height, width, _ = scene.image.shape
    size = (height // CELL, width // CELL)
    small = torch.nn.functional.interpolate(scene.masks[None].float(), size=size, mode="nearest")[0]
    found = (small > 0).view(small.shape[0], -1)
    for number, there in enumerate(found.any(dim=1).tolist(), 1):
        if not there:
            raise ValueError(
                f"masks: number {number} is empty at {size[1]}x{size[0]}, the size at which the "
                "model tells speakers apart; make it larger"
            )
    return found
