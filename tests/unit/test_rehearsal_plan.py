"""Which stand-ins a prompt needs: pure, nothing is built."""

import json
import subprocess
import sys
from typing import Any

import pytest

from runner.errors import WorkflowError
from runner.rehearsal import StandIn, plan

HIGH = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
LOW = "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"


def node(class_type: str, title: str | None = None, **inputs: Any) -> dict[str, Any]:
    meta = {"_meta": {"title": title}} if title else {}
    return {"class_type": class_type, "inputs": inputs, **meta}


def wan(**more: dict[str, Any]) -> dict[str, Any]:
    return {
        "1": node("UNETLoader", unet_name=HIGH, weight_dtype="default"),
        "2": node("UNETLoader", unet_name=LOW, weight_dtype="default"),
        "3": node("CLIPLoader", clip_name="umt5_xxl_fp8_e4m3fn_scaled.safetensors", type="wan"),
        "4": node("VAELoader", vae_name="wan_2.1_vae.safetensors"),
        "5": node("CLIPTextEncode", text="a red kite", clip=["3", 0]),
        **more,
    }


def refused(prompt: dict[str, Any]) -> list[dict[str, str]]:
    with pytest.raises(WorkflowError) as caught:
        plan(prompt)
    models: list[dict[str, str]] = caught.value.details["models"]
    for model in models:
        assert model["node"] in caught.value.message
        assert model["file"] in caught.value.message
    return models


def test_a_wan_prompt_needs_each_file_once():
    again = node("VAELoader", vae_name="wan_2.1_vae.safetensors")
    assert plan(wan(again=again)) == (
        StandIn("wan", "unet", "diffusion_models", HIGH),
        StandIn("wan", "unet", "diffusion_models", LOW),
        StandIn("wan", "text_encoder", "text_encoders", "umt5_xxl_fp8_e4m3fn_scaled.safetensors"),
        StandIn("wan", "vae", "vae", "wan_2.1_vae.safetensors"),
    )


@pytest.mark.parametrize(
    "name",
    [
        "wan2.1_t2v_14B_fp16.safetensors",
        "WAN/Wan2_2-T2V-A14B-LOW_fp8_e4m3fn.safetensors",
        "wan2.1_t2v_1.3B_bf16.SAFETENSORS",
    ],
)
def test_other_names_of_the_same_architecture(name: str):
    assert plan({"1": node("UNETLoader", unet_name=name)}) == (
        StandIn("wan", "unet", "diffusion_models", name),
    )


def test_a_lora_belongs_to_the_model_that_flows_into_it():
    prompt = wan(
        lora=node("LoraLoaderModelOnly", lora_name="my style.safetensors", model=["switch", 0]),
        switch=node("ComfySwitchNode", on_true=["2", 0], on_false=["2", 0], switch=True),
    )
    assert StandIn("wan", "lora", "loras", "my style.safetensors") in plan(prompt)


def test_a_lora_of_no_model_has_no_stand_in():
    lora = node("LoraLoaderModelOnly", lora_name="x.safetensors", model=["gone", 0])
    assert [m["node"] for m in refused(wan(lora=lora))] == ["lora"]


def test_a_loop_of_links_ends():
    loop = node("LoraLoaderModelOnly", lora_name="x.safetensors", model=["lora", 0])
    assert refused(wan(lora=loop))


