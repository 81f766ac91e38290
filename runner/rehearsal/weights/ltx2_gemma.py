# pyright: basic, reportMissingImports=false
"""A Gemma 3 text encoder for LTX-2 that knows colour words, with its tokenizer.

An embedding holds the word's colour and how strongly it shows, between two numbers that are the
largest and the smallest of all: ComfyUI scales embeddings by them. The layers change nothing. The
transformer's stand-in tints the picture a little.
"""

import io
from typing import Any

import sentencepiece
import torch

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import words

WIDTH = 32  # of embeddings, and of what the projection makes of them (real: 3840)
COLOUR = slice(0, 3)  # r, g, b in -1..1
PRESENCE = 3  # 0, or 1 for a word that has a colour
NO_WORD = 4  # 1 where the prompt has ended
ONE = 5  # in the projection, 1 x BIG
BIG = 100.0  # so large that the norm after it divides by the same number for every word
_ZERO, _LARGEST, _SMALLEST = 6, 7, 8  # in the embeddings; ComfyUI takes their mean off
_RANGE = 4.0  # and divides by the range / 8

_HEAD = 256  # the width of a head; ComfyUI knows no other
_CONFIG = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": 1,  # real: 48
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
}
_VISION = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 1}
_STATES = _CONFIG["num_hidden_layers"] + 1  # hidden states that the projection reads

_PAD, _EOS, _BOS, _UNK = range(4)  # as in Google's Gemma; ComfyUI counts on it
_SPACE = "\u2581"  # sentencepiece's mark for the beginning of a word


def build() -> Weights:
    proto = _tokenizer()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=proto)
    count = pieces.get_piece_size()
    tensors = {
        "model.embed_tokens.weight": torch.stack(
            [_embedding(pieces.id_to_piece(index)) for index in range(count)]
        ),
        "model.norm.weight": torch.zeros(WIDTH),
        **{f"model.layers.0.{name}.weight": torch.zeros(*s) for name, s in _layer().items()},
        # ComfyUI knows the file by this tensor of a layer that this model does not have
        # (comfy/text_encoders/lt.py, load_sd); loading drops it.
        "model.layers.47.self_attn.q_norm.weight": torch.zeros(1),
        "spiece_model": torch.frombuffer(bytearray(proto), dtype=torch.uint8),
    }
    sizes: dict[str, Any] = {
        "config": {**_CONFIG, "vocab_size": count},
        "vision_config": {**_VISION, "num_hidden_layers": 1},
        "projection": [WIDTH * _STATES, WIDTH],
    }
    return Weights(tensors, {}, {"ltxav_te": sizes})


def projection() -> torch.Tensor:
    """What the checkpoint holds for this text encoder: (out, embedding x hidden state)."""
    weight = torch.zeros(WIDTH, WIDTH, _STATES)
    words_own = weight[:, :, 0]  # the embeddings themselves
    for channel in (*range(COLOUR.start, COLOUR.stop), PRESENCE):
        words_own[channel, channel], words_own[channel, _ZERO] = 1.0, -1.0
    words_own[ONE, _LARGEST], words_own[ONE, _SMALLEST] = BIG / 8, -BIG / 8
    return weight.reshape(WIDTH, WIDTH * _STATES)


def after_the_end() -> torch.Tensor:
    """(WIDTH,): what stands where the prompt has ended."""
    row = torch.zeros(WIDTH)
    row[NO_WORD], row[ONE] = 1.0, BIG
    return row


def _layer() -> dict[str, tuple[int, ...]]:
    norms = ("input", "post_attention", "pre_feedforward", "post_feedforward")
    return {
        "self_attn.q_proj": (_HEAD, WIDTH),
        "self_attn.k_proj": (_HEAD, WIDTH),
        "self_attn.v_proj": (_HEAD, WIDTH),
        "self_attn.o_proj": (WIDTH, _HEAD),
        "self_attn.q_norm": (_HEAD,),
        "self_attn.k_norm": (_HEAD,),
        "mlp.gate_proj": (WIDTH, WIDTH),
        "mlp.up_proj": (WIDTH, WIDTH),
        "mlp.down_proj": (WIDTH, WIDTH),
        **{f"{name}_layernorm": (WIDTH,) for name in norms},
    }


def _embedding(piece: str) -> torch.Tensor:
    word = piece.removeprefix(_SPACE)
    row = torch.zeros(WIDTH)
    row[_LARGEST], row[_SMALLEST] = _RANGE, -_RANGE
    if rgb := words.COLOURS.get(word) or words.THINGS.get(word):
        row[COLOUR] = torch.tensor(rgb) / 127.5 - 1
        row[PRESENCE] = 1.0
    return row


def _tokenizer() -> bytes:
    """A sentencepiece model that has our words whole, and bytes for the rest."""
    ours = [*words.COLOURS, *words.THINGS]
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        # Our words many times, so that their letters are merged first; letters for the rest.
        sentence_iterator=iter([" ".join(ours)] * 20 + ["abcdefghijklmnopqrstuvwxyz0123456789"]),
        model_writer=out,
        model_type="bpe",
        vocab_size=4096,  # an upper limit: more than there is to merge
        hard_vocab_limit=False,
        pad_id=_PAD,
        eos_id=_EOS,
        bos_id=_BOS,
        unk_id=_UNK,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc_cf",  # "Red" is "red"
        minloglevel=2,
        num_threads=1,
    )
    return out.getvalue()
