"""LTX-2: presets to numbers, and pictures at given frames.

What needs no model has an async `execute`, although it waits for nothing: ComfyUI runs such nodes
before others, and so what they refuse is refused before a model is loaded.
"""

import logging

import nodes as comfyui
from comfy_api.latest import io
from comfy_extras.nodes_lt import LTXVAddGuide, LTXVPreprocess, get_keyframe_idxs

from ..ops import keyframes as positions
from ..ops import ltx
from . import image
from .sockets import Keyframes

CATEGORY = "callsheet/video"
MOST_GUIDES = 20
GUIDE_MULTI = "LTXVAddGuideMulti"


class LtxPlan(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetLtxPlan",
            display_name="LTX-2 plan",
            category=CATEGORY,
            description="Turns a preset, a size and a duration into the numbers that one or two "
            "stages of LTX-2 are sampled with; refuses what the model cannot make.",
            search_aliases=["callsheet", "ltx", "ltxv", "preset", "sigmas", "two stage", "8k+1"],
            inputs=[
                io.String.Input(
                    "preset",
                    default="balanced",
                    tooltip="A name from the presets table; link a Choice here.",
                ),
                size_input("width", 1280),
                size_input("height", 704),
                io.Float.Input(
                    "duration",
                    default=5.0,
                    min=0.0,
                    max=3600.0,
                    step=0.1,
                    round=False,
                    tooltip="Of the video, in seconds; above 0, and at most 993 frames.",
                ),
                io.Float.Input(
                    "fps",
                    default=30.0,
                    min=0.01,
                    max=240.0,
                    step=1.0,
                    tooltip="Frames per second; LTX-2 was trained at 24 and 25.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Sampling steps of the first stage; 0 takes the preset's.",
                ),
                io.String.Input(
                    "presets",
                    multiline=True,
                    default=ltx.DEFAULT_PRESETS,
                    socketless=True,
                    advanced=True,
                    tooltip="The table, as JSON: name → two_stage, cfg, sigmas or steps, and "
                    "sigmas_2 for two stages; or an old name → the name of a row.",
                ),
            ],
            outputs=[
                io.Int.Output(display_name="generate", tooltip="Frames to generate: 8k+1."),
                io.Int.Output(
                    display_name="keep",
                    tooltip="Frames that were asked for, into Keep first frames.",
                ),
                io.Int.Output(
                    display_name="width_1", tooltip="Width of the first stage, in pixels."
                ),
                io.Int.Output(
                    display_name="height_1", tooltip="Height of the first stage, in pixels."
                ),
                io.String.Output(
                    display_name="sigmas_1",
                    tooltip="Noise levels of the first stage, into ManualSigmas.",
                ),
                io.String.Output(
                    display_name="sigmas_2",
                    tooltip="Noise levels of the second stage, into ManualSigmas.",
                ),
                io.Float.Output(display_name="cfg", tooltip="cfg of the first stage."),
                io.Int.Output(display_name="steps", tooltip="Steps of the first stage."),
                io.Boolean.Output(
                    display_name="two_stage",
                    tooltip="True when half the size is sampled first, then upscaled.",
                ),
                io.Int.Output(
                    display_name="index",
                    tooltip="The preset's row, the first is 0; an old name has its row's.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, preset, width, height, duration, fps, presets) -> bool | str:
        # None: linked, known in execution only.
        try:
            table = ltx.parse_presets(presets)
            chosen = None if preset is None else ltx.choose_preset(table, preset)
        except ValueError as error:
            return str(error)
        two_stage = chosen.two_stage if chosen else None
        found = ltx.problems(
            two_stage=two_stage, width=width, height=height, duration=duration, fps=fps
        )
        return "; ".join(found) or True

    @classmethod
    async def execute(cls, preset, width, height, duration, fps, steps, presets) -> io.NodeOutput:
        plan = ltx.plan(
            preset=ltx.choose_preset(ltx.parse_presets(presets), preset),
            width=width,
            height=height,
            duration=duration,
            fps=fps,
            steps=steps,
        )
        return io.NodeOutput(
            plan.generate,
            plan.keep,
            plan.width_1,
            plan.height_1,
            plan.sigmas_1,
            plan.sigmas_2,
            plan.cfg,
            plan.steps,
            plan.two_stage,
            plan.index,
        )


class AddGuideMulti(io.ComfyNode):
    """The id and the shape that graphs already use; one option more, the last."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=GUIDE_MULTI,
            display_name="LTXV Add Guide Multi",
            category=CATEGORY,
            description="Adds any number of pictures or clips as guides: the same as as many "
            "LTXV Add Guide nodes in a row.",
            search_aliases=["callsheet", "ltx", "keyframes", "guide", "first last frame"],
            inputs=[
                *conditioning_inputs(),
                io.DynamicCombo.Input(
                    "num_guides",
                    options=[
                        *(
                            io.DynamicCombo.Option(key=str(count), inputs=guide_inputs(count))
                            for count in range(1, MOST_GUIDES + 1)
                        ),
                        io.DynamicCombo.Option(key="keyframes", inputs=keyframe_inputs()),
                    ],
                    tooltip="How many guides; or keyframes, for a list of them.",
                ),
            ],
            outputs=conditioning_outputs(),
        )

    @classmethod
    def execute(cls, positive, negative, vae, latent, num_guides) -> io.NodeOutput:
        chosen = num_guides["num_guides"]
        if chosen == "keyframes":
            guides = guides_of(
                num_guides["keyframes"], positive, vae, latent, num_guides.get("frames") or 0
            )
        else:
            guides = [
                tuple(num_guides[f"{name}_{number}"] for name in ("image", "frame_idx", "strength"))
                for number in range(1, int(chosen) + 1)
            ]
        return io.NodeOutput(*with_guides(positive, negative, vae, latent, guides))


def add_guide_multi() -> list[type[io.ComfyNode]]:
    """None where another pack has the id already: the graphs that were made with it stay its."""
    if GUIDE_MULTI not in comfyui.NODE_CLASS_MAPPINGS:
        return [AddGuideMulti]
    logging.info("Callsheet: %s is another pack's; ours steps aside.", GUIDE_MULTI)
    return []


class KeyframeGuides(io.ComfyNode):
    """The keyframes option of the node above under an id that no other pack can take."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetKeyframeGuides",
            display_name="Keyframes to guides",
            category=CATEGORY,
            description="Adds keyframes as guides, each at its place in the video.",
            search_aliases=["callsheet", "ltx", "keyframes", "guide", "first last frame"],
            inputs=[*conditioning_inputs(), *keyframe_inputs()],
            outputs=conditioning_outputs(),
        )

    @classmethod
    def execute(cls, positive, negative, vae, latent, keyframes, frames=0) -> io.NodeOutput:
        guides = guides_of(keyframes, positive, vae, latent, frames)
        return io.NodeOutput(*with_guides(positive, negative, vae, latent, guides))


class FitKeyframes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetFitKeyframes",
            display_name="Fit keyframes",
            category="callsheet/image",
            description="Brings every picture of a list of keyframes to one size, and compresses "
            "it as the frames were that LTX-2 learned from.",
            search_aliases=["callsheet", "resize", "letterbox", "img_compression", "preprocess"],
            inputs=[
                Keyframes.Input("keyframes", tooltip="The list of a Keyframes parameter."),
                *image.size_inputs(),
                io.Int.Input(
                    "img_compression",
                    default=0,
                    min=0,
                    max=100,
                    tooltip="As LTXV Preprocess: quality of the H.264 frame that the picture "
                    "becomes (CRF), higher is worse; 0 leaves it as it is.",
                ),
                frames_input(
                    "Frames that are kept of the video: keyframes that do not fit into them are "
                    "refused here already; 0 leaves it to the guides."
                ),
            ],
            outputs=[
                Keyframes.Output(display_name="keyframes", tooltip="The same places and strengths.")
            ],
        )

    @classmethod
    async def execute(cls, keyframes, img_compression, frames=0, **size) -> io.NodeOutput:
        if frames:
            places_of(keyframes, frames)
        return io.NodeOutput(
            [
                {**one, "image": compressed(image.fit(one["image"], **size), img_compression)}
                for one in keyframes
            ]
        )


def compressed(picture, compression: int):
    return LTXVPreprocess.execute(picture, compression).result[0]


def size_input(name: str, default: int) -> io.Input:
    return io.Int.Input(
        name,
        default=default,
        min=ltx.SMALLEST,
        max=ltx.LARGEST,
        step=ltx.GRID,
        tooltip="Of the video, in pixels: a multiple of 32, of 64 for a preset of two stages.",
    )


def conditioning_inputs() -> list[io.Input]:
    return [
        io.Conditioning.Input("positive", tooltip="What the video shows; LTXV Conditioning."),
        io.Conditioning.Input("negative", tooltip="What it does not show."),
        io.Vae.Input("vae", tooltip="The video VAE."),
        io.Latent.Input("latent", tooltip="The video latent, before Concat AV Latent."),
    ]


def conditioning_outputs() -> list[io.Output]:
    return [
        io.Conditioning.Output(display_name="positive", tooltip="positive, with the guides."),
        io.Conditioning.Output(display_name="negative", tooltip="negative, with the guides."),
        io.Latent.Output(
            display_name="latent",
            tooltip="The latent with the guides at its end; LTXV Crop Guides takes them off again.",
        ),
    ]


def guide_inputs(count: int) -> list[io.Input]:
    return [each for number in range(1, count + 1) for each in guide_input(number)]


def guide_input(number: int) -> list[io.Input]:
    return [
        io.Image.Input(f"image_{number}", tooltip="A picture, or a clip of 8k+1 frames."),
        io.Int.Input(
            f"frame_idx_{number}",
            default=0,
            min=-9999,
            max=9999,
            tooltip="Frame at which it stands; negative ones count from the end, -1 is the last.",
        ),
        io.Float.Input(
            f"strength_{number}",
            default=1.0,
            min=0.0,
            max=10.0,
            step=0.01,
            tooltip="1 shows it as it is, 0 not at all.",
        ),
    ]


def keyframe_inputs() -> list[io.Input]:
    return [
        Keyframes.Input(
            "keyframes", tooltip="Pictures with place and strength; a Keyframes parameter."
        ),
        frames_input(
            "Frames that are kept of the video: the last keyframe stands on the last of "
            "them; 0 is all that the latent holds."
        ),
    ]


def frames_input(tooltip: str) -> io.Input:
    return io.Int.Input("frames", default=0, min=0, max=9999, optional=True, tooltip=tooltip)


def guides_of(keyframes, positive, vae, latent, frames: int) -> list[tuple]:
    """(image, frame, strength) for each keyframe."""
    there = frames_in(positive, vae, latent)
    if frames > there:
        raise ValueError(f"frames: {frames} are kept, but the latent holds only {there}")
    places = places_of(keyframes, frames or there)
    return [
        (one["image"], place, one["strength"]) for one, place in zip(keyframes, places, strict=True)
    ]


def places_of(keyframes, frames: int) -> list[int]:
    """The frame of each keyframe; ValueError where they do not fit."""
    try:
        return positions.frame_indexes([one["position"] for one in keyframes], frames)
    except ValueError as error:
        raise ValueError(f"keyframes: {error}") from error


def frames_in(positive, vae, latent) -> int:
    """Frames that the latent decodes to, guides not counted."""
    samples = latent["samples"]
    _, guides = get_keyframe_idxs(positive, samples.shape)
    return (samples.shape[2] - guides - 1) * vae.downscale_index_formula[0] + 1


def with_guides(positive, negative, vae, latent, guides: list[tuple]) -> tuple:
    for picture, frame, strength in guides:
        positive, negative, latent = LTXVAddGuide.execute(
            positive, negative, vae, latent, picture, frame, strength
        ).result
    return positive, negative, latent
