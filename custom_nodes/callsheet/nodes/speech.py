"""Speech into the features that move lips."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from comfy_api.latest import io
from comfy_extras.nodes_wan import linear_interpolation

from ..ops import heap
from ..ops import speech as features
from .sockets import Speakers, Speech

LAYERS, CHANNELS = 12, 768  # that MultiTalk's audio projection was trained on


class EncodeSpeech(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetEncodeSpeech",
            display_name="Encode speech",
            category="callsheet/audio",
            description="Turns voices of any length into features at 25 fps, laid out over the "
            "video as the speakers were arranged. Memory stays flat: long voices go in chunks.",
            search_aliases=["callsheet", "wav2vec", "audio encoder", "multitalk", "lip sync"],
            inputs=[
                io.AudioEncoder.Input("audio_encoder", tooltip="A wav2vec2-base."),
                Speakers.Input("speakers", tooltip="Arranged ones, of Arrange speakers."),
            ],
            outputs=[
                Speech.Output(
                    display_name="speech",
                    tooltip="What each speaker says in each frame; into MultiTalk sampler.",
                )
            ],
        )

    @classmethod
    def execute(cls, audio_encoder, speakers) -> io.NodeOutput:
        if not speakers or any("voice" not in speaker for speaker in speakers):
            raise ValueError("speakers: they are not arranged; link those of Arrange speakers here")
        frames = features.video_frames(speakers[0]["seconds"])
        laid_out = [
            features.laid_out(
                encode(audio_encoder, speaker["voice"]),
                start=speaker["starts"],
                length=seconds_of(speaker["voice"]),
                frames=frames,
            )
            for speaker in speakers
        ]
        heap.trim()
        return io.NodeOutput({"speakers": laid_out, "frames": frames})


def encode(audio_encoder, voice) -> Iterator[torch.Tensor]:
    """[frames, layers, channels] at 25 fps, in consecutive parts."""
    if voice["sample_rate"] != features.RATE:
        raise ValueError(
            f"speakers: a voice at {voice['sample_rate']} Hz; Arrange speakers makes {features.RATE}"
        )

    def encode_part(samples: torch.Tensor) -> torch.Tensor:
        heap.trim()
        layers = audio_encoder.encode_audio(samples, features.RATE)["encoded_audio_all_layers"]
        found = torch.stack(layers).squeeze(1)[1:].movedim(0, 1)
        if found.shape[1:] != (LAYERS, CHANNELS):
            raise ValueError(
                f"audio_encoder: it has {found.shape[1]} layers of {found.shape[2]}; MultiTalk "
                f"needs a wav2vec2-base, {LAYERS} of {CHANNELS}"
            )
        return found

    with level(audio_encoder.model, voice["waveform"]):
        yield from features.encoded(voice["waveform"], encode=encode_part, to_video=to_video)


@contextmanager
def level(model, voice: torch.Tensor) -> Iterator[None]:
    """Within, the encoder levels each chunk as it would level the whole voice.

    Its first norm goes by the mean and variance of all it is given (a GroupNorm over time). Of a
    chunk alone it would make the noise in a long pause as loud as speech, and lips would move.
    """
    first = model.feature_extractor.conv_layers[0]
    whole = features.features_in(voice.shape[-1]) <= features.WHOLE
    if whole or not isinstance(first.layer_norm, torch.nn.GroupNorm):
        yield
        return
    filters, (step,) = first.conv.weight.float().cpu().squeeze(1), first.conv.stride
    mean, variance = features.levels(voice.float().cpu(), filters=filters, step=step)

    def levelled(norm, given, _output):
        sound = given[0]
        scale = norm.weight.cpu().double() * (variance + norm.eps).rsqrt()
        shift = norm.bias.cpu().double() - mean * scale
        return torch.addcmul(shift[:, None].to(sound), sound, scale[:, None].to(sound))

    hook = first.layer_norm.register_forward_hook(levelled)
    try:
        yield
    finally:
        hook.remove()


def to_video(known: torch.Tensor) -> torch.Tensor:
    """[features, layers, channels] at 50 Hz → 25 fps, by ComfyUI's own function."""
    layers_first = known.movedim(1, 0)
    return linear_interpolation(layers_first, input_fps=50, output_fps=25).movedim(0, 1)


def seconds_of(audio) -> float:
    return audio["waveform"].shape[-1] / audio["sample_rate"]
