"""Mochi 1, text-to-video: which files belong to it."""

import re

from runner.rehearsal.family import Family, Rule, StandIn, Weights


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _build(stand_in: StandIn) -> Weights:
    # torch and comfy: only in the build process
    from runner.rehearsal.weights import mochi_t5, mochi_transformer, mochi_vae

    match stand_in.kind:
        case "unet":
            return mochi_transformer.build()
        case "text_encoder":
            return mochi_t5.build()
        case "vae":
            return mochi_vae.build()
        case kind:
            raise ValueError(f"Mochi has no {kind}")


FAMILY = Family(
    name="mochi",
    rules=(
        Rule("UNETLoader", "unet_name", _named(r"mochi[-_.]?preview"), "unet", "diffusion_models"),
        # Other families have encoders of this name, in other shapes.
        Rule(
            "CLIPLoader",
            "clip_name",
            _named(r"(?<!um)t5[-_]?xxl"),
            "text_encoder",
            "text_encoders",
            type="mochi",
        ),
        Rule("VAELoader", "vae_name", _named(r"mochi[-_.]?vae"), "vae", "vae"),
    ),
    lora=(),
    model="unet",
    build=_build,
)
