"""WAN 2.2: presets and sizes to sampling numbers."""

from comfy_api.latest import io

from ..ops import wan


class WanPlan(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetWanPlan",
            display_name="WAN 2.2 plan",
            category="callsheet/video",
            description="Turns a preset, and whatever a caller sets beside it, into the numbers "
            "that both WAN 2.2 experts are sampled with.",
            search_aliases=["callsheet", "wan", "preset", "boundary", "flow shift", "high noise"],
            inputs=[
                io.String.Input(
                    "preset",
                    default="balanced",
                    tooltip="A name from the presets table; link a Choice here.",
                ),
                io.Int.Input(
                    "width",
                    default=1280,
                    min=16,
                    max=16384,
                    tooltip="Of the video, in pixels; decides the shift.",
                ),
                io.Int.Input(
                    "height",
                    default=720,
                    min=16,
                    max=16384,
                    tooltip="Of the video, in pixels; decides the shift.",
                ),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Sampling steps of both experts together; 0 takes the preset's.",
                ),
                override(
                    "guidance_scale",
                    "Guidance of the high-noise expert, and of the other unless that is set",
                ),
                override("guidance_scale_2", "Guidance of the low-noise expert"),
                override(
                    "flow_shift", "Shift of the schedule; higher spends more steps on composition"
                ),
                override(
                    "boundary", "Noise level at which the experts change, between 0 and 1", most=1.0
                ),
                io.String.Input(
                    "presets",
                    multiline=True,
                    default=wan.DEFAULT_PRESETS,
                    socketless=True,
                    advanced=True,
                    tooltip="The table, as JSON: name → steps, guidance_scale and, where wanted, "
                    "guidance_scale_2, flow_shift, boundary.",
                ),
            ],
            outputs=[
                io.Int.Output(display_name="steps", tooltip="All sampling steps."),
                io.Int.Output(
                    display_name="switch_step",
                    tooltip="Steps on the high-noise expert: "
                    "its end_at_step, the other's start_at_step.",
                ),
                io.Float.Output(
                    display_name="guidance_high", tooltip="cfg of the high-noise expert."
                ),
                io.Float.Output(
                    display_name="guidance_low", tooltip="cfg of the low-noise expert."
                ),
                io.Float.Output(
                    display_name="shift", tooltip="shift of ModelSamplingSD3, for both."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, preset, presets) -> bool | str:
        try:
            table = wan.parse_presets(presets)
            if preset is not None:  # None: linked, known in execution only
                wan.choose_preset(table, preset)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, preset, width, height, presets, **overrides) -> io.NodeOutput:
        plan = wan.plan(
            preset=wan.choose_preset(wan.parse_presets(presets), preset),
            overrides=wan.Overrides(**overrides),
            width=width,
            height=height,
        )
        return io.NodeOutput(
            plan.steps, plan.switch_step, plan.guidance_high, plan.guidance_low, plan.shift
        )


def override(name: str, what: str, *, most: float = 100.0) -> io.Input:
    return io.Float.Input(
        name,
        default=0.0,
        min=0.0,
        max=most,
        step=0.1 if most > 1 else 0.005,
        round=False,
        tooltip=f"{what}; 0 takes the preset's.",
    )
