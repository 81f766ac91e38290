"""Stand-in files as built: ComfyUI's own code loads them, no server needed."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from runner.errors import EngineError, WorkflowError
from runner.rehearsal import StandIn, ensure
from runner.rehearsal.store import KEY, read_header
from runner.settings import Settings

HIGH = StandIn("wan", "unet", "diffusion_models", "wan2.2_t2v_high_noise.safetensors")
LOW = StandIn("wan", "unet", "diffusion_models", "sub/wan2.2_t2v_low_noise.safetensors")
LORA = StandIn("wan", "lora", "loras", "fast.safetensors")
TEXT = StandIn("wan", "text_encoder", "text_encoders", "umt5_xxl.safetensors")
VAE = StandIn("wan", "vae", "vae", "wan_2.1_vae.safetensors")
ALL = (HIGH, LOW, LORA, TEXT, VAE)
LTX = (
    StandIn("ltx2", "checkpoint", "checkpoints", "ltx-2-19b-dev.safetensors"),
    StandIn("ltx2", "text_encoder", "text_encoders", "gemma_3_12B_it.safetensors"),
    StandIn("ltx2", "lora", "loras", "ltx-2-19b-ic-lora-detailer.safetensors"),
    StandIn(
        "ltx2", "upsampler", "latent_upscale_models", "ltx-2-spatial-upscaler-x2-1.0.safetensors"
    ),
)

# In a process of its own, as a ComfyUI server would: the pack, then ComfyUI's loaders.
LOAD = """
import json, sys
comfyui, models, plain = sys.argv[1:]
sys.path.insert(0, comfyui)
sys.argv = [sys.argv[0], "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import comfy.sd, comfy.utils, torch
import callsheet_rehearsal as pack

torch.set_grad_enabled(False)
seen = {"threads": torch.get_num_threads()}
calls = []
load = pack.accept_stand_ins(
    lambda ckpt_paths, embedding_directory=None, model_options={}: calls.append(model_options)
)
given = {"theirs": 1}
load([plain], model_options=given)
load([models + "/text_encoders/umt5_xxl.safetensors"], None, given)
seen["plain"] = calls[0] is given
seen["stand_in"] = sorted(calls[1])

clip = comfy.sd.load_clip(
    [models + "/text_encoders/umt5_xxl.safetensors"], clip_type=comfy.sd.CLIPType.WAN
)
encode = lambda text: clip.encode_from_tokens(clip.tokenize(text))
seen["text_shape"] = list(encode("a red kite").shape)
seen["text_differs"] = float((encode("a red kite") - encode("a blue kite")).abs().max())
seen["case_differs"] = float((encode("Red") - encode("red")).abs().max())

for name in ("wan2.2_t2v_high_noise", "sub/wan2.2_t2v_low_noise"):
    model = comfy.sd.load_diffusion_model(models + f"/diffusion_models/{name}.safetensors")
    seen[name] = type(model.model).__name__
lora = comfy.utils.load_torch_file(models + "/loras/fast.safetensors")
seen["lora_keys"] = len(comfy.sd.load_lora_for_models(model, None, lora, 1, 0)[0].patches)

tensors, metadata = comfy.utils.load_torch_file(
    models + "/vae/wan_2.1_vae.safetensors", return_metadata=True
)
latent = torch.randn(1, 16, 3, 6, 8, generator=torch.Generator().manual_seed(1))
videos = [comfy.sd.VAE(sd=dict(tensors), metadata=m).decode(latent) for m in (metadata, {})]
seen["video_shape"] = list(videos[0].shape)
seen["hastened_differs"] = float((videos[0] - videos[1]).abs().max())
still = comfy.sd.VAE(sd=dict(tensors), metadata=metadata).decode(latent[:, :, :1])
top_to_bottom = torch.tensor([0.9, 0.2, 0.1]).expand(9, 64, 48, 3).clone()
top_to_bottom[:, 32:] = torch.tensor([0.1, 0.3, 0.8])
codec = comfy.sd.VAE(sd=dict(tensors), metadata=metadata)
again = codec.decode(codec.encode(top_to_bottom))[0]
difference = (again - top_to_bottom).abs()
seen["codec_differs"] = float(torch.cat((difference[:, :16], difference[:, 48:]), dim=1).max())

ltx = models + "/checkpoints/ltx-2-19b-dev.safetensors"
model, _, codec, _ = comfy.sd.load_checkpoint_guess_config(ltx, output_clip=False)
seen["ltx_model"] = type(model.model).__name__
wide = top_to_bottom[:, :, :32].repeat(1, 1, 2, 1)  # cells are 32 pixels
difference = (codec.decode(codec.encode(wide))[0] - wide).abs()
seen["ltx_codec_differs"] = float(torch.cat((difference[:, :24], difference[:, 40:]), dim=1).max())
lora = comfy.utils.load_torch_file(models + "/loras/ltx-2-19b-ic-lora-detailer.safetensors")
seen["ltx_lora_keys"] = len(comfy.sd.load_lora_for_models(model, None, lora, 1, 0)[0].patches)
tensors, metadata = comfy.utils.load_torch_file(
    models + "/latent_upscale_models/ltx-2-spatial-upscaler-x2-1.0.safetensors",
    return_metadata=True,
)
from comfy.ldm.lightricks.latent_upsampler import LatentUpsampler
upsampler = LatentUpsampler.from_config(
    json.loads(metadata["config"]), operations=comfy.ops.disable_weight_init
)
upsampler.load_state_dict(tensors)
picture = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1))
larger = codec.decode(upsampler(codec.encode(picture)))[0, 0]
smaller = codec.decode(codec.encode(picture))[0, 0]
seen["larger_shape"] = list(larger.shape)
halved = larger.reshape(16, 8, 16, 8, 3).mean((1, 3)) - smaller.reshape(16, 4, 16, 4, 3).mean((1, 3))
seen["larger_differs"] = float(halved.abs().max())

