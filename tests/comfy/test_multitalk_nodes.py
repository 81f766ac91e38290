"""MultiTalk's nodes inside ComfyUI: equal to its own node and graph, guided, of any length, going on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.rehearsal import ensure, plan
from runner.settings import Settings

SEEN = 0.01  # a difference of values in 0 to 1 that has a cause: the same job again differs by exactly 0
LOADERS = {
    "UNETLoader": {"unet_name": "Wan2_1-I2V-14B-480p_fp8_e4m3fn_scaled_KJ.safetensors"},
    "VAELoader": {"vae_name": "wan_2.1_vae.safetensors"},
    "CLIPLoader": {"clip_name": "umt5_xxl_fp8_e4m3fn_scaled.safetensors", "type": "wan"},
    "ModelPatchLoader": {"name": "wan2.1_infiniteTalk_multi_fp16.safetensors"},
    "AudioEncoderLoader": {"audio_encoder_name": "wav2vec2-chinese-base_fp16.safetensors"},
}

# In a process of its own, as a ComfyUI server would: ComfyUI, then the pack's nodes.
LOAD = '''
import json, sys
comfyui, models, out, loaders = sys.argv[1:]
sys.path.insert(0, comfyui)
sys.argv = [sys.argv[0], "--cpu", "--use-pytorch-cross-attention"]
import comfy.options
comfy.options.enable_args_parsing()
import gc, os, types
from pathlib import Path
import folder_paths, nodes, torch
import comfy.cli_args, comfy.model_management, comfy.samplers, comfy.sd, comfy.utils
from comfy_extras.nodes_audio_encoder import AudioEncoderEncode, AudioEncoderLoader
from comfy_extras.nodes_custom_sampler import CFGGuider, Noise_RandomNoise, SamplerCustomAdvanced
from comfy_extras.nodes_model_patch import ModelPatchLoader
from comfy_extras.nodes_wan import WanInfiniteTalkToVideo
import callsheet_rehearsal
from callsheet.nodes import guider as guiders, multitalk, speech as speeches, talk
from callsheet.ops import film, segments as disk, windows

torch.set_grad_enabled(False)
comfy.utils.set_progress_bar_enabled(False)
seen = {}
folder_paths.models_dir = models
for folder in os.listdir(models):
    folder_paths.folder_names_and_paths[folder] = ([models + "/" + folder], {".safetensors", ".pt"})
folder_paths.set_temp_directory(out + "/temp")
folder_paths.set_input_directory(out)
names = {kind: next(iter(inputs.values())) for kind, inputs in json.loads(loaders).items()}
model = nodes.UNETLoader().load_unet(names["UNETLoader"], "default")[0]
vae = nodes.VAELoader().load_vae(names["VAELoader"])[0]
clip = nodes.CLIPLoader().load_clip(names["CLIPLoader"], "wan")[0]
patch = ModelPatchLoader().load_model_patch(names["ModelPatchLoader"])[0]
encoder = AudioEncoderLoader.execute(names["AudioEncoderLoader"]).result[0]
positive = nodes.CLIPTextEncode().encode(clip, "two people talk")[0]
negative = nodes.CLIPTextEncode().encode(clip, "blurry")[0]

WIDTH, HEIGHT = 96, 64
torch.manual_seed(3)
image = torch.rand(1, HEIGHT, WIDTH, 3)
masks = torch.zeros(3, HEIGHT, WIDTH)
masks[0, 16:, :32] = masks[1, 16:, 64:] = 1
masks[2] = 1 - masks[0] - masks[1]
euler = comfy.samplers.sampler_object("euler")
sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)

def voice(number, samples=320 * 60 + 80):  # of so many samples, the encoder makes 30 frames
    time = torch.arange(samples) / 16000
    tone = torch.sin(2 * torch.pi * (150 + 50 * number) * time)
    loud = 0.5 + 0.5 * torch.sin(2 * torch.pi * (2 + number) * time)
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(number))
    return {"waveform": (0.3 * tone * loud + 0.02 * noise)[None, None], "sample_rate": 16000}

def seconds(sound):
    return sound["waveform"].shape[-1] / sound["sample_rate"]

def speakers(*voices, para=False):
    lengths = [seconds(voice) for voice in voices]
    return [{"voice": voice, "starts": 0.0 if para else sum(lengths[:index]),
             "seconds": max(lengths) if para else sum(lengths)} for index, voice in enumerate(voices)]

def encoded(*voices, para=False):
    return speeches.EncodeSpeech.execute(encoder, speakers(*voices, para=para)).result[0]

def guided(text, audio):
    return guiders.TalkGuider.execute(model, positive, negative, text, audio).result[0]

def plain(cfg=1.0):
    return CFGGuider.execute(model, positive, negative, cfg).result[0]

def decoded(path):
    import av
    with av.open(str(path)) as container:
        return torch.stack([torch.from_numpy(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)])

def scene_of(speech, guider=None, masks=masks[:2], seed=5, audio_scale=1.0):
    return talk.Scene(guider or plain(), euler, sigmas, seed, vae, patch, speech["speakers"], image,
                      masks if len(speech["speakers"]) > 1 else None, None, audio_scale)

def sampled(speech, frames=None, guider=None, window=81, motion=None, **more):
    """The frames themselves, before they are encoded."""
    scene, kept, before = scene_of(speech, guider, **more), [], motion
    for each in windows.plan(frames=frames or speech["frames"], window=window, overlap=9, motion=0 if motion is None else 9):
        kept.append(talk.sampled(scene, each, before, lambda *_: None))
        before = windows.tail(before, kept[-1], count=9)
    return torch.cat(kept)

def stock(voices, length, previous=None, seed=5, cfg=1.0):
    """ComfyUI's own graph for one window."""
    sounds = [AudioEncoderEncode.execute(encoder, voice).result[0] for voice in voices]
    mode = {"mode": "single_speaker"} if len(sounds) == 1 else {
        "mode": "two_speakers", "audio_encoder_output_2": sounds[1], "mask_1": masks[:1], "mask_2": masks[1:2]}
    hears, good, bad, latent, trim = WanInfiniteTalkToVideo.execute(
        mode, model, patch, positive, negative, vae, WIDTH, HEIGHT, length, sounds[0], 9,
        start_image=image, previous_frames=previous, audio_scale=1.0).result
    guider = CFGGuider.execute(hears, good, bad, cfg).result[0]
    samples = SamplerCustomAdvanced.execute(Noise_RandomNoise(seed), guider, euler, sigmas, latent).result[0]
    return nodes.VAEDecode().decode(vae, samples)[0][trim:]

