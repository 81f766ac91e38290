"""LTX-2's stand-in weights on the real ComfyUI: what is given is what is seen, and heard."""

import uuid
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from runner.comfy.engine import Engine
from runner.entrypoints import setup
from runner.settings import Settings

WIDTH, HEIGHT, FRAMES, FPS = 256, 192, 33, 30
RED, GREEN, BLUE = (200, 40, 40), (40, 180, 60), (40, 60, 210)
CHECKPOINT = "ltx-2-19b-dev-fp8.safetensors"
GEMMA = "gemma_3_12B_it_fp4_mixed.safetensors"
UPSCALER = "ltx-2-spatial-upscaler-x2-1.0.safetensors"
DETAILER = "ltx-2-19b-ic-lora-detailer.safetensors"
DOLLY = "ltx-2-19b-lora-camera-control-dolly-in.safetensors"
DISTILLED = "1., 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0"
SECOND_STAGE = "0.909375, 0.725, 0.421875, 0.0"

Guide = tuple[str, int, float]  # image, frame, strength


@dataclass(frozen=True)
class Take:
    pictures: np.ndarray  # [frames, height, width, 3], 0..255
    sound: np.ndarray  # [channels, samples]

    def colour(self, frame: int) -> np.ndarray:
        """Of the picture's background: of its corners."""
        return self.pictures[frame, :32, :32].mean(axis=(0, 1))


Shoot = Callable[..., Take]


class Graph(dict[str, Any]):
    def add(self, class_type: str, **inputs: Any) -> list[Any]:
        self[str(len(self) + 1)] = {"class_type": class_type, "inputs": inputs}
        return [str(len(self)), 0]


@pytest.fixture(scope="module")
def shoot(engine: Engine, settings: Settings) -> Shoot:
    draw(engine.input)

    def shot(**params: Any) -> Take:
        graph = prompt(**params)
        setup.stand_ins(settings)(graph)
        prompt_id = str(uuid.uuid4())
        for _ in engine.comfy.run(graph, prompt_id=prompt_id, workflow={}):
            pass
        (file,) = engine.comfy.outcome(prompt_id).files
        return take(engine.output / file.subfolder / file.filename)

    return shot


def draw(folder: Path) -> None:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    disc = (x - WIDTH / 2) ** 2 + (y - HEIGHT / 2) ** 2 < 45**2
    for name, colour in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        picture = np.where(disc[..., None], (235, 220, 190), colour).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{name}.png")
    time = np.arange(44100 * 2) / 44100
    noise = np.random.default_rng(1).normal(size=time.size)
    for name, loudness in (("quiet", time * 0), ("late", time > 0.6)):
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 44100, 0, "NONE", ""))
            file.writeframes((noise * loudness * 6000).clip(-32767, 32767).astype("<i2").tobytes())


def take(path: Path) -> Take:
    with av.open(path) as container:
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    with av.open(path) as container:
        sound = [f.to_ndarray() for f in container.decode(audio=0)]
    return Take(np.stack(pictures), np.concatenate(sound, axis=1))


def prompt(
    *,
    guides: Sequence[Guide] = (),
    image: str = "red.png",
    strength: float = 1.0,
    sound: str | None = None,
    loras: Sequence[tuple[str, float]] = (),
    steps: int | None = None,
    cfg: float = 1.0,
    two_stages: bool = False,
    text: str = "",
    seed: int = 1,
) -> Graph:
    g = Graph()
    checkpoint, _ = g.add("CheckpointLoaderSimple", ckpt_name=CHECKPOINT)
    model, vae = [checkpoint, 0], [checkpoint, 2]
    for name, amount in loras:
        model = g.add("LoraLoaderModelOnly", model=model, lora_name=name, strength_model=amount)
    hearing = g.add("LTXVAudioVAELoader", ckpt_name=CHECKPOINT)
    clip = g.add(
        "LTXAVTextEncoderLoader", text_encoder=GEMMA, ckpt_name=CHECKPOINT, device="default"
    )
    positive = g.add("CLIPTextEncode", clip=clip, text=text)
    negative = g.add("CLIPTextEncode", clip=clip, text="")
    words, _ = g.add("LTXVConditioning", positive=positive, negative=negative, frame_rate=FPS)

    audio = None
    if sound:
        audio = g.add("LoadAudio", audio=sound)
        encoded = g.add("LTXVAudioVAEEncode", audio=audio, audio_vae=hearing)
        fixed = g.add("SolidMask", value=0.0, width=64, height=64)
        heard = g.add("SetLatentNoiseMask", samples=encoded, mask=fixed)
    else:
        heard = g.add(
            "LTXVEmptyLatentAudio",
            frames_number=FRAMES,
            frame_rate=FPS,
            batch_size=1,
            audio_vae=hearing,
        )

    def stage(seen: list[Any], heard: list[Any], steps: int | str, seed: int) -> list[list[Any]]:
        conditions = [[words, 0], [words, 1]]
        if not guides:
            seen = g.add(
                "LTXVImgToVideoInplace",
                vae=vae,
                image=g.add("LoadImage", image=image),
                latent=seen,
                strength=strength,
                bypass=False,
            )
        for name, frame, amount in guides:
            guide, _ = g.add(
                "LTXVAddGuide",
                positive=conditions[0],
                negative=conditions[1],
                vae=vae,
                latent=seen,
                image=g.add("LoadImage", image=name),
                frame_idx=frame,
                strength=amount,
            )
            conditions, seen = [[guide, 0], [guide, 1]], [guide, 2]
        both = g.add("LTXVConcatAVLatent", video_latent=seen, audio_latent=heard)
        sigmas = (
            g.add("ManualSigmas", sigmas=steps)
            if isinstance(steps, str)
            else g.add(
                "LTXVScheduler",
                steps=steps,
                max_shift=2.05,
                base_shift=0.95,
                stretch=True,
                terminal=0.1,
                latent=both,
            )
        )
        sampled = g.add(
            "SamplerCustomAdvanced",
            noise=g.add("RandomNoise", noise_seed=seed),
            guider=g.add(
                "CFGGuider", model=model, positive=conditions[0], negative=conditions[1], cfg=cfg
            ),
            sampler=g.add("KSamplerSelect", sampler_name="euler"),
            sigmas=sigmas,
            latent_image=both,
        )
        parts, _ = g.add("LTXVSeparateAVLatent", av_latent=sampled)
        cropped, _ = g.add(
            "LTXVCropGuides", positive=conditions[0], negative=conditions[1], latent=[parts, 0]
        )
        return [[cropped, 2], [parts, 1]]

    scale = 2 if two_stages else 1
    seen = g.add(
        "EmptyLTXVLatentVideo",
        width=WIDTH // scale,
        height=HEIGHT // scale,
        length=FRAMES,
        batch_size=1,
    )
    seen, heard = stage(seen, heard, steps or DISTILLED, seed)
    if two_stages:
        upscaler = g.add("LatentUpscaleModelLoader", model_name=UPSCALER)
        seen = g.add("LTXVLatentUpsampler", samples=seen, upscale_model=upscaler, vae=vae)
        seen, heard = stage(seen, heard, SECOND_STAGE, seed + 1)
    video = g.add(
        "CreateVideo",
        images=g.add("VAEDecode", samples=seen, vae=vae),
        audio=audio or g.add("LTXVAudioVAEDecode", samples=heard, audio_vae=hearing),
        fps=float(FPS),
    )
    g.add("SaveVideo", video=video, filename_prefix="ltx2", format="mp4", codec="h264")
    return g


