"""Lets ComfyUI run Callsheet's stand-in weights; inert for every other file, but that torch
has one thread. Adds no nodes.

A stand-in has the safetensors metadata key `callsheet_rehearsal`, or a tensor whose name begins with it
where a loader hands the tensors on alone. For such a file, and only then:

- text encoders: ComfyUI builds one at the single size its family has, whatever the file holds. Its
  own `<name>_model_config` model option (comfy/sd1_clip.py) can say otherwise, but no loader node
  sets it. So the file brings the model options it needs, and the hook hands them on.
- Mochi: ComfyUI builds its transformer and its VAE at one size, too. The hooks build them at the size
  that the file says.
- LTX-2: ComfyUI builds Gemma and what follows it at one size, too; the same goes for it.
- wav2vec2 and CLIP vision have one size, too. The first one's file tells tensors of one value in a
  line of text, and the hook makes them whole; the second one's tells its size, and the hook builds it.
- VAEs: few channels make torch choose a convolution nine times slower than it need be; the hook
  makes it take the other one.
"""

import contextlib
import functools
import inspect
import json
import logging
from pathlib import Path

import comfy.audio_encoders.audio_encoders as audio_encoders
import comfy.clip_vision
import comfy.ldm.genmo.vae.model as genmo
import comfy.model_detection
import comfy.sd
import comfy.text_encoders.llama as llama
import comfy.text_encoders.lt as lt
import torch

KEY = "callsheet_rehearsal"
CONSTANTS, CONFIG = f"{KEY}.constants", f"{KEY}.config"  # tensors that hold JSON, as bytes
NODE_CLASS_MAPPINGS = {}

_MAX_HEADER = 100_000_000  # bytes; the safetensors format's own limit


