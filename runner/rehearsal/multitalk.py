"""MultiTalk: WAN 2.1 image-to-video, 14B layout, and what lets it talk: which files belong to it."""

import re

from runner.rehearsal.family import Family, Rule, StandIn, Weights

_ANY = re.compile("")


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _build(stand_in: StandIn) -> Weights:
    # torch and comfy: only in the build process
    from runner.rehearsal.weights import (
        talk_ears,
        talk_eyes,
        talk_patch,
        talk_transformer,
        wan_lora,
    )

    match stand_in.kind:
        case "unet":
            return talk_transformer.build()
        case "patch":
            return talk_patch.build(stand_in.name)
        case "audio_encoder":
            return talk_ears.build()
        case "clip_vision":
            return talk_eyes.build()
        case "lora":
            return wan_lora.build(stand_in.name, talk_transformer.build())
        case kind:
            raise ValueError(f"MultiTalk has no {kind}")


# The text encoder and the VAE are WAN's, for every member of the family.
FAMILY = Family(
    name="multitalk",
    rules=(
        Rule("UNETLoader", "unet_name", _named(r"wan2[._]1.*i2v"), "unet", "diffusion_models"),
        Rule("ModelPatchLoader", "name", _named(r"infinite_?talk"), "patch", "model_patches"),
        Rule("ModelPatchLoader", "name", _named(r"multi_?talk"), "patch", "model_patches"),
        Rule(
            "AudioEncoderLoader",
            "audio_encoder_name",
            _named(r"wav2vec2.*base"),
            "audio_encoder",
            "audio_encoders",
        ),
        Rule(
            "CLIPVisionLoader",
            "clip_name",
            _named(r"clip[-_]?vision[-_]?h"),
            "clip_vision",
            "clip_vision",
        ),
    ),
    lora=(
        Rule("LoraLoaderModelOnly", "lora_name", _ANY, "lora", "loras"),
        Rule("LoraLoader", "lora_name", _ANY, "lora", "loras"),
    ),
    model="unet",
    build=_build,
)
