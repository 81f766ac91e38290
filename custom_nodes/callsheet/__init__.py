"""Callsheet: parameter nodes that make a workflow file its own contract, and helpers for video."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./web"


# ComfyUI is imported in here and not above: `ops` can be imported, and tested, without it.
async def comfy_entrypoint() -> ComfyExtension:
    from comfy_api.latest import ComfyExtension, io

    from .nodes import (
        audio,
        frames,
        guider,
        image,
        lora,
        ltx,
        media,
        multitalk,
        parameters,
        pick,
        speakers,
        speech,
        start,
        wan,
    )

    class Callsheet(ComfyExtension):
        async def get_node_list(self) -> list[type[io.ComfyNode]]:
            return [
                parameters.Text,
                parameters.Integer,
                parameters.Number,
                parameters.Boolean,
                parameters.Choice,
                parameters.Seed,
                media.Image,
                media.Audio,
                media.Video,
                media.KeyframeList,
                speakers.SpeakerList,
                frames.DurationToFrames,
                frames.KeepFrames,
                pick.Pick,
                pick.OnlyIf,
                wan.WanPlan,
                ltx.LtxPlan,
                ltx.FitKeyframes,
                ltx.KeyframeGuides,
                *ltx.add_guide_multi(),
                lora.LoraStack,
                lora.Lora,
                audio.FitAudio,
                image.FitImage,
                start.FitStart,
                start.MultiTalkPlan,
                speakers.ArrangeSpeakers,
                speakers.SpeakerMasks,
                speech.EncodeSpeech,
                guider.TalkGuider,
                multitalk.MultiTalkSampler,
            ]

    return Callsheet()