def test_every_file_without_a_stand_in_is_named_at_once():
    models = refused(
        wan(
            a=node("CheckpointLoaderSimple", "Load SDXL", ckpt_name="sd_xl.safetensors"),
            b=node("UNETLoader", unet_name="wan2.2_ti2v_5B_fp16.safetensors"),
            c=node("SomebodysLoader", weights="model.gguf"),
            d=node("VAELoader", vae_name="wan_2.1_vae.pth"),
        )
    )
    assert [(m["title"], m["file"]) for m in models] == [
        ("Load SDXL", "sd_xl.safetensors"),
        ("UNETLoader", "wan2.2_ti2v_5B_fp16.safetensors"),
        ("SomebodysLoader", "model.gguf"),
        ("VAELoader", "wan_2.1_vae.pth"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../wan2.2_t2v.safetensors",
        "sub/../../wan2.2_t2v.safetensors",
        "/etc/wan2.2_t2v.safetensors",
        "C:/wan2.2_t2v.safetensors",
        "..\\wan2.2_t2v.safetensors",
        ".hidden/wan2.2_t2v.safetensors",
        "wan2.2_t2v\x00.safetensors",
        "wan2.2_t2v\n.safetensors",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str):
    (model,) = refused({"1": node("UNETLoader", unet_name=name)})
    assert "relative path" in model["why"]


def test_a_linked_name_and_a_prompt_without_models_need_nothing():
    prompt = {
        "1": node("UNETLoader", unet_name=["2", 0]),
        "2": node("CallsheetChoice", value="fast"),
        "3": node("VAELoader", vae_name="pixel_space"),
        "4": {"class_type": "NoInputs"},
    }
    assert plan(prompt) == ()


def test_planning_imports_neither_torch_nor_comfyui():
    code = "import sys, runner.rehearsal; sys.exit(bool({'torch', 'comfy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


LTX = "ltx-2-19b-dev-fp8.safetensors"
CHECKPOINT = StandIn("ltx2", "checkpoint", "checkpoints", LTX)


def ltx(**more: dict[str, Any]) -> dict[str, Any]:
    return {"1": node("CheckpointLoaderSimple", ckpt_name=LTX), **more}


def test_an_ltx_checkpoint_is_one_file_for_three_loaders():
    gemma = "gemma_3_12B_it_fp4_mixed.safetensors"
    upscaler = "ltx-2-spatial-upscaler-x2-1.0.safetensors"
    prompt = ltx(
        sound=node("LTXVAudioVAELoader", ckpt_name=LTX),
        text=node("LTXAVTextEncoderLoader", text_encoder=gemma, ckpt_name=LTX, device="default"),
        upscaler=node("LatentUpscaleModelLoader", model_name=upscaler),
    )
    assert plan(prompt) == (
        CHECKPOINT,
        StandIn("ltx2", "upsampler", "latent_upscale_models", upscaler),
        StandIn("ltx2", "text_encoder", "text_encoders", gemma),
    )


@pytest.mark.parametrize(
    "name", ["ltx-2-19b-dev", "ltx-2-19b-distilled", "LTX-2-19b-distilled-fp8"]
)
def test_other_ltx_checkpoints(name: str):
    file = f"sub/{name}.safetensors"
    prompt = {"1": node("CheckpointLoaderSimple", ckpt_name=file)}
    assert plan(prompt) == (StandIn("ltx2", "checkpoint", "checkpoints", file),)


def test_a_t5_is_mochi_s_only_where_it_is_loaded_for_mochi():
    file = "t5xxl_fp8_e4m3fn_scaled.safetensors"
    (made,) = plan({"1": node("CLIPLoader", clip_name=file, type="mochi")})
    assert made == StandIn("mochi", "text_encoder", "text_encoders", file)
    for other in ("sd3", "ltxv", "chroma"):
        assert refused({"1": node("CLIPLoader", clip_name=file, type=other)})


@pytest.mark.parametrize("name", ["ltx-2.3-22b-dev-fp8", "ltx-video-2b-v0.9.5", "sd_xl"])
def test_other_generations_are_not_ltx_2(name: str):
    assert refused({"1": node("CheckpointLoaderSimple", ckpt_name=f"{name}.safetensors")})


@pytest.mark.parametrize(
    "name", ["ltx-2-19b-ic-lora-detailer", "ltx-video-2b-v0.9.7-distilled-lora-384", "my style"]
)
@pytest.mark.parametrize("loader", ["LoraLoaderModelOnly", "LoraLoader", "CallsheetLora"])
def test_any_lora_of_an_ltx_model(loader: str, name: str):
    file = f"{name}.safetensors"
    prompt = ltx(lora=node(loader, lora_name=file, model=["1", 0]))
    assert plan(prompt) == (CHECKPOINT, StandIn("ltx2", "lora", "loras", file))


def test_rows_of_a_lora_stack_that_are_on():
    rows = '[{"lora": "a.safetensors"}, {"lora": "b.safetensors", "on": false}, {"lora": ""}]'
    prompt = ltx(loras=node("CallsheetLoraStack", rows=rows, model=["1", 0]))
    assert plan(prompt) == (CHECKPOINT, StandIn("ltx2", "lora", "loras", "a.safetensors"))


def test_a_lora_at_strength_0_is_not_loaded():
    def prompt(strength: float) -> dict[str, Any]:
        rows = json.dumps([{"lora": "a.gguf", "strength": strength}])
        return ltx(
            lora=node("CallsheetLora", lora_name="a.gguf", strength=strength, model=["1", 0]),
            loras=node("CallsheetLoraStack", rows=rows, model=["1", 0]),
        )

    assert plan(prompt(0)) == plan(prompt(0.0)) == (CHECKPOINT,)
    assert [model["node"] for model in refused(prompt(-0.1))] == ["lora", "loras"]


def test_text_that_looks_like_rows_needs_nothing():
    assert plan({"1": node("CLIPTextEncode", text="[a red.safetensors kite")}) == ()


@pytest.mark.parametrize("choice", ["in", "a.safetensors"])
def test_a_lora_that_a_parameter_chooses(choice: str):
    prompt = ltx(
        choice=node("CallsheetChoice", value=choice, choices="out\nb.safetensors"),
        lora=node(
            "CallsheetLora",
            lora_name=["choice", 0],
            also="out = b.safetensors\nin = a.safetensors\nolder name.safetensors",
            model=["1", 0],
        ),
    )
    assert plan(prompt) == (CHECKPOINT, StandIn("ltx2", "lora", "loras", "a.safetensors"))


def test_what_a_caller_may_choose_instead_has_a_stand_in_too():
    prompt = ltx(
        camera=node("CallsheetChoice", value="in", choices="in\nout\nodd"),
        lora=node(
            "CallsheetLora", model=["1", 0], lora_name=["camera", 0], strength=1,
            also="in = in.safetensors\nout = out.safetensors\nodd = odd.gguf",
        ),
    )  # fmt: skip
    now, with_choices = ({s.name for s in plan(prompt, choices=each)} for each in (False, True))
    assert "in.safetensors" in now
    assert with_choices - now == {"out.safetensors"}