def model_options_of(path):
    """The model options that a stand-in asks for; {} for any other file. Reads the header only."""
    if not str(path).lower().endswith((".safetensors", ".sft")):
        return {}
    try:
        with Path(path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if length <= _MAX_HEADER else b""
        # The header of a real checkpoint lists thousands of tensors: do not parse it in vain.
        if KEY.encode() not in header:
            return {}
        return marked_options(json.loads(header).get("__metadata__", {}))
    except (OSError, ValueError):
        return {}  # the loader itself says best what is wrong with a file


def marked_options(metadata):
    """The model options in a file's metadata; {} if it is no stand-in."""
    return json.loads(metadata[KEY]).get("model_options", {}) if KEY in metadata else {}


def accept_stand_ins(load):
    """`comfy.sd.load_clip`, with the model options of stand-ins added to the caller's."""
    signature = inspect.signature(load)

    @functools.wraps(load)
    def load_clip(*args, **kwargs):
        call = signature.bind(*args, **kwargs)
        options = {}
        for path in call.arguments.get("ckpt_paths", ()):
            options.update(model_options_of(path))
        if not options:
            return load(*args, **kwargs)
        logging.info("callsheet_rehearsal: stand-in text encoder, %s", ", ".join(sorted(options)))
        call.arguments["model_options"] = {**call.arguments.get("model_options", {}), **options}
        with ltxav_te_sizes(options.get("ltxav_te")):
            return load(*call.args, **call.kwargs)

    load_clip.rehearses = True
    return load_clip


def hasten_stand_ins(init):
    """`comfy.sd.VAE.__init__`; a stand-in's 3D convolutions go to oneDNN."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def vae_init(self, *args, **kwargs):
        metadata = signature.bind(self, *args, **kwargs).arguments.get("metadata") or {}
        with mochi_vae_sizes(marked_options(metadata).get("mochi_vae")):
            init(self, *args, **kwargs)
        if KEY in metadata:
            for module in self.first_stage_model.modules():
                if isinstance(module, torch.nn.Conv3d):
                    module._conv_forward = functools.partial(
                        _convolve, module, module._conv_forward
                    )

    vae_init.rehearses = True
    return vae_init


@contextlib.contextmanager
def ltxav_te_sizes(sizes):
    """Within, LTX-2's text encoder is built with these: {"config", "vision_config", "projection"}."""
    real, real_config = lt.ltxav_te, llama.Gemma3_12B_Config
    if sizes:
        lt.ltxav_te = functools.partial(_ltxav_te, sizes)
        # Not a field of the dataclass, so no configuration can set it.
        llama.Gemma3_12B_Config = type(
            real_config.__name__,
            (real_config,),
            {"vision_config": {**real_config.vision_config, **sizes["vision_config"]}},
        )
    try:
        yield
    finally:
        lt.ltxav_te, llama.Gemma3_12B_Config = real, real_config


def _ltxav_te(sizes, dtype_llama=None, **_):
    class StandIn(lt.LTXAVTEModel):
        def __init__(self, device="cpu", dtype=None, model_options=None):
            # Not the real one's: its projection alone would take 2.9 GB.
            torch.nn.Module.__init__(self)
            dtype = dtype_llama or dtype
            self.dtypes = {dtype}
            self.compat_mode = False
            self.text_projection_type = "single_linear"
            name = "gemma3_12b"
            own = {"model_name": name, f"{name}_model_config": dict(sizes["config"])}
            self.gemma3_12b = lt.Gemma3_12BModel(
                device=device, dtype=dtype, model_options={**(model_options or {}), **own}
            )
            self.text_embedding_projection = self.gemma3_12b.operations.Linear(
                *sizes["projection"], bias=False, dtype=dtype, device=device
            )

    return StandIn


@contextlib.contextmanager
def mochi_vae_sizes(sizes):
    """Within, Mochi's VAE, which takes no arguments, is built with these: {"encoder", "decoder"}."""
    encoder, decoder = genmo.Encoder, genmo.Decoder
    if sizes:
        genmo.Encoder = lambda **real: encoder(**{**real, **sizes["encoder"]})
        genmo.Decoder = lambda **real: decoder(**{**real, **sizes["decoder"]})
    try:
        yield
    finally:
        genmo.Encoder, genmo.Decoder = encoder, decoder


def resize_stand_ins(detect):
    """`comfy.model_detection.detect_unet_config`, with the sizes that a stand-in says it has."""
    signature = inspect.signature(detect)

    @functools.wraps(detect)
    def detect_unet_config(*args, **kwargs):
        metadata = signature.bind(*args, **kwargs).arguments.get("metadata") or {}
        sizes = marked_options(metadata).get("unet_config")
        found = detect(*args, **kwargs)
        return {**found, **sizes} if found and sizes else found

    detect_unet_config.rehearses = True
    return detect_unet_config


def whole_audio_encoders(load):
    """`load_audio_encoder_from_sd`; a stand-in's tensors of one value are made whole."""

    @functools.wraps(load)
    def load_audio_encoder_from_sd(sd, *args, **kwargs):
        told = sd.get(CONSTANTS)
        if told is None:
            return load(sd, *args, **kwargs)
        constants = {
            # One number that is shown everywhere: 94 million of them take no memory.
            name: torch.tensor(value).expand(shape)
            for name, (shape, value) in json.loads(bytes(told.tolist())).items()
        }
        kept = {name: tensor for name, tensor in sd.items() if name != CONSTANTS}
        return load({**kept, **constants}, *args, **kwargs)

    load_audio_encoder_from_sd.rehearses = True
    return load_audio_encoder_from_sd


def resize_clip_vision(load):
    """`load_clipvision_from_sd`; a stand-in is built at the size that it says it has."""

    @functools.wraps(load)
    def load_clipvision_from_sd(sd, *args, **kwargs):
        told = sd.get(CONFIG)
        if told is None:
            return load(sd, *args, **kwargs)
        clip = comfy.clip_vision.ClipVisionModel(json.loads(bytes(told.tolist())))
        clip.load_sd({name: tensor for name, tensor in sd.items() if name != CONFIG})
        return clip

    load_clipvision_from_sd.rehearses = True
    return load_clipvision_from_sd


def _convolve(module, usual, input, weight, bias, autopad=None):
    """The same convolution; torch by itself uses oneDNN only for more than 20480 numbers a column.

    (aten/src/ATen/native/Convolution.cpp, use_mkldnn: batch x channels x frames x rows.)
    """
    if autopad or input.device.type != "cpu" or input.dtype != torch.float32:
        extra = {"autopad": autopad} if autopad else {}
        return usual(input, weight, bias, **extra)
    padding = module.padding
    if module.padding_mode != "zeros":
        # As torch's Conv3d does it.
        input = torch.nn.functional.pad(
            input, module._reversed_padding_repeated_twice, mode=module.padding_mode
        )
        padding = (0, 0, 0)
    return torch.ops.aten.mkldnn_convolution(
        input, weight, bias, padding, module.stride, module.dilation, module.groups
    )


# The tensors are tiny: more threads only wait for each other. And another number of threads rounds
# otherwise, which keyframes that are not at full strength show as other frames.
torch.set_num_threads(1)

if not hasattr(comfy.sd.load_clip, "rehearses"):  # the pack may be imported twice
    comfy.sd.load_clip = accept_stand_ins(comfy.sd.load_clip)
    comfy.sd.VAE.__init__ = hasten_stand_ins(comfy.sd.VAE.__init__)
    comfy.model_detection.detect_unet_config = resize_stand_ins(
        comfy.model_detection.detect_unet_config
    )
    audio_encoders.load_audio_encoder_from_sd = whole_audio_encoders(
        audio_encoders.load_audio_encoder_from_sd
    )
    comfy.clip_vision.load_clipvision_from_sd = resize_clip_vision(
        comfy.clip_vision.load_clipvision_from_sd
    )