def apart(one, other):
    return float((one - other).abs().max())

def failure(call):
    try:
        call()
    except BaseException as error:  # ComfyUI's interruption is one
        return type(error).__name__ + ": " + str(error)

one, two, three = voice(1), voice(2), voice(3)
alone, added, together = encoded(one), encoded(one, two), encoded(one, two, para=True)

# --- ComfyUI's own graph --------------------------------------------------------------------------

seen["one speaker"] = apart(stock([one], 33)[:31], sampled(alone))
seen["two speakers"] = apart(stock([one, two], 49), sampled(added, 49))
first = stock([one, two], 33)
both = torch.cat([first, stock([one, two], 33, previous=first, seed=6)])
seen["two windows"] = [len(both), apart(both, sampled(added, 57, window=33))]
given = torch.rand(9, HEIGHT, WIDTH, 3)
late = {**alone, "speakers": [torch.cat([each[:1].repeat(9, 1, 1), each]) for each in alone["speakers"]]}
seen["a clip goes on"] = apart(
    sampled(alone, 24, window=33, motion=given),
    talk.sampled(scene_of(late), windows.Window(0, 0, 33, 9, 24), given, lambda *_: None))
seen["a clip changes what follows"] = apart(sampled(alone, 24, motion=given), sampled(alone, 24, motion=1 - given))
seen["a batch of two"] = [failure(lambda: stock([one], 17, cfg=3.0)), failure(lambda: stock([one, two], 17, cfg=3.0))]

