"""How a talking video begins: its size, its first picture, its sampling numbers."""

from comfy_api.latest import InputImpl, io

from ..ops import buckets, clips, image, talk_plan
from ..ops.windows import FPS

MOTION = 9  # frames of a clip that the first window continues; InfiniteTalk's motion_frame
SIZES = ", ".join(buckets.TABLES)


class FitStart(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetFitStart",
            display_name="Fit start",
            category="callsheet/image",
            description="Brings a picture, or the end of a clip, to the size of MultiTalk's that "
            "is nearest to its shape: as large as possible, cropped in the middle.",
            search_aliases=["callsheet", "multitalk", "bucket", "resize", "crop", "continue clip"],
            inputs=[
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The picture that talks; without it, the clip's last frame.",
                ),
                io.Video.Input(
                    "video",
                    optional=True,
                    tooltip="A clip to continue: its last 9 frames at 25 fps.",
                ),
                size_choice(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="One picture at that size."),
                io.Image.Output(
                    display_name="motion",
                    tooltip="The end of the clip at that size, 1 to 9 frames at 25 fps; "
                    "nothing without a clip.",
                ),
                io.Int.Output(display_name="width", tooltip="Of the video, in pixels."),
                io.Int.Output(display_name="height", tooltip="Of the video, in pixels."),
                io.Image.Output(
                    display_name="source",
                    tooltip="The picture before it was fitted; into Speaker masks.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, size) -> bool | str:
        return size_verdict(size)

    @classmethod
    def execute(cls, size, image=None, video=None) -> io.NodeOutput:
        return io.NodeOutput(*fitted(image, video, size))


def size_choice() -> io.Input:
    return io.String.Input(
        "size",
        default="multitalk-480",
        tooltip=f"{SIZES} (a quarter of 480, for quick looks); link a Choice here.",
    )


def size_verdict(size: str | None) -> bool | str:
    try:
        if size is not None:  # None: linked, known in execution only
            buckets.check_size(size)
    except ValueError as error:
        return str(error)
    return True


def fitted(picture, video, size: str) -> tuple:
    if picture is None and video is None:
        raise ValueError(
            "neither image nor video is given; give an image that talks, or a video to continue"
        )
    end = None if video is None else end_of(video)
    source = end[-1:] if picture is None else picture[:1, ..., :3]
    width, height = buckets.nearest(size, width=source.shape[2], height=source.shape[1])

    def fit(pictures):
        return image.fit(pictures, width=width, height=height, method=image.CROP)

    return fit(source), None if end is None else fit(end), width, height, source


def end_of(video):
    """[1..9, height, width, 3]: a clip's last frames; of a file, no others stay in memory."""
    try:
        if isinstance(video, InputImpl.VideoFromFile):
            start, duration = video.get_active_trim_window()
            return clips.last_pictures(
                video.get_stream_source(), count=MOTION, fps=FPS, start=start, duration=duration
            )
        parts = video.get_components()
        return clips.last_images(parts.images, fps=float(parts.frame_rate), count=MOTION, to=FPS)
    except ValueError as error:
        raise ValueError(f"video: {error}") from error


class MultiTalkPlan(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetMultiTalkPlan",
            display_name="MultiTalk plan",
            category="callsheet/video",
            description="Turns turbo and size, and whatever a caller sets beside them, into the "
            "numbers that MultiTalk is sampled with.",
            search_aliases=["callsheet", "multitalk", "infinitetalk", "turbo", "steps", "shift"],
            inputs=[
                io.Boolean.Input(
                    "turbo",
                    default=True,
                    tooltip="On: few steps without guidance, for the distillation LoRA. "
                    "Off: full steps with guidance.",
                ),
                size_choice(),
                io.Int.Input(
                    "steps",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Sampling steps of each window; 0 takes the table's.",
                ),
                override(
                    "text_guide_scale", "How closely the prompt is followed; 1 is no guidance"
                ),
                override(
                    "audio_guide_scale", "How closely the sound is followed; 1 is no guidance"
                ),
                override("shift", "Shift of the schedule; higher spends more steps on composition"),
                io.String.Input(
                    "presets",
                    multiline=True,
                    default=talk_plan.DEFAULT_PRESETS,
                    socketless=True,
                    advanced=True,
                    tooltip="The table, as JSON: turbo and full → steps, text_guide_scale, "
                    "audio_guide_scale and shift, one number or one for each size.",
                ),
            ],
            outputs=[
                io.Int.Output(display_name="steps", tooltip="Into Basic Scheduler."),
                io.Float.Output(display_name="text_guide_scale", tooltip="Into Talk guider."),
                io.Float.Output(display_name="audio_guide_scale", tooltip="Into Talk guider."),
                io.Float.Output(display_name="shift", tooltip="Into ModelSamplingSD3."),
            ],
        )

    @classmethod
    def validate_inputs(cls, size, presets) -> bool | str:
        try:
            talk_plan.parse_presets(presets)
        except ValueError as error:
            return str(error)
        return size_verdict(size)

    @classmethod
    def execute(cls, turbo, size, presets, **given) -> io.NodeOutput:
        plan = talk_plan.plan(talk_plan.parse_presets(presets), turbo=turbo, size=size, **given)
        return io.NodeOutput(plan.steps, plan.text_guide_scale, plan.audio_guide_scale, plan.shift)


def override(name: str, what: str) -> io.Input:
    return io.Float.Input(
        name,
        default=0.0,
        min=0.0,
        max=100.0,
        step=0.1,
        round=False,
        tooltip=f"{what}; 0 takes the table's.",
    )
