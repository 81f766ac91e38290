"""MultiTalk's stand-in weights on the real ComfyUI and its own nodes: a voice is seen as light."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from runner.comfy.engine import Engine
from runner.entrypoints import setup
from runner.rehearsal import StandIn, ensure, plan
from runner.rehearsal.store import KEY, read_header
from runner.settings import Settings

from sounds import speak

WIDTH, HEIGHT, FPS = 160, 96, 25
WALL, FACE = (60, 70, 90), (150, 110, 90)
WAN = "Wan2_1-I2V-14B-480p_fp8_e4m3fn_scaled_KJ.safetensors"
TEXT = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
VAE = "wan_2.1_vae.safetensors"
EARS = "wav2vec2-chinese-base_fp16.safetensors"
EYES = "clip_vision_h.safetensors"
LORA = "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors"
MULTI, SINGLE = (f"wan2.1_infiniteTalk_{kind}_fp16.safetensors" for kind in ("multi", "single"))
TALK = 0.64  # seconds, of each voice: 16 frames
LEFT, RIGHT = slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)
DARK = 1.5  # of 255: what H.264 changes


@dataclass(frozen=True)
class Take:
    pictures: np.ndarray  # [frames, height, width, 3], 0..255

    def light(self, frames: slice, columns: slice = slice(None)) -> float:
        return float(self.pictures[frames, :, columns].mean())


Shoot = Callable[..., Take]


class Graph(dict[str, Any]):
    def add(self, class_type: str, **inputs: Any) -> list[Any]:
        self[str(len(self) + 1)] = {"class_type": class_type, "inputs": inputs}
        return [str(len(self)), 0]


@pytest.fixture(scope="module")
def shoot(engine: Engine, settings: Settings) -> Shoot:
    draw(engine.input)
    made: dict[str, Take] = {}

    def shot(**params: Any) -> Take:
        key = json.dumps(params, sort_keys=True)
        if key not in made:
            graph = prompt(**params)
            setup.stand_ins(settings)(graph)
            prompt_id = str(uuid.uuid4())
            list(engine.comfy.run(graph, prompt_id=prompt_id, workflow={}))
            (file,) = engine.comfy.outcome(prompt_id).files
            with av.open(engine.output / file.subfolder / file.filename) as container:
                pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
            made[key] = Take(np.stack(pictures))
        return made[key]

    return shot


def faces() -> Image.Image:
    picture = Image.new("RGB", (WIDTH, HEIGHT), WALL)
    for left in (24, 104):
        picture.paste(FACE, (left, 24, left + 32, 80))
    return picture


def draw(folder: Path) -> None:
    faces().save(folder / "faces.png")
    for name, columns in (("left", LEFT), ("right", RIGHT)):
        mask = Image.new("L", (WIDTH, HEIGHT))
        mask.paste(255, (columns.start, 0, columns.stop, HEIGHT))
        mask.save(folder / f"{name}.png")
    speak(folder / "voice.wav", seconds=TALK, rate=16000)
    speak(folder / "silent.wav", seconds=TALK, rate=16000, loudness=0)
    speak(folder / "other.wav", seconds=TALK, rate=16000, pitch=90)


def prompt(
    *,
    voices: Sequence[str] = ("silent",),
    frames: int = 33,
    patch: str = MULTI,
    masks: Sequence[str] = ("left", "right"),
    text: str = "",
    seed: int = 1,
    steps: int = 2,
    audio_scale: float = 1.0,
    lora: bool = False,
    clip_vision: bool = False,
) -> Graph:
    """ComfyUI's own template, one window of it."""
    g = Graph()
    model = g.add("UNETLoader", unet_name=WAN, weight_dtype="default")
    if lora:
        model = g.add("LoraLoaderModelOnly", model=model, lora_name=LORA, strength_model=1.0)
    clip = g.add("CLIPLoader", clip_name=TEXT, type="wan", device="default")
    vae = g.add("VAELoader", vae_name=VAE)
    image = g.add("LoadImage", image="faces.png")
    ears = g.add("AudioEncoderLoader", audio_encoder_name=EARS)
    heard = [
        g.add(
            "AudioEncoderEncode", audio_encoder=ears, audio=g.add("LoadAudio", audio=f"{one}.wav")
        )
        for one in voices
    ]
    speaking: dict[str, Any] = {"mode": "single_speaker"}
    if len(heard) > 1:
        speaking = {"mode": "two_speakers", "mode.audio_encoder_output_2": heard[1]}
        for number, name in enumerate(masks, start=1):
            speaking[f"mode.mask_{number}"] = g.add(
                "LoadImageMask", image=f"{name}.png", channel="red"
            )
    if clip_vision:
        eyes = g.add("CLIPVisionLoader", clip_name=EYES)
        speaking["clip_vision_output"] = g.add(
            "CLIPVisionEncode", clip_vision=eyes, image=image, crop="center"
        )
    talk, _ = g.add(
        "WanInfiniteTalkToVideo",
        model=model,
        model_patch=g.add("ModelPatchLoader", name=patch),
        positive=g.add("CLIPTextEncode", clip=clip, text=text),
        negative=g.add("CLIPTextEncode", clip=clip, text=""),
        vae=vae,
        width=WIDTH,
        height=HEIGHT,
        length=frames,
        audio_encoder_output_1=heard[0],
        motion_frame_count=9,
        audio_scale=audio_scale,
        start_image=image,
        **speaking,
    )
    sampled = g.add(
        "SamplerCustomAdvanced",
        noise=g.add("RandomNoise", noise_seed=seed),
        guider=g.add("CFGGuider", model=[talk, 0], positive=[talk, 1], negative=[talk, 2], cfg=1.0),
        sampler=g.add("KSamplerSelect", sampler_name="euler"),
        sigmas=g.add(
            "BasicScheduler", model=[talk, 0], scheduler="normal", steps=steps, denoise=1.0
        ),
        latent_image=[talk, 3],
    )
    images = g.add("VAEDecode", samples=sampled, vae=vae)
    video = g.add("CreateVideo", images=images, fps=float(FPS))
    g.add("SaveVideo", video=video, filename_prefix="talk", format="mp4", codec="h264")
    return g


