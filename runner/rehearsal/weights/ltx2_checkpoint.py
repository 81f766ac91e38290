# pyright: basic, reportMissingImports=false
"""The checkpoint of LTX-2: transformer, both VAEs, vocoder and text projection in one file."""

import json

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import ltx2_gemma, ltx2_sound, ltx2_transformer, ltx2_video_vae


def build() -> Weights:
    config = {
        "transformer": ltx2_transformer.CONFIG,
        "vae": ltx2_video_vae.CONFIG,
        **ltx2_sound.CONFIG,
        "scheduler": {"_class_name": "RectifiedFlowScheduler"},
    }
    named = (
        ("model.diffusion_model.", ltx2_transformer.build()),
        ("vae.", ltx2_video_vae.build()),
        ("", ltx2_sound.build()),
    )
    tensors = {prefix + name: value for prefix, part in named for name, value in part.items()}
    tensors["text_embedding_projection.aggregate_embed.weight"] = ltx2_gemma.projection()
    return Weights(tensors, {"config": json.dumps(config)}, {})
