"""WAN 2.1 and 2.2 text-to-video, 14B layout: which files belong to it."""

import re

from runner.rehearsal.family import Family, Rule, StandIn, Weights

_ANY = re.compile("")


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _build(stand_in: StandIn) -> Weights:
    # torch and comfy: only in the build process
    from runner.rehearsal.weights import umt5, wan_lora, wan_transformer, wan_vae

    match stand_in.kind:
        case "unet":
            # WAN 2.2 has two experts, 2.1 one model for everything.
            name = stand_in.name.lower()
            return wan_transformer.build(composes="low" not in name, lights="high" not in name)
        case "text_encoder":
            return umt5.build()
        case "vae":
            return wan_vae.build()
        case "lora":
            expert = wan_transformer.build(composes=True, lights=False)
            return wan_lora.build(stand_in.name, expert)
        case kind:
            raise ValueError(f"WAN has no {kind}")


FAMILY = Family(
    name="wan",
    rules=(
        Rule("UNETLoader", "unet_name", _named(r"wan2[._][12].*t2v"), "unet", "diffusion_models"),
        Rule("CLIPLoader", "clip_name", _named(r"umt5[-_]?xxl"), "text_encoder", "text_encoders"),
        Rule("VAELoader", "vae_name", _named(r"wan[-_]?2[._]1[-_]vae"), "vae", "vae"),
    ),
    lora=(
        Rule("LoraLoaderModelOnly", "lora_name", _ANY, "lora", "loras"),
        Rule("LoraLoader", "lora_name", _ANY, "lora", "loras"),
    ),
    model="unet",
    build=_build,
)
