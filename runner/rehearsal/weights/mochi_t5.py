# pyright: basic, reportMissingImports=false
"""A T5-XXL text encoder, for Mochi, that knows words by their colours.

As umt5 does it for WAN, in one layer and with T5's own tokenizer, which ComfyUI brings along: the
embedding holds the direction a word pulls at, its presence and its colour; one attention head adds
colour of the word before ("red kite"), the other a little of the whole prompt's. Of the words in
`words.py` that tokenizer breaks up eleven (crimson, scarlet, teal, …): their colour is chance, as
that of all other words.
"""

import json
import zlib
from pathlib import Path

import comfy.ops
import comfy.text_encoders.t5
import torch
from tokenizers import Tokenizer

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import words
from runner.rehearsal.weights.mochi_colour import LAYOUT

WIDTH = 16  # real: 4096
WORD_LAYOUT = slice(0, LAYOUT)
PRESENCE = LAYOUT
COLOUR = slice(LAYOUT + 1, LAYOUT + 4)  # r, g, b in -1..1
_STEADY = LAYOUT + 4  # large and equal in all words, so that T5's RMS norms hardly change anything

_STEADY_VALUE = 20.0
_RMS = (_STEADY_VALUE**2 / WIDTH) ** 0.5  # of an embedding, near enough

_PASSED_ON = (0.5, 0.25)  # share of the colour: of the word before, of the whole prompt
_HEADS, _HEAD_WIDTH = len(_PASSED_ON), 4
_ONE_BACK = 1  # T5's relative-position bucket of the token before

_VOCABULARY = 32128  # the tokenizer's 32100, rounded up as in the real model
_PAD, _EOS = 0, 1
_SPACE = "\u2581"  # sentencepiece's mark for the beginning of a word


def build() -> Weights:
    config = {
        "d_model": WIDTH,
        "d_ff": WIDTH,
        "d_kv": _HEAD_WIDTH,
        "num_heads": _HEADS,
        "num_layers": 1,
    }
    folder = Path(comfy.text_encoders.t5.__file__).parent
    real = json.loads((folder / "t5_config_xxl.json").read_text(encoding="utf-8"))
    model = comfy.text_encoders.t5.T5(
        {**real, **config}, torch.float32, "cpu", comfy.ops.disable_weight_init
    ).requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.fill_(_RMS if name.endswith("layer_norm.weight") else 0.0)
    pieces = Tokenizer.from_file(str(folder / "t5_tokenizer" / "tokenizer.json")).get_vocab()
    for piece, index in pieces.items():
        if index != _PAD:
            model.shared.weight[index] = _embedding(piece, ends=index == _EOS)
    _pass_colour_on(model.encoder.block[0].layer[0].SelfAttention)
    return Weights(
        {
            **model.state_dict(),
            # ComfyUI knows a T5-XXL by this tensor (comfy/sd.py, detect_te_model) of a layer that
            # this model does not have; loading drops it.
            "encoder.block.23.layer.1.DenseReluDense.wi_1.weight": torch.zeros(10240, 1),
        },
        {},
        {"t5xxl_model_config": config},
    )


def _embedding(piece: str, *, ends: bool) -> torch.Tensor:
    word = piece.removeprefix(_SPACE).lower()
    luck = torch.Generator().manual_seed(zlib.crc32(word.encode()))
    layout = torch.randn(LAYOUT, generator=luck)
    rgb = torch.rand(3, generator=luck) * 1.2 - 0.6
    if not piece.startswith(_SPACE):  # the rest of a word
        rgb, presence = rgb / 3, -0.3
    elif word in words.COLOURS or word in words.THINGS:
        rgb = torch.tensor(words.COLOURS.get(word) or words.THINGS[word]) / 127.5 - 1
        presence = 1.0 if word in words.COLOURS else 0.8
    else:
        presence = 0.0
    if ends or word in words.FUNCTION_WORDS or not word.isalnum():
        rgb, presence = torch.zeros(3), -1.0
    row = torch.zeros(WIDTH)
    row[WORD_LAYOUT] = layout / layout.norm()
    row[PRESENCE], row[COLOUR], row[_STEADY] = presence, rgb, _STEADY_VALUE
    return row


def _pass_colour_on(attention) -> None:
    attention.relative_attention_bias.weight[_ONE_BACK, 0] = 8.0  # e^8: nearly all the weight
    for head, share in enumerate(_PASSED_ON):
        for place, channel in enumerate(range(COLOUR.start, COLOUR.stop)):
            attention.v.weight[head * _HEAD_WIDTH + place, channel] = 1.0
            attention.o.weight[channel, head * _HEAD_WIDTH + place] = share