def far(one: np.ndarray, other: Sequence[int] | np.ndarray) -> float:
    """The largest difference of two colours, in steps of 0..255."""
    return float(np.abs(one - np.asarray(other)).max())


@pytest.mark.parametrize(
    "preset", [{}, {"two_stages": True}, {"steps": 20, "cfg": 4.0}], ids=["fast", "balanced", "dev"]
)
def test_the_image_holds_and_a_sound_is_made(shoot: Shoot, preset: dict[str, Any]) -> None:
    shot = shoot(**preset)
    assert shot.pictures.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert far(shot.colour(0), RED) < 8
    assert far(shot.colour(FRAMES // 2), RED) < 30  # the sound makes it a little brighter
    assert far(shot.colour(-1), RED) < 30
    middle = shot.pictures[FRAMES // 2, HEIGHT // 2, WIDTH // 2]
    assert middle.min() > 150  # the disc is still there
    grain = shot.pictures[FRAMES // 2, :32, :32].astype(float).std(axis=(0, 1)).max()
    assert grain < 3
    assert np.sqrt((shot.sound**2).mean()) > 0.005
    assert shot.sound.shape[1] / 24000 == pytest.approx(FRAMES / FPS, abs=0.1)


def test_a_weaker_image_holds_too(shoot: Shoot) -> None:
    shot = shoot(strength=0.7)
    assert far(shot.colour(0), RED) < 40
    assert far(shot.colour(-1), RED) < 45


@pytest.mark.parametrize("two_stages", [False, True])
def test_keyframes_are_seen_at_their_times(shoot: Shoot, two_stages: bool) -> None:
    middle, last = FRAMES // 2, FRAMES - 1
    guides = [("red.png", 0, 1.0), ("green.png", middle, 0.8), ("blue.png", last, 1.0)]
    shot = shoot(guides=guides, two_stages=two_stages)
    assert len(shot.pictures) == FRAMES
    for frame, colour in ((0, RED), (middle, GREEN), (last, BLUE)):
        assert far(shot.colour(frame), colour) < 40


def test_each_lora_changes_the_picture(shoot: Shoot) -> None:
    without, detailed, moved = (
        shoot(loras=loras) for loras in ([], [(DETAILER, 1.0)], [(DOLLY, 1.0)])
    )
    colours = [shot.colour(-1) for shot in (without, detailed, moved)]
    assert far(colours[0], colours[1]) > 2
    assert far(colours[0], colours[2]) > 2
    assert far(colours[1], colours[2]) > 2


def test_a_louder_sound_makes_the_picture_brighter(shoot: Shoot) -> None:
    quiet, late = (shoot(sound=f"{name}.wav") for name in ("quiet", "late"))
    assert far(quiet.colour(8), late.colour(8)) < 3
    assert (late.colour(-1) - quiet.colour(-1)).mean() > 4


def test_another_seed_sounds_different(shoot: Shoot) -> None:
    one, other = shoot(seed=1).sound, shoot(seed=2).sound
    assert np.abs(one - other).max() > 0.01


def test_a_prompt_tints_the_picture(shoot: Shoot) -> None:
    plain, blue = shoot().colour(-1), shoot(text="A Blue sea").colour(-1)
    assert (blue - plain)[2] > 3
