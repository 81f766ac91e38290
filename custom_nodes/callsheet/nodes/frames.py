"""Durations, frame counts, and the frames to keep."""

from comfy_api.latest import io

from ..ops import frames

CATEGORY = "callsheet/video"


class DurationToFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetFrames",
            display_name="Duration to frames",
            category=CATEGORY,
            description="How many frames a model has to make for a duration, "
            "and how many of them to keep.",
            search_aliases=["callsheet", "seconds", "frame count", "length", "num_frames", "4k+1"],
            inputs=[
                io.Float.Input(
                    "duration",
                    default=5.0,
                    min=0.0,
                    max=3600.0,
                    step=0.1,
                    tooltip="Wanted length, in seconds.",
                ),
                io.Float.Input(
                    "fps", default=16.0, min=0.01, max=240.0, step=1.0, tooltip="Frames per second."
                ),
                io.Combo.Input(
                    "rule",
                    options=list(frames.RULES),
                    default="4k+1",
                    tooltip="Frame counts the model can make: "
                    "4k+1 for WAN, 6k+1 for Mochi, 8k+1 for LTX.",
                ),
                io.Int.Input(
                    "num_frames",
                    default=0,
                    min=0,
                    max=100000,
                    tooltip="Frames to keep, whatever the duration says; 0 takes the duration.",
                ),
            ],
            outputs=[
                io.Int.Output(
                    display_name="generate", tooltip="Frames to generate: rounded up to the rule."
                ),
                io.Int.Output(
                    display_name="keep",
                    tooltip="Frames that were asked for, into Keep first frames.",
                ),
            ],
        )

    @classmethod
    def execute(cls, duration, fps, rule, num_frames) -> io.NodeOutput:
        return io.NodeOutput(
            *frames.frame_counts(duration=duration, fps=fps, rule=rule, num_frames=num_frames)
        )


class KeepFrames(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetKeepFrames",
            display_name="Keep first frames",
            category=CATEGORY,
            description="Drops the frames that a model had to make beyond those asked for.",
            search_aliases=["callsheet", "trim", "cut", "crop frames", "shorten"],
            inputs=[
                io.Image.Input("images", tooltip="The frames of a video, as a batch of images."),
                io.Int.Input(
                    "count",
                    default=81,
                    min=1,
                    max=100000,
                    tooltip="Frames to keep, counted from the first.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The first frames.")],
        )

    @classmethod
    def execute(cls, images, count) -> io.NodeOutput:
        return io.NodeOutput(frames.keep_first(images, count=count))