gemma = [models + "/text_encoders/gemma_3_12B_it.safetensors", ltx]
clip = comfy.sd.load_clip(gemma, clip_type=comfy.sd.CLIPType.LTXV)
seen["gemma_shape"] = list(encode("a red kite").shape)
seen["gemma_differs"] = float((encode("red") - encode("blue")).abs().max())
import comfy.text_encoders.lt as lt
seen["gemma_untouched"] = lt.ltxav_te.__module__
seen["still_differs"] = float((still[:, 0] - videos[1][:, 0]).abs().max())
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Path:
    directory = tmp_path_factory.mktemp("models")
    ensure((*ALL, *LTX), models_dir=directory, comfyui_dir=settings.comfyui_dir)
    return directory


@pytest.fixture(scope="module")
def seen(models: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What ComfyUI's loaders make of the files."""
    plain = tmp_path_factory.mktemp("plain") / "real.safetensors"
    save_file({"a": np.zeros(1)}, plain, metadata={"format": "pt"})
    packs = Path(__file__).parents[2] / "custom_nodes"
    done = subprocess.run(
        [sys.executable, "-B", "-c", LOAD, str(settings.comfyui_dir), str(models), str(plain)],
        env={**os.environ, "PYTHONPATH": str(packs), "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def path(models: Path, stand_in: StandIn) -> Path:
    return models / stand_in.folder / stand_in.name


def stamps(models: Path, stand_ins: Sequence[StandIn] = ALL) -> list[int]:
    return [path(models, s).stat().st_mtime_ns for s in stand_ins]


def test_files_are_small_and_say_what_they_are(models: Path):
    assert sum(path(models, s).stat().st_size for s in ALL) < 8_000_000
    assert all("fingerprint" in read_header(path(models, s))["__metadata__"][KEY] for s in ALL)
    assert not list(models.rglob("*.tmp"))


def test_comfyui_loads_the_transformers_and_the_lora_fits(seen: Any):
    assert seen["wan2.2_t2v_high_noise"] == seen["sub/wan2.2_t2v_low_noise"] == "WAN21"
    assert seen["lora_keys"] > 0


def test_the_text_encoder_tells_prompts_apart(seen: Any):
    assert seen["text_shape"] == [1, 512, 64]
    assert seen["text_differs"] > 0.1
    assert seen["case_differs"] == 0


def test_the_vae_decodes_four_frames_per_latent_frame(seen: Any):
    assert seen["video_shape"] == [1, 9, 48, 64, 3]
    assert seen["hastened_differs"] < 1e-4  # the pack changes the speed only
    assert seen["still_differs"] < 1e-4


def test_the_vae_encodes_what_it_decodes(seen: Any):
    assert seen["codec_differs"] < 0.02  # away from the edge between the two colours


def test_comfyui_loads_ltx_2(seen: Any):
    assert seen["ltx_model"] == "LTXAV"
    assert seen["ltx_lora_keys"] > 0


def test_the_ltx_text_encoder_knows_colours(seen: Any):
    assert seen["gemma_shape"][::2] == [1, 32]
    assert seen["gemma_differs"] > 0.1
    assert seen["gemma_untouched"] == "comfy.text_encoders.lt"  # for the next file


def test_the_ltx_vae_encodes_what_it_decodes(seen: Any):
    assert seen["ltx_codec_differs"] < 0.02


def test_the_ltx_upsampler_keeps_the_picture(seen: Any):
    assert seen["larger_shape"] == [128, 128, 3]
    assert seen["larger_differs"] < 0.1


def test_the_pack_is_inert_for_real_files(seen: Any):
    assert seen["plain"]
    assert seen["stand_in"] == ["theirs", "umt5xxl_model_config"]


def test_the_frames_do_not_depend_on_the_number_of_threads(seen: Any):
    assert seen["threads"] == 1  # whatever the environment says: others round otherwise


def test_what_is_there_is_not_built_again(models: Path, settings: Settings):
    before = stamps(models)
    ensure(ALL, models_dir=models, comfyui_dir=settings.comfyui_dir)
    assert stamps(models) == before


def test_only_what_is_missing_or_outdated_is_built(tmp_path: Path, settings: Settings):
    ensure((VAE, LORA), models_dir=tmp_path, comfyui_dir=settings.comfyui_dir)
    before = stamps(tmp_path, (VAE, LORA))
    old = {KEY: json.dumps({"fingerprint": "of older code", "model_options": {}})}
    save_file({"a": np.zeros(1)}, path(tmp_path, LORA), metadata=old)
    ensure((VAE, LORA), models_dir=tmp_path, comfyui_dir=settings.comfyui_dir)
    assert stamps(tmp_path, (VAE,)) == before[:1]
    assert "of older code" not in read_header(path(tmp_path, LORA))["__metadata__"][KEY]


def test_files_that_were_cut_short_are_built_again(
    models: Path, tmp_path: Path, settings: Settings
):
    cuts = {HIGH: slice(0), VAE: slice(300), LORA: slice(-1)}  # all, within the header, a byte
    for stand_in, left in cuts.items():
        path(tmp_path, stand_in).parent.mkdir()
        path(tmp_path, stand_in).write_bytes(path(models, stand_in).read_bytes()[left])
    ensure(tuple(cuts), models_dir=tmp_path, comfyui_dir=settings.comfyui_dir)
    for stand_in in cuts:
        assert path(tmp_path, stand_in).stat().st_size == path(models, stand_in).stat().st_size


def test_two_runs_at_once_build_once(tmp_path: Path, settings: Settings):
    failures: list[Exception] = []

    def run() -> None:
        try:
            ensure((VAE,), models_dir=tmp_path, comfyui_dir=settings.comfyui_dir)
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert read_header(path(tmp_path, VAE))
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_real_model_is_never_overwritten(tmp_path: Path, settings: Settings):
    real = path(tmp_path, VAE)
    real.parent.mkdir()
    save_file({"a": np.zeros(1)}, real)
    content = real.read_bytes()
    with pytest.raises(WorkflowError, match="not a stand-in"):
        ensure((VAE,), models_dir=tmp_path, comfyui_dir=settings.comfyui_dir)
    assert real.read_bytes() == content


def test_a_folder_that_is_not_comfyui(tmp_path: Path):
    with pytest.raises(EngineError, match="not a ComfyUI checkout"):
        ensure((VAE,), models_dir=tmp_path, comfyui_dir=tmp_path)


def test_a_build_that_fails_says_why(tmp_path: Path):
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0"')  # and nothing else of it
    with pytest.raises(EngineError, match=r"No module named 'comfy"):
        ensure((VAE,), models_dir=tmp_path / "models", comfyui_dir=tmp_path)
