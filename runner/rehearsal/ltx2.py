"""LTX-2 19B, picture and sound: which files belong to it."""

import re

from runner.rehearsal.family import Family, Rule, StandIn, Weights

_ANY = re.compile("")


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _build(stand_in: StandIn) -> Weights:
    # torch and comfy: only in the build process
    from runner.rehearsal.weights import ltx2_checkpoint, ltx2_gemma, ltx2_lora, ltx2_upsampler

    match stand_in.kind:
        case "checkpoint":
            return ltx2_checkpoint.build()
        case "text_encoder":
            return ltx2_gemma.build()
        case "lora":
            return ltx2_lora.build(stand_in.name)
        case "upsampler":
            return ltx2_upsampler.build()
        case kind:
            raise ValueError(f"LTX-2 has no {kind}")


_CHECKPOINT = _named(r"ltx-?2-19b")
_LORA_INPUTS = (
    ("LoraLoaderModelOnly", "lora_name"),
    ("LoraLoader", "lora_name"),
    ("CallsheetLora", "lora_name"),
    ("CallsheetLoraStack", "rows"),
)

FAMILY = Family(
    name="ltx2",
    rules=(
        *(
            # One file holds the transformer, both VAEs and the text projection.
            Rule(loader, "ckpt_name", _CHECKPOINT, "checkpoint", "checkpoints")
            for loader in ("CheckpointLoaderSimple", "LTXVAudioVAELoader", "LTXAVTextEncoderLoader")
        ),
        Rule(
            "LTXAVTextEncoderLoader",
            "text_encoder",
            _named(r"gemma[-_]?3[-_]12b"),
            "text_encoder",
            "text_encoders",
        ),
        Rule(
            "LatentUpscaleModelLoader",
            "model_name",
            _named(r"ltx-?2-spatial-upscaler-x2"),
            "upsampler",
            "latent_upscale_models",
        ),
    ),
    lora=tuple(Rule(loader, name, _ANY, "lora", "loras") for loader, name in _LORA_INPUTS),
    model="checkpoint",
    build=_build,
)
