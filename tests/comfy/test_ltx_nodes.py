"""LTX-2's nodes inside ComfyUI: equal to chains of its own nodes, refused where it says so."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from runner.comfy.engine import Engine
from runner.entrypoints import setup
from runner.errors import EngineError, ExecutionFailed, PromptRejected
from runner.rehearsal import StandIn, ensure
from runner.settings import Settings

UNET = StandIn("wan", "unet", "diffusion_models", "wan2.2_t2v_high_noise.safetensors")
TEXT = StandIn("wan", "text_encoder", "text_encoders", "umt5_xxl.safetensors")
LORAS = tuple(StandIn("wan", "lora", "loras", f"{name}.safetensors") for name in ("one", "two"))

# In a process of its own, as a ComfyUI server would: ComfyUI, then the pack's nodes.
LOAD = '''
import json, sys
comfyui, models, out = sys.argv[1:]
sys.path.insert(0, comfyui)
sys.argv = [sys.argv[0], "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import asyncio, types
import folder_paths, nodes, comfy.lora, comfy.sd, comfy.utils, torch
from safetensors.torch import save_file
from comfy_extras.nodes_lt import LTXVAddGuide, LTXVCropGuides, LTXVScheduler
import callsheet_rehearsal as rehearsal
import callsheet
from callsheet.nodes import audio, image, lora, ltx
from callsheet.ops import keyframes as positions, ltx as numbers

torch.set_grad_enabled(False)
torch.manual_seed(1)
seen = {}

# --- guides: ComfyUI's own node, one after the other, against ours -------------------------------

class Vae:
    """Remembers the order of pictures and what each latent frame was made of."""
    downscale_index_formula = (8, 32, 32)

    def encode(self, pixels):
        count = (pixels.shape[0] - 1) // 8 + 1
        small = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1), 32)
        parts = [small[:1]] + [small[8 * i - 7 : 8 * i + 1].mean(0, keepdim=True) for i in range(1, count)]
        latent = torch.cat(parts).movedim(0, 1)
        return latent.repeat(43, 1, 1, 1)[None, :128]

def start(frames=65):
    cond = [[torch.rand(1, 4, 8), {"frame_rate": 30.0}]]
    return cond, [[torch.rand(1, 4, 8), {}]], Vae(), {"samples": torch.rand(1, 128, (frames - 1) // 8 + 1, 3, 4)}

def chain(given, guides):
    positive, negative, vae, latent = given
    for guide in guides:
        positive, negative, latent = LTXVAddGuide.execute(positive, negative, vae, latent, *guide).result
    return positive, negative, latent

def multi(given, guides):
    options = {"num_guides": str(len(guides))}
    for number, (picture, frame, strength) in enumerate(guides, 1):
        options |= {f"image_{number}": picture, f"frame_idx_{number}": frame, f"strength_{number}": strength}
    return ltx.AddGuideMulti.execute(*given, options).result

def same(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other

def picture(frames=1):
    return torch.rand(frames, 96, 128, 3)

cases = {
    "one": [(picture(), 0, 1.0)],
    "negative": [(picture(), 0, 1.0), (picture(), -1, 0.8), (picture(), -9, 0.5)],
    "twelve": [(picture(), 5 * i, i / 12) for i in range(12)],
    "twenty": [(picture(), 3 * i, 0.9) for i in range(20)],
    "clip in the middle": [(picture(), 0, 1.0), (picture(17), 24, 0.7), (picture(), -1, 1.0)],
    "another size": [(torch.rand(1, 50, 70, 3), 8, 2.0)],
}
seen["guides"] = {}
for name, guides in cases.items():
    given = start()
    seen["guides"][name] = same(chain(given, guides), multi(given, guides))
given = start()
seen["order matters"] = not same(multi(given, cases["twelve"]), multi(given, sorted(cases["twelve"], key=lambda g: str(g[1]))))

rows = [{"image": picture(), "position": place, "strength": strength}
        for place, strength in (("first", 1.0), (0.5, 0.8), (None, 0.7), ("last", 0.9))]
for name, frames in (("all", 0), ("kept", 60)):
    places = positions.frame_indexes([row["position"] for row in rows], frames or 65)
    wanted = chain(given, [(row["image"], place, row["strength"]) for row, place in zip(rows, places)])
    option = ltx.AddGuideMulti.execute(*given, {"num_guides": "keyframes", "keyframes": rows, "frames": frames}).result
    own = ltx.KeyframeGuides.execute(*given, rows, frames).result
    seen[f"keyframes {name}"] = [places, same(wanted, option), same(wanted, own)]
again = ltx.KeyframeGuides.execute(*wanted[:2], Vae(), wanted[2], rows).result
seen["guides do not count as frames"] = again[2]["samples"].shape[2] - wanted[2]["samples"].shape[2]
cropped = LTXVCropGuides.execute(*again).result[2]["samples"]
seen["cropped"] = same(cropped, given[3]["samples"])
def fit(rows, frames=0, **more):
    options = {"img_compression": 0, "width": 128, "height": 96, "method": "pad", "multiple": 1, "background": "black"}
    return asyncio.run(ltx.FitKeyframes.execute(rows, frames=frames, **{**options, **more})).result[0]

for name, call in {
    "too many": lambda: ltx.KeyframeGuides.execute(*start(9), rows),
    "kept more than made": lambda: ltx.KeyframeGuides.execute(*start(9), rows[:1], 10),
    "too many to fit": lambda: fit(rows, frames=9),
    "on one frame": lambda: fit([rows[0], {**rows[1], "position": 0.01}], frames=60),
}.items():
    try:
        call()
    except ValueError as error:
        seen[name] = str(error)
fitted = fit(rows, frames=60, img_compression=23, width=64, height=32)
seen["fitted"] = [[list(row["image"].shape), row["position"], row["strength"]] for row in fitted]
plain = fit(rows)
seen["fitted as it is"] = same(rows, plain) and "image" in rows[0]

# --- the pack steps aside -------------------------------------------------------------------------

def ids():
    extension = asyncio.run(callsheet.comfy_entrypoint())
    return [node.GET_SCHEMA().node_id for node in asyncio.run(extension.get_node_list())]

seen["ours"] = "LTXVAddGuideMulti" in ids()
nodes.NODE_CLASS_MAPPINGS["LTXVAddGuideMulti"] = object
seen["theirs"] = "LTXVAddGuideMulti" in ids()

# --- noise levels ---------------------------------------------------------------------------------

worst = 0
for steps in (2, 4, 12, 20, 40):
    for frames, width, height in ((9, 256, 192), (121, 640, 352), (305, 640, 352)):
        latent = {"samples": torch.zeros(1, 128, (frames - 1) // 8 + 1, height // 32, width // 32)}
        stock = LTXVScheduler.execute(steps, 2.05, 0.95, True, 0.1, latent).result[0]
        row = numbers.Preset("a", 0, False, 4.0, steps=steps)
        text = numbers.sigmas_for(row, steps=steps, tokens=numbers.tokens_in(frames=frames, width=width, height=height))
        from comfy_extras.nodes_custom_sampler import ManualSigmas
        ours = ManualSigmas.execute(text).result[0]
        worst = max(worst, float((ours - stock).abs().max()), abs(len(ours) - len(stock)))
seen["sigmas differ"] = worst

# --- LoRAs ----------------------------------------------------------------------------------------

for folder in ("loras", "diffusion_models", "text_encoders"):
    folder_paths.folder_names_and_paths[folder] = ([models + "/" + folder], {".safetensors"})
model = comfy.sd.load_diffusion_model(models + "/diffusion_models/wan2.2_t2v_high_noise.safetensors")
clip = comfy.sd.load_clip([models + "/text_encoders/umt5_xxl.safetensors"], clip_type=comfy.sd.CLIPType.WAN)
key = next(k for k, v in clip.cond_stage_model.state_dict().items() if k.endswith("weight") and v.ndim == 2)
shape = clip.cond_stage_model.state_dict()[key].shape
name = "text_encoders." + key.removesuffix(".weight")
tensors = comfy.utils.load_torch_file(models + "/loras/one.safetensors")
tensors |= {name + ".lora_A.weight": torch.rand(4, shape[1]), name + ".lora_B.weight": torch.rand(shape[0], 4)}
save_file(tensors, models + "/loras/both.safetensors")

def weights(patcher):
    current = patcher.model.state_dict()
    return {key: comfy.lora.calculate_weight(patches, current[key].float().clone(), key)
            for key, patches in patcher.patches.items()}

read = []
load = comfy.utils.load_torch_file
comfy.utils.load_torch_file = lambda path, *a, **k: (read.append(path.split("/")[-1]), load(path, *a, **k))[1]

def stack(rows, node="7", clip=None, prompt=("7", "8")):
    lora.LoraStack.hidden = types.SimpleNamespace(unique_id=node, prompt=dict.fromkeys(prompt))
    read.clear()
    return lora.LoraStack.execute(model, json.dumps(rows), clip).result

def single(name, strength, also="", node="8"):
    lora.Lora.hidden = types.SimpleNamespace(unique_id=node, prompt={"7": 0, "8": 0})
    read.clear()
    return lora.Lora.execute(model, name, strength, also).result[0]

rows = [{"lora": "one.safetensors", "strength": 0.6}, {"lora": "gone.safetensors", "strength": 0},
        {"lora": "gone.safetensors", "on": False}, {"lora": "both.safetensors"},
        {"lora": "two.safetensors", "strength": -0.3}]
on = [("one.safetensors", 0.6), ("both.safetensors", 1.0), ("two.safetensors", -0.3)]
only, neither = stack(rows)
wanted = model
for file, strength in on:
    wanted = nodes.LoraLoaderModelOnly().load_lora_model_only(wanted, file, strength)[0]
seen["model only"] = [len(weights(only)) > 0, same(weights(only), weights(wanted)), neither is None]
seen["changes"] = not same(weights(only), {k: model.model.state_dict()[k].float() for k in weights(only)})
got = stack(rows, clip=clip)
wanted = (model, clip)
for file, strength in on:
    wanted = nodes.LoraLoader().load_lora(*wanted, file, strength, strength)
seen["with clip"] = [len(weights(got[1].patcher)) > 0, same(weights(got[0]), weights(wanted[0])),
                     same(weights(got[1].patcher), weights(wanted[1].patcher))]
seen["nothing on"] = stack(rows[1:3], clip=clip) == (model, clip) and read == []

stack(rows)
first = list(read)
stack([{**row, "strength": row.get("strength", 1) * 2} for row in rows])
second = list(read)
stack(rows[:1])
kept = list(lora.held["7"])
stack(rows[:1], node="8", prompt=["8"])
seen["read"] = {"first": first, "again": second, "kept": kept, "nodes": list(lora.held)}

stock = nodes.LoraLoaderModelOnly().load_lora_model_only(model, "two.safetensors", 0.3)[0]
seen["single"] = same(weights(single("two.safetensors", 0.3)), weights(stock))
seen["alias"] = same(weights(single("new.safetensors", 0.3, "newer.safetensors\\ntwo.safetensors")), weights(stock))
seen["named alias"] = same(weights(single("in", 0.3, "out = one.safetensors\\nin = two.safetensors")), weights(stock))
seen["zero"] = single("gone.safetensors", 0.0) is model and read == []

# --- sound and frames in one file -----------------------------------------------------------------

from comfy_api.latest import InputImpl, Types
from fractions import Fraction
rate = 44100
time = torch.arange(int(2.02 * rate)) / rate
tone = 0.4 * torch.sin(2 * torch.pi * (200 * time + 300 * time ** 2))
encode, source, duration = asyncio.run(audio.FitAudio.execute({"waveform": tone[None, None], "sample_rate": rate}, 0.0, 0.0, 30.0, 0)).result
seen["sound"] = [list(encode["waveform"].shape), encode["sample_rate"], same(source["waveform"][0, 0], tone), duration]
preset = numbers.parse_presets(numbers.DEFAULT_PRESETS)["fast"]
plan = numbers.plan(preset=preset, width=64, height=64, duration=duration, fps=30)
images = torch.rand(plan.generate, 64, 64, 3)[: plan.keep]
video = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, audio=source, frame_rate=Fraction(30.0)))
video.save_to(out + "/video.mp4")
torch.save(tone, out + "/tone.pt")
for name, channels, hertz in (("four", 4, 44100), ("high", 2, 192000)):
    wave = torch.rand(1, channels, hertz)
    track = asyncio.run(audio.FitAudio.execute({"waveform": wave, "sample_rate": hertz}, 0.0, 0.0, 30.0, 0)).result[1]
    video = InputImpl.VideoFromComponents(Types.VideoComponents(images=images[:30], audio=track, frame_rate=Fraction(30.0)))
    video.save_to(out + f"/{name}.mp4")
print(json.dumps(seen))
'''


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def seen(out: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Any:
    models = tmp_path_factory.mktemp("models")
    ensure((UNET, TEXT, *LORAS), models_dir=models, comfyui_dir=settings.comfyui_dir)
    packs = Path(__file__).parents[2] / "custom_nodes"
    done = subprocess.run(
        [sys.executable, "-B", "-c", LOAD, str(settings.comfyui_dir), str(models), str(out)],
        env={**os.environ, "PYTHONPATH": str(packs), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_many_guides_are_the_chain_of_single_ones(seen: Any) -> None:
    assert set(seen["guides"].values()) == {True}, seen["guides"]
    assert seen["order matters"]


def test_keyframes_are_guides_at_their_places(seen: Any) -> None:
    assert seen["keyframes all"] == [[0, 32, 48, 64], True, True]
    assert seen["keyframes kept"] == [[0, 32, 48, 59], True, True]
    assert seen["guides do not count as frames"] == 4
    assert seen["cropped"]


def test_keyframes_that_do_not_fit_are_refused(seen: Any) -> None:
    reason = "keyframes: 4 keyframes do not fit: 9 frames have room for 2, on every 8th frame"
    assert seen["too many"].startswith(reason)
    assert seen["too many to fit"] == seen["too many"]
    assert seen["on one frame"].startswith("keyframes: row 1 (first) and row 2 (0.01) fall on")
    assert seen["kept more than made"] == "frames: 10 are kept, but the latent holds only 9"


def test_keyframes_are_fitted_and_compressed(seen: Any) -> None:
    assert seen["fitted"] == [
        [[1, 32, 64, 3], "first", 1.0],
        [[1, 32, 64, 3], 0.5, 0.8],
        [[1, 32, 64, 3], None, 0.7],
        [[1, 32, 64, 3], "last", 0.9],
    ]
    assert seen["fitted as it is"]


def test_another_packs_guide_node_stays(seen: Any) -> None:
    assert (seen["ours"], seen["theirs"]) == (True, False)


def test_the_plans_levels_are_the_schedulers(seen: Any) -> None:
    assert seen["sigmas differ"] < 2e-4  # its single floats


def test_a_stack_is_the_chain_of_comfyuis_loaders(seen: Any) -> None:
    assert seen["model only"] == [True, True, True]
    assert seen["with clip"] == [True, True, True]
    assert seen["changes"]
    assert seen["nothing on"]


def test_a_file_is_read_once_and_let_go_when_no_row_names_it(seen: Any) -> None:
    three = ["one.safetensors", "both.safetensors", "two.safetensors"]
    assert seen["read"] == {"first": three, "again": [], "kept": three[:1], "nodes": ["8"]}


def test_one_lora_by_strength(seen: Any) -> None:
    assert seen["single"]
    assert seen["zero"]


def test_a_lora_under_another_name(seen: Any) -> None:
    assert seen["alias"]
    assert seen["named alias"]


def test_sound_and_frames_end_together_and_the_sound_is_the_source(seen: Any, out: Path) -> None:
    shape, rate, untouched, duration = seen["sound"]
    assert (shape, rate, untouched) == ([1, 1, 24 * 4096], 44100, True)
    torch = pytest.importorskip("torch")
    tone = torch.load(out / "tone.pt").numpy()
    with av.open(str(out / "video.mp4")) as container:
        pictures = sum(1 for _ in container.decode(video=0))
    with av.open(str(out / "video.mp4")) as container:
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert pictures == round(duration * 30) == 61
    assert (
        abs(len(heard) / 44100 - pictures / 30) < 1 / 30 + 1024 / 44100
    )  # an AAC block at the end
    assert (
        float(np.abs(heard[4096:80000] - tone[4096:80000]).max()) < 0.05
    )  # not shifted by a sample


@pytest.mark.parametrize(("name", "rate", "channels"), [("four", 44100, 1), ("high", 48000, 2)])
def test_sound_that_mp4_cannot_hold_is_made_so_that_it_can(
    seen: Any, out: Path, name: str, rate: int, channels: int
) -> None:
    with av.open(str(out / f"{name}.mp4")) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.channels) == (rate, channels)


# --- on the server --------------------------------------------------------------------------------


PLAN = {"preset": "fast", "width": 256, "height": 192, "duration": 1.0, "fps": 30.0, "steps": 0}
PRESETS = '{"fast": {"two_stage": false, "cfg": 1.0, "sigmas": "1.0, 0.5, 0.0"}}'


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def number(value: float) -> dict[str, Any]:
    contract = {"name": "n", "description": "", "required": True, "min": -99.0, "max": 99.0}
    return node("CallsheetNumber", value=value, step=0.0, **contract)


def executed(engine: Engine, prompt: dict[str, Any]) -> list[str]:
    """The classes of the nodes that ran, in order."""
    prompt_id = str(uuid.uuid4())
    ran = [
        str(message.data["node"])
        for message in engine.comfy.run(prompt, prompt_id=prompt_id, workflow={})
        if message.type == "executing" and message.data.get("node")
    ]
    engine.comfy.outcome(prompt_id)
    return [prompt[node_id]["class_type"] for node_id in ran]


def lora_prompt(name: str, strength: Any, also: str = "") -> dict[str, Any]:
    inputs = {"lora_name": name, "strength": strength, "also": also}
    return {
        "1": node("UNETLoader", unet_name=UNET.name, weight_dtype="default"),
        "2": number(0.0 if strength == ["2", 0] else 1.0),
        "3": node("CallsheetLora", model=["1", 0], **inputs),
        "4": node("PreviewAny", source=["3", 0]),
    }


def stack_prompt(rows: str) -> dict[str, Any]:
    return {
        "1": node("UNETLoader", unet_name=UNET.name, weight_dtype="default"),
        "3": node("CallsheetLoraStack", model=["1", 0], rows=rows),
        "4": node("PreviewAny", source=["3", 0]),
    }


def plan_prompt(**change: Any) -> dict[str, Any]:
    return {
        "1": node("CallsheetLtxPlan", **{**PLAN, "presets": PRESETS, **change}),
        "2": node("PreviewAny", source=["1", 4]),
    }


@pytest.fixture(scope="module")
def loaded(engine: Engine, settings: Settings) -> Engine:
    """The engine with a model and a LoRA to apply to it."""
    ensure(
        (UNET, *LORAS),
        models_dir=setup.rehearsal_models(settings),
        comfyui_dir=settings.comfyui_dir,
    )
    return engine


def test_an_absent_lora_at_strength_0_runs(loaded: Engine) -> None:
    assert "CallsheetLora" in executed(loaded, lora_prompt("gone.safetensors", 0.0))
    assert "CallsheetLora" in executed(loaded, lora_prompt("gone.safetensors", ["2", 0]))


def test_an_absent_lora_is_refused_at_submission(loaded: Engine) -> None:
    prompt = lora_prompt("gone.safetensors", 0.5, "older.safetensors")
    with pytest.raises(PromptRejected, match=r"none of gone\.safetensors, older\.safetensors is"):
        executed(loaded, prompt)


def test_an_absent_lora_of_a_linked_strength_fails_before_the_model_loads(loaded: Engine) -> None:
    prompt = lora_prompt("gone.safetensors", ["2", 0])
    prompt["2"] = number(0.25)
    prompt["1"]["inputs"]["weight_dtype"] = "fp8_e4m3fn"  # not cached by another test
    prompt_id = str(uuid.uuid4())
    ran = [
        str(message.data["node"])
        for message in loaded.comfy.run(prompt, prompt_id=prompt_id, workflow={})
        if message.type == "executing" and message.data.get("node")
    ]
    with pytest.raises(ExecutionFailed, match=r"gone\.safetensors is not in models/loras"):
        loaded.comfy.outcome(prompt_id)
    assert "1" not in ran


def test_keyframes_that_do_not_fit_fail_before_a_model_loads(loaded: Engine) -> None:
    Image.new("RGB", (64, 48)).save(loaded.input / "key.png")
    contract = {"name": "k", "description": "", "required": True, "min_rows": 1, "max_rows": 9}
    size = {"width": 64, "height": 64, "method": "crop", "multiple": 1, "background": "black"}
    prompt = {
        # Not cached by another test.
        "1": node("UNETLoader", unet_name=UNET.name, weight_dtype="fp8_e5m2"),
        "2": node("PreviewAny", source=["1", 0]),
        "3": node("CallsheetKeyframes", value=json.dumps([{"image": "key.png"}] * 4), **contract),
        "4": node("CallsheetFitKeyframes", keyframes=["3", 0], img_compression=0, frames=9, **size),
        "5": node("PreviewAny", source=["4", 0]),
    }
    prompt_id = str(uuid.uuid4())
    ran = [
        str(message.data["node"])
        for message in loaded.comfy.run(prompt, prompt_id=prompt_id, workflow={})
        if message.type == "executing" and message.data.get("node")
    ]
    with pytest.raises(ExecutionFailed, match="4 keyframes do not fit: 9 frames have room for 2"):
        loaded.comfy.outcome(prompt_id)
    assert ran == ["3", "4"]


def test_a_lora_under_its_old_name_is_accepted(loaded: Engine) -> None:
    assert executed(loaded, lora_prompt("gone.safetensors", 0.5, LORAS[0].name))


def test_a_stack_names_every_absent_file(loaded: Engine) -> None:
    rows = [{"lora": name} for name in ("gone.safetensors", LORAS[0].name, "../lost.safetensors")]
    with pytest.raises(PromptRejected) as caught:
        executed(loaded, stack_prompt(json.dumps(rows)))
    message = "gone.safetensors is not in models/loras; ../lost.safetensors is not in models/loras"
    assert message in str(caught.value)
    rows[0]["on"] = rows[2]["on"] = False  # type: ignore[assignment]
    assert executed(loaded, stack_prompt(json.dumps(rows)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "best"}, "preset: 'best' is not one of fast"),
        ({"width": 1000}, "width: 1000 is not a multiple of 32; nearest 992 or 1024"),
        ({"duration": 40.0}, "duration: 40 s at 30 fps are 1200 frames; at most 993, 33.1 s"),
        ({"presets": "{"}, "presets: not JSON"),
    ],
)
def test_a_plan_that_cannot_be_made_is_refused_at_submission(
    engine: Engine, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(PromptRejected) as caught:
        executed(engine, plan_prompt(**change))
    assert message in str(caught.value)


def test_a_plan_whose_values_arrive_by_link_is_checked_when_it_runs(engine: Engine) -> None:
    prompt = plan_prompt(duration=["3", 0])
    prompt["3"] = number(40.0)
    with pytest.raises(EngineError, match="at most 993"):
        executed(engine, prompt)
    prompt["3"] = number(2.0)
    assert "CallsheetLtxPlan" in executed(engine, prompt)


def test_the_guide_nodes_shape_is_the_one_graphs_have(engine: Engine) -> None:
    (kind, spec) = engine.comfy.object_info()["LTXVAddGuideMulti"]["input"]["required"][
        "num_guides"
    ]
    assert kind == "COMFY_DYNAMICCOMBO_V3"
    assert [o["key"] for o in spec["options"]] == [*map(str, range(1, 21)), "keyframes"]
    assert list(spec["options"][2]["inputs"]["required"]) == [
        f"{name}_{number}" for number in (1, 2, 3) for name in ("image", "frame_idx", "strength")
    ]
