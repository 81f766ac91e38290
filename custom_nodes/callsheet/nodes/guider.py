"""Guidance by prompt and speech apart, as MultiTalk was made for."""

import uuid

import comfy.samplers
from comfy.ldm.wan.model_multitalk import MultiTalkGetAttnMapPatch
from comfy.model_patcher import create_model_options_clone
from comfy_api.latest import io

from ..ops import guidance

CATEGORY = "callsheet/video"
# Where the sampler leaves what the model hears in silence, among a model's options.
SILENCE = "callsheet_silence"
NO_SAMPLER = (
    "MultiTalk guider: there is no speech to guide by; its GUIDER goes into MultiTalk sampler "
    "(CallsheetMultiTalkSampler), not into another sampler"
)


class Guider(comfy.samplers.CFGGuider):
    """One pass after the other: ComfyUI's audio attention takes no batch of two."""

    def set_scales(self, *, text: float, audio: float) -> None:
        guidance.check_scales(text=text, audio=audio)
        self.text, self.audio = text, audio

    def predict_noise(self, x, timestep, model_options=None, seed=None):  # noqa: ARG002
        silence = (model_options or {}).get(SILENCE)
        if silence is None:
            raise ValueError(NO_SAMPLER)
        silent = silent_options(model_options, silence)

        def predicted(name: str):
            key = "positive" if name in (guidance.COND, guidance.DROP_AUDIO) else "negative"
            quiet = name in guidance.SILENT
            return comfy.samplers.calc_cond_batch(
                self.inner_model,
                [renamed(self.conds.get(key) or [], name) if quiet else self.conds.get(key)],
                x,
                timestep,
                silent if quiet else model_options,
            )[0]

        def guide(towards, away, scale):
            return comfy.samplers.cfg_function(
                self.inner_model,
                towards,
                away,
                scale,
                x,
                timestep,
                model_options=model_options,
                cond=self.conds.get("positive"),
                uncond=self.conds.get("negative"),
            )

        names = guidance.passes(text=self.text, audio=self.audio)
        return guidance.combined(
            {name: predicted(name) for name in names},
            text=self.text,
            audio=self.audio,
            guide=guide,
        )


def silent_options(model_options: dict, silence) -> dict:
    """With silence for one speaker: the map that tells speakers apart has no use there."""
    options = create_model_options_clone(model_options)
    transformer = options["transformer_options"]
    transformer["audio_embeds"] = silence
    patches = transformer.get("patches", {})
    if "attn1_patch" in patches:
        patches["attn1_patch"] = [
            patch
            for patch in patches["attn1_patch"]
            if not isinstance(patch, MultiTalkGetAttnMapPatch)
        ]
    return options


def renamed(conds: list[dict], name: str) -> list[dict]:
    """Caches such as EasyCache tell passes apart by the conditioning's id."""
    return [{**cond, "uuid": uuid.uuid5(cond["uuid"], name)} for cond in conds]


class TalkGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetTalkGuider",
            display_name="MultiTalk guider",
            category=CATEGORY,
            description="Guides a talking video by the prompt and by the speech, each with a scale "
            "of its own: one to three passes per step.",
            search_aliases=["callsheet", "multitalk", "infinitetalk", "audio cfg", "cfg", "guider"],
            inputs=[
                io.Model.Input("model", tooltip="Wan 2.1 image-to-video; LoRA and shift applied."),
                io.Conditioning.Input("positive", tooltip="The prompt."),
                io.Conditioning.Input("negative", tooltip="What should not be seen."),
                scale_input("text_guide_scale", 5.0, "the prompt", "With the turbo LoRA: 1."),
                scale_input("audio_guide_scale", 4.0, "the speech", "Lips follow best at 3 to 5."),
            ],
            outputs=[io.Guider.Output(display_name="guider", tooltip="Into MultiTalk sampler.")],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, text_guide_scale, audio_guide_scale
    ) -> io.NodeOutput:
        guider = Guider(model)
        guider.set_conds(positive, negative)
        guider.set_scales(text=text_guide_scale, audio=audio_guide_scale)
        return io.NodeOutput(guider)


def scale_input(name: str, default: float, what: str, hint: str) -> io.Input:
    return io.Float.Input(
        name,
        default=default,
        min=0.0,
        max=100.0,
        step=0.1,
        round=False,
        tooltip=f"How strongly {what} guides; 1 leaves this guidance out, and a pass with it. {hint}",
    )