# --- what is seen ---------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 6, 40])
def test_the_picture_holds(shoot: Shoot, steps: int) -> None:
    take = shoot(steps=steps)
    assert take.pictures.shape == (33, HEIGHT, WIDTH, 3)
    shown = np.asarray(faces(), dtype=float)
    differences = np.abs(take.pictures - shown).mean(axis=(1, 2, 3))
    assert differences.max() < 10  # colours beside an edge run into each other
    grain = take.pictures[:, :16].astype(float).std(axis=(1, 2)).max()
    assert grain < 3


def test_silence_is_dark(shoot: Shoot) -> None:
    silent = shoot(voices=["silent"]).pictures.astype(float)
    assert np.abs(silent - silent[:1]).mean(axis=(1, 2, 3)).max() < DARK
    assert np.abs(silent - shoot(voices=["voice"], audio_scale=0.0).pictures).mean() < DARK


def test_a_voice_is_light_while_it_speaks(shoot: Shoot) -> None:
    voice, silent = shoot(voices=["voice"]), shoot(voices=["silent"])
    speaking, quiet = slice(4, 16), slice(24, 33)
    assert voice.light(speaking) - silent.light(speaking) > 8
    assert voice.light(speaking) - voice.light(quiet) > 5


def test_each_voice_lights_its_own_half_in_its_turn(shoot: Shoot) -> None:
    """Of ComfyUI's own node: the second one speaks when the first has ended."""
    both, none = shoot(voices=["voice", "voice"]), shoot(voices=["silent", "silent"])

    def gain(frames: slice, columns: slice) -> float:
        return both.light(frames, columns) - none.light(frames, columns)

    first, second = slice(4, 13), slice(20, 29)
    assert gain(first, LEFT) > 8
    assert abs(gain(first, RIGHT)) < DARK
    assert gain(second, RIGHT) > 8
    assert abs(gain(second, LEFT)) < DARK


def test_who_is_silent_stays_dark(shoot: Shoot) -> None:
    none = shoot(voices=["silent", "silent"])
    alone = shoot(voices=["voice", "silent"])
    turned = shoot(voices=["voice", "silent"], masks=["right", "left"])
    frames = slice(4, 13)
    for take, lit, dark in ((alone, LEFT, RIGHT), (turned, RIGHT, LEFT)):
        assert take.light(frames, lit) - none.light(frames, lit) > 8
        assert abs(take.light(frames, dark) - none.light(frames, dark)) < DARK


@pytest.mark.parametrize(
    ("params", "least"),
    [
        ({"voices": ["other"]}, 0.5),
        ({"patch": SINGLE}, 0.3),
        ({"audio_scale": 2.0}, 5),
        ({"lora": True}, 0.5),
        ({"clip_vision": True}, 0.02),
        ({"text": "a red room"}, 0.5),
        ({"seed": 2}, 0.02),
    ],
)
def test_whatever_goes_in_is_seen(shoot: Shoot, params: dict[str, Any], least: float) -> None:
    told = {
        "voices": ["voice"],
        "text": "a red room" if "lora" in params else "",
    }  # it acts on words
    one, other = (shoot(**{**told, **more}).pictures for more in ({}, params))
    assert np.abs(one.astype(float) - other).mean() > least


