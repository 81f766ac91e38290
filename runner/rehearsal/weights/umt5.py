# pyright: basic, reportMissingImports=false
"""A umt5 text encoder that knows words by their colours, with its tokenizer.

An embedding says, in fixed places: which layout direction the word pulls at (WORD_LAYOUT), how
strongly it shows (PRESENCE), that it is a word and not padding (IS_WORD), and its colour (COLOUR).
The genuine attention layers do two things: a word takes on some of the colour of the word before
it ("red kite"), and every word a little of the whole prompt's.
"""

import io
import json
import zlib
from pathlib import Path

import comfy.ops
import comfy.text_encoders.t5
import sentencepiece
import torch

from runner.rehearsal.family import Weights
from runner.rehearsal.weights import words
from runner.rehearsal.weights.wan_colour import LAYOUT

WIDTH = 64  # real: 4096
WORD_LAYOUT = slice(0, LAYOUT)
PRESENCE = LAYOUT
IS_WORD = LAYOUT + 1
COLOUR = slice(LAYOUT + 2, LAYOUT + 5)  # r, g, b in -1..1
_STEADY = LAYOUT + 5  # large and equal in all words, so that T5's RMS norms hardly change anything

_STEADY_VALUE = 20.0
_RMS = (_STEADY_VALUE**2 / WIDTH) ** 0.5  # of an embedding, near enough

_LAYERS = 2  # real: 24
_HEADS, _HEAD_WIDTH = 4, 16
_ONE_BACK = 1  # T5's relative-position bucket of the token before

_PAD, _EOS, _UNK = 0, 1, 2  # as in Google's umt5; ComfyUI counts on it (comfy/text_encoders/wan.py)
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789,.!?'-"
_SPACE = "\u2581"  # sentencepiece's mark for the beginning of a word


def build() -> Weights:
    proto = _tokenizer()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=proto)
    config = {
        "d_model": WIDTH,
        "d_ff": WIDTH,
        "d_kv": _HEAD_WIDTH,
        "num_heads": _HEADS,
        "num_layers": _LAYERS,
        "vocab_size": pieces.get_piece_size(),
    }
    path = Path(comfy.text_encoders.t5.__file__).with_name("umt5_config_xxl.json")
    real = json.loads(path.read_text(encoding="utf-8"))
    model = comfy.text_encoders.t5.T5(
        {**real, **config}, torch.float32, "cpu", comfy.ops.disable_weight_init
    ).requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.fill_(_RMS if name.endswith("layer_norm.weight") else 0.0)
    for index in range(pieces.get_piece_size()):
        model.shared.weight[index] = _embedding(index, pieces)
    before, everything = (block.layer[0].SelfAttention for block in model.encoder.block)
    before.relative_attention_bias.weight[_ONE_BACK] = 8.0  # e^8: next to nothing for the others
    _pass_colour_on(before, share=0.5)
    _pass_colour_on(everything, share=0.25)
    return Weights(
        {
            **model.state_dict(),
            "spiece_model": torch.frombuffer(bytearray(proto), dtype=torch.uint8),
            # ComfyUI knows a T5-XXL by this tensor (comfy/sd.py, detect_te_model) of a layer that
            # this model does not have; loading drops it.
            "encoder.block.23.layer.1.DenseReluDense.wi_1.weight": torch.zeros(10240, 1),
        },
        {},
        {"umt5xxl_model_config": config},
    )


def _tokenizer() -> bytes:
    """A sentencepiece model that has our words whole, and bytes for the rest."""
    ours = [*words.COLOURS, *words.THINGS, *words.FUNCTION_WORDS]
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        # Our words many times, so that their letters are merged first; the alphabet for the rest.
        sentence_iterator=iter([" ".join(ours)] * 20 + [_ALPHABET]),
        model_writer=out,
        model_type="bpe",
        vocab_size=4096,  # an upper limit: more than there is to merge
        hard_vocab_limit=False,
        pad_id=_PAD,
        eos_id=_EOS,
        unk_id=_UNK,
        bos_id=-1,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc_cf",  # "Red" is "red"
        minloglevel=2,
        num_threads=1,
    )
    proto = out.getvalue()
    known = sentencepiece.SentencePieceProcessor(model_proto=proto)
    if missing := [word for word in ours if len(known.encode(word)) != 1]:
        raise ValueError(f"the tokenizer breaks up {missing}")
    return proto


def _embedding(index: int, pieces: sentencepiece.SentencePieceProcessor) -> torch.Tensor:
    piece = pieces.id_to_piece(index)
    word = piece.removeprefix(_SPACE)
    luck = torch.Generator().manual_seed(zlib.crc32(piece.encode()))
    layout = torch.randn(LAYOUT, generator=luck)
    rgb = torch.rand(3, generator=luck) * 1.2 - 0.6
    if word in words.COLOURS or word in words.THINGS:
        rgb = torch.tensor(words.COLOURS.get(word) or words.THINGS[word]) / 127.5 - 1
        presence = 1.0 if word in words.COLOURS else 0.8
    elif index == _EOS or word in words.FUNCTION_WORDS or not word.isalnum():
        presence = -1.0
    else:
        presence = 0.0
    if index == _EOS:
        rgb = torch.zeros(3)  # an empty prompt is grey
    if pieces.is_byte(index):
        rgb, presence = rgb / 3, -0.3
    row = torch.zeros(WIDTH)
    if index != _PAD:
        row[WORD_LAYOUT] = layout / layout.norm()
        row[PRESENCE], row[IS_WORD], row[COLOUR], row[_STEADY] = presence, 1.0, rgb, _STEADY_VALUE
    return row


def _pass_colour_on(attention, *, share: float) -> None:
    """Add `share` of the attended words' colour."""
    for place, channel in enumerate(range(COLOUR.start, COLOUR.stop)):
        attention.v.weight[place, channel] = 1.0
        attention.o.weight[channel, place] = share