# --- speakers -------------------------------------------------------------------------------------

seen["first feature of silence"] = [bool(added["speakers"][1][:30].any()), bool(added["speakers"][0][30:].any()),
                                    bool(together["speakers"][1][:30].any())]
seen["second is silent in add"] = apart(sampled(added, 17), sampled(encoded(one, three), 17))

# --- guidance -------------------------------------------------------------------------------------

passes = []
calculate = comfy.samplers.calc_cond_batch
def counted(*args):
    passes.append(len(args[1]))
    return calculate(*args)

class ByHand(guiders.Guider):
    """cfg between (prompt, speech) and (negative, silence)."""
    def predict_noise(self, x, timestep, model_options=None, seed=None):
        silent = guiders.silent_options(model_options, model_options[guiders.SILENCE])
        cond = calculate(self.inner_model, [self.conds["positive"]], x, timestep, model_options)[0]
        uncond = calculate(self.inner_model, [self.conds["negative"]], x, timestep, silent)[0]
        return uncond + 3.0 * (cond - uncond)

by_hand = ByHand(model)
by_hand.set_conds(positive, negative)
base = sampled(added, 17)
comfy.samplers.calc_cond_batch = counted
seen["guidance"] = {}
for text, audio in ((1, 1), (1, 2), (2, 1), (3, 3), (3, 3.0002), (5, 4)):
    passes.clear()
    frames = sampled(added, 17, guided(text, audio))
    seen["guidance"][f"{text} {audio}"] = [len(passes) // 2, apart(frames, base)]
    if text == 3:
        seen["guidance"][f"{text} {audio}"].append(apart(frames, sampled(added, 17, by_hand)))
comfy.samplers.calc_cond_batch = calculate
lonely = guided(2, 2)
seen["without the sampler"] = failure(lambda: SamplerCustomAdvanced.execute(
    Noise_RandomNoise(1), lonely, euler, sigmas, {"samples": torch.zeros(1, 16, 3, 8, 12)}))

# --- the encoder ----------------------------------------------------------------------------------

sound = AudioEncoderEncode.execute(encoder, one).result[0]["encoded_audio_all_layers"]
from comfy_extras.nodes_wan import linear_interpolation
wanted = linear_interpolation(torch.stack(sound).squeeze(1)[1:], 50, 25).movedim(0, 1)
seen["features"] = [list(alone["speakers"][0].shape), apart(wanted, alone["speakers"][0][:30])]
pause = 0.001 * torch.randn(16000 * 8, generator=torch.Generator().manual_seed(9))
long = voice(1, 16000 * 14)["waveform"].clone()
long[0, 0, 16000 * 3:16000 * 11] = pause
whole = torch.stack(AudioEncoderEncode.execute(encoder, {"waveform": long, "sample_rate": 16000}).result[0]["encoded_audio_all_layers"])
wanted = linear_interpolation(whole.squeeze(1)[1:], 50, 25).movedim(0, 1)
chunked = encoded({"waveform": long, "sample_rate": 16000})["speakers"][0][:len(wanted)]
seen["in chunks"] = [apart(wanted, chunked), float((wanted - wanted[175]).abs().max())]
seen["another rate"] = failure(lambda: speeches.EncodeSpeech.execute(encoder, speakers({**one, "sample_rate": 44100})))
seen["not arranged"] = failure(lambda: speeches.EncodeSpeech.execute(encoder, [{"audio": one}]))

# --- any length, and going on ---------------------------------------------------------------------

root = Path(out, "segments")
os.environ["CALLSHEET_SEGMENTS"] = str(root)
shown = []
comfy.cli_args.args.preview_method = comfy.cli_args.LatentPreviewMethod.Auto
comfy.utils.set_progress_bar_global_hook(lambda value, total, preview, **_: shown.append((value, total, preview is not None)))

class Sampler(comfy.samplers.KSAMPLER):
    """Counts its runs, and dies in one of them."""
    runs, deadly = 0, None
    def sample(self, *args, **kwargs):
        self.runs += 1
        if self.runs == self.deadly:
            raise RuntimeError("killed")
        return super().sample(*args, **kwargs)

def rendered(speech, sampler=None, seed=5, prompt=None, soundtrack=None, window=33, **more):
    graph = {"7": {"class_type": "CallsheetMultiTalkSampler", "inputs": {"noise_seed": seed, **(prompt or {})}}}
    multitalk.MultiTalkSampler.hidden = types.SimpleNamespace(unique_id="7", prompt=graph)
    given = {"guider": plain(), "image": image, "masks": masks, "audio_scale": 1.0, **more}
    video = multitalk.MultiTalkSampler.execute(
        sampler=sampler or euler, sigmas=sigmas, noise_seed=seed, vae=vae, model_patch=patch, speech=speech,
        window=window, overlap=9, soundtrack=soundtrack, **given).result[0]
    return video.get_stream_source()

def sampler(deadly=None):
    made = Sampler(euler.sampler_function)
    made.deadly = deadly
    return made

def kept():
    return sorted(path.name for path in root.rglob("segment-*"))

whole = sampler()
path = rendered(added, whole)
wanted = decoded(path)
seen["whole"] = [len(wanted), whole.runs, kept(), shown == [(step, 6, True) for step in range(1, 7)]]
exact = sampled(added, window=33, masks=masks)
seen["the frames are in the file"] = float((wanted / 255 - exact).abs().mean())
shown.clear()
dying = sampler(3)
seen["killed"] = [failure(lambda: rendered(added, dying)), kept()]
shown.clear()
again = sampler()
seen["going on"] = [torch.equal(decoded(rendered(added, again)), wanted), again.runs, kept(), shown == [(5, 6, True), (6, 6, True)]]

def interrupt(value, total, preview, **_):
    if value == 3:
        comfy.model_management.interrupt_current_processing()
comfy.utils.set_progress_bar_global_hook(interrupt)
seen["interrupted"] = [failure(lambda: rendered(added, sampler()))[:28], kept()]
comfy.utils.set_progress_bar_global_hook(None)
again = sampler()
seen["other input"] = [torch.equal(decoded(rendered(added, again, seed=6)), wanted), again.runs, kept()]
Path(out, "a").mkdir(); Path(out, "b").mkdir()
Path(out, "a/face.png").write_text("a face"); Path(out, "b/face.png").write_text("a face"); Path(out, "b/other.png").write_text("other")
seen["files"] = []
for first, then in (("a/face.png", "b/face.png"), ("a/face.png", "b/other.png")):
    failure(lambda: rendered(added, sampler(3), prompt={"image": first}))
    again = sampler()
    rendered(added, again, prompt={"image": then})
    seen["files"].append(again.runs)
seen["models"] = multitalk.file_named(names["VAELoader"])[:3]
seen["no file"] = [multitalk.file_named(text) for text in ("", "a", "a person talks", "x" * 5000, "../a", "nul\\0")]
joining = sampler()
broken = {"waveform": torch.zeros(1, 1, 1000), "sample_rate": 0}
failure(lambda: rendered(added, joining, soundtrack=broken, prompt={"image": "c"}))
again = sampler()
rendered(added, again, prompt={"image": "c"})
seen["not joined"] = [joining.runs, again.runs]
rendered(alone, prompt={"image": "d"}, motion=torch.rand(12, HEIGHT, WIDTH, 3))
blocked = Path(out, "blocked")
blocked.write_text("")
os.environ["CALLSHEET_SEGMENTS"] = str(blocked)
seen["no folder"] = failure(lambda: rendered(added))
os.environ["CALLSHEET_SEGMENTS"] = str(root)

# --- what is refused ------------------------------------------------------------------------------

seen["refused"] = {
    "no masks": failure(lambda: rendered(added, masks=None)),
    "one mask": failure(lambda: rendered(added, masks=masks[:1])),
    "an empty mask": failure(lambda: rendered(added, masks=masks * torch.tensor([1, 0, 1])[:, None, None])),
    "three": failure(lambda: rendered({**added, "speakers": added["speakers"] + added["speakers"][:1]})),
    "size": failure(lambda: rendered(alone, image=torch.rand(1, 60, 96, 3))),
    "motion": failure(lambda: rendered(alone, motion=torch.rand(9, 64, 64, 3))),
    "guider": failure(lambda: rendered(alone, guider=object())),
    "window": multitalk.MultiTalkSampler.validate_inputs(80, 9),
}
wrong = types.SimpleNamespace(model=object())
given, patch = patch, wrong
seen["refused"]["patch"] = failure(lambda: rendered(alone))
patch = given

# --- the order of loading --------------------------------------------------------------------------

linked = {"vae": None, "model_patch": None, "speech": None, "guider": None, "sigmas": None,
          "clip_vision_output": None, "soundtrack": None, "window": 81, "masks": masks}
ask = lambda **more: multitalk.MultiTalkSampler.check_lazy_status(**{**linked, **more})
seen["asked for"] = []
while (name := ask(image=image)[:1]) and len(seen["asked for"]) < 9:
    seen["asked for"] += name
    linked[name[0]] = object()
seen["before all"] = failure(lambda: ask(image=image[:, :60], speech=None))

# --- memory ---------------------------------------------------------------------------------------

class Weigher(comfy.samplers.KSAMPLER):
    """How much all tensors take, in bytes, at the start of each window."""
    weights = []
    def sample(self, *args, **kwargs):
        gc.collect()
        tensors = [each for each in gc.get_objects() if isinstance(each, torch.Tensor)]
        self.weights.append(sum({t.data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values()))
        return super().sample(*args, **kwargs)

features = torch.zeros(1, 12, 768).expand(13 + 4 * 11, -1, -1)
rendered({"speakers": [features], "frames": len(features)}, Weigher(euler.sampler_function), window=13)
seen["weights"] = Weigher.weights
seen["a frame"] = HEIGHT * WIDTH * 3 * 4
print(json.dumps(seen))
'''


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def seen(out: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Any:
    models = tmp_path_factory.mktemp("models")
    prompt = {name: {"class_type": name, "inputs": given} for name, given in LOADERS.items()}
    ensure(plan(prompt), models_dir=models, comfyui_dir=settings.comfyui_dir)
    packs = Path(__file__).parents[2] / "custom_nodes"
    done = subprocess.run(
        [sys.executable, "-B", "-c", LOAD,
         str(settings.comfyui_dir), str(models), str(out), json.dumps(LOADERS)],
        env={**os.environ, "PYTHONPATH": str(packs), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_window_is_what_comfyuis_own_graph_makes(seen: Any) -> None:
    assert seen["one speaker"] < 1e-5
    assert seen["two speakers"] < 1e-5


def test_two_windows_are_its_graph_with_the_overlap_cut_by_hand(seen: Any) -> None:
    frames, difference = seen["two windows"]
    assert frames == 57
    assert difference < 1e-5


def test_a_clip_goes_on(seen: Any) -> None:
    assert seen["a clip goes on"] == 0
    assert seen["a clip changes what follows"] > SEEN


def test_comfyuis_audio_attention_takes_no_batch_of_two(seen: Any) -> None:
    """Why the guider makes one pass after the other; when this fails, it need not."""
    assert all(error.startswith("RuntimeError") for error in seen["a batch of two"])


def test_each_voice_is_where_it_was_arranged(seen: Any) -> None:
    assert seen["first feature of silence"] == [False, False, True]
    assert seen["second is silent in add"] == 0


def test_guidance(seen: Any) -> None:
    counts = {scales: row[0] for scales, row in seen["guidance"].items()}
    assert counts == {"1 1": 1, "1 2": 2, "2 1": 2, "3 3": 2, "3 3.0002": 3, "5 4": 3}
    changes = {scales: row[1] for scales, row in seen["guidance"].items()}
    assert changes.pop("1 1") == 0
    assert min(changes.values()) > SEEN
    assert seen["guidance"]["3 3"][2] < 1e-5  # plain guidance between all and nothing
    assert seen["guidance"]["3 3.0002"][2] < 1e-2  # the same by three passes


def test_the_guider_says_where_it_belongs(seen: Any) -> None:
    assert "goes into MultiTalk sampler (CallsheetMultiTalkSampler)" in seen["without the sampler"]


def test_features_are_comfyuis_own(seen: Any) -> None:
    assert seen["features"] == [[31, 12, 768], 0]
    difference, loudest = seen["in chunks"]  # a pause is as quiet as in the whole
    assert difference < 0.01 * loudest
    assert "a voice at 44100 Hz; Arrange speakers makes 16000" in seen["another rate"]
    assert "they are not arranged" in seen["not arranged"]


def test_all_windows_in_one_file_and_nothing_left(seen: Any) -> None:
    assert seen["whole"] == [61, 3, [], True]
    assert seen["the frames are in the file"] < 0.1  # noise, in half the colour resolution


def test_a_killed_job_goes_on_and_ends_the_same(seen: Any) -> None:
    done = ["segment-000.mp4", "segment-001.mp4"]
    assert seen["killed"] == ["RuntimeError: killed", done]
    assert seen["going on"] == [True, 1, [], True]


def test_it_stops_between_steps(seen: Any) -> None:
    assert seen["interrupted"] == ["InterruptProcessingException", ["segment-000.mp4"]]


def test_another_input_starts_anew(seen: Any) -> None:
    assert seen["other input"] == [False, 3, ["segment-000.mp4"]]
    assert seen["files"] == [1, 3]  # the same picture by another name; another picture
    assert seen["models"] == ["model", "vae", LOADERS["VAELoader"]["vae_name"]]
    assert seen["no file"] == [None] * 6


def test_frames_outlive_a_sound_that_cannot_be_joined(seen: Any) -> None:
    assert seen["not joined"] == [3, 0]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no masks", "masks: two speakers need two, and a third for the background if wanted; none is given"),
        ("one mask", "1 are given"),
        ("an empty mask", "masks: number 2 is empty at 6x4"),
        ("three", "speech: 3 speakers; the model tells at most 2 apart"),
        ("size", "image: 96x60 are not multiples of 16"),
        ("motion", "motion: 64x64 is not the image's size, 96x64"),
        ("guider", "use MultiTalk guider"),
        ("window", "window: 80 is not 1 plus a multiple of 4; nearest 77 or 81"),
        ("patch", "model_patch: not a MultiTalk one"),
    ],
)  # fmt: skip
def test_refused_with_the_reason(seen: Any, case: str, message: str) -> None:
    assert message in seen["refused"][case]
    if case == "guider":
        assert "CALLSHEET_SEGMENTS names another folder" in seen["no folder"]


def test_models_load_one_by_one_behind_all_checks(seen: Any) -> None:
    assert seen["asked for"] == [
        "speech", "model_patch", "guider", "sigmas", "vae", "clip_vision_output",
    ]  # fmt: skip
    assert "96x60 are not multiples of 16" in seen["before all"]


def test_memory_does_not_grow_with_windows(seen: Any) -> None:
    weights = seen["weights"]
    assert len(weights) == 12
    assert weights[-1] - weights[2] < seen["a frame"]  # bytes; each window makes four frames