def test_a_prompt_tints_the_picture(shoot: Shoot) -> None:
    plain, red = (shoot(text=text).pictures.mean(axis=(0, 1, 2)) for text in ("", "a red room"))
    assert (red - plain).argmax() == 0


# --- the files ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stand_ins() -> list[StandIn]:
    loaders = prompt(voices=["voice", "voice"], lora=True, clip_vision=True)
    return plan(loaders)


# In a process of its own, as a ComfyUI server would: its loaders, without and with the pack.
LOAD = """
import json, sys
comfyui, models, names = sys.argv[1:]
sys.path.insert(0, comfyui)
sys.argv = [sys.argv[0], "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import os, folder_paths, nodes, torch
import comfy.sd, comfy.utils
from comfy_extras.nodes_audio_encoder import AudioEncoderLoader
from comfy_extras.nodes_model_patch import ModelPatchLoader
import callsheet_rehearsal

torch.set_grad_enabled(False)
only = json.loads(names)
for folder in only:
    folder_paths.folder_names_and_paths[folder] = ([models + "/" + folder], {".safetensors"})
model = nodes.UNETLoader().load_unet(only["diffusion_models"], "default")[0]
patch = ModelPatchLoader().load_model_patch(only["model_patches"])[0]
ears = AudioEncoderLoader.execute(only["audio_encoders"]).result[0]
eyes = nodes.CLIPVisionLoader().load_clip(only["clip_vision"])[0]
lora = comfy.utils.load_torch_file(models + "/loras/" + only["loras"])
fitted = comfy.sd.load_lora_for_models(model, None, lora, 1, 0)[0]
layers = ears.encode_audio(torch.randn(1, 1, 16000), 16000)["encoded_audio_all_layers"]
print(json.dumps({
    "model": [type(model.model).__name__, model.model.model_type.name],
    "patch": [type(patch.model).__name__, len(patch.model.blocks)],
    "ears": [type(ears.model).__name__, len(layers), list(layers[0].shape)],
    "eyes": list(eyes.encode_image(torch.rand(1, 64, 64, 3))["last_hidden_state"].shape),
    "lora": [len(lora) // 3, len(fitted.patches)],
}))
"""


def test_comfyuis_loaders_take_them_for_what_they_stand_for(
    stand_ins: list[StandIn], settings: Settings, tmp_path: Path
) -> None:
    ensure(stand_ins, models_dir=tmp_path, comfyui_dir=settings.comfyui_dir)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors")) < 90_000_000
    packs = Path(__file__).parents[2] / "custom_nodes"
    names = json.dumps({each.folder: each.name for each in stand_ins})
    done = subprocess.run(
        [sys.executable, "-B", "-c", LOAD, str(settings.comfyui_dir), str(tmp_path), names],
        env={**os.environ, "PYTHONPATH": str(packs), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "missing audio encoder" not in done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "model": ["WAN21", "FLOW"],
        "patch": ["MultiTalkModelPatch", 40],
        "ears": ["Wav2Vec2Model", 13, [1, 49, 768]],
        "eyes": [1, 17, 1280],
        "lora": [1, 1],
    }


def test_files_of_older_code_are_built_anew_and_the_others_left(
    stand_ins: list[StandIn], settings: Settings, tmp_path: Path
) -> None:
    ours = [each for each in stand_ins if each.kind in ("patch", "audio_encoder", "unet")]
    ensure(ours, models_dir=tmp_path, comfyui_dir=settings.comfyui_dir)
    paths = {each.kind: tmp_path / each.folder / each.name for each in ours}
    before = {kind: path.stat().st_mtime_ns for kind, path in paths.items()}
    outdated = paths["patch"]
    mark = json.loads(read_header(outdated)["__metadata__"][KEY])
    assert len(mark["fingerprint"]) == 64
    tensors = load_file(outdated)
    save_file(tensors, outdated, metadata={KEY: json.dumps({**mark, "fingerprint": "0" * 64})})
    ensure(ours, models_dir=tmp_path, comfyui_dir=settings.comfyui_dir)
    assert json.loads(read_header(outdated)["__metadata__"][KEY]) == mark
    after = {kind: path.stat().st_mtime_ns for kind, path in paths.items()}
    assert {kind for kind in before if before[kind] != after[kind]} == {"patch"}
