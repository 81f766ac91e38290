"""Sound that drives a video."""

from comfy_api.latest import io

from ..ops import audio as sounds


class FitAudio(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetFitAudio",
            display_name="Fit audio to video",
            category="callsheet/audio",
            description="Cuts a part of a sound out, and makes of it what LTX-2's encoder needs "
            "to lose nothing of it and to leave no frame without sound.",
            search_aliases=["callsheet", "trim audio", "pad audio", "resample", "lip sync"],
            inputs=[
                io.Audio.Input("audio", tooltip="The sound; of a batch, the first."),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=86400.0,
                    step=0.1,
                    round=False,
                    tooltip="Where the part begins, in seconds.",
                ),
                io.Float.Input(
                    "duration",
                    default=0.0,
                    min=0.0,
                    max=86400.0,
                    step=0.1,
                    round=False,
                    tooltip="Length of the part, in seconds; 0 takes all from start to the end. "
                    "Where the sound ends before, so does the part.",
                ),
                io.Float.Input(
                    "fps",
                    default=30.0,
                    min=0.01,
                    max=240.0,
                    step=1.0,
                    tooltip="Of the video, in frames per second.",
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=100000,
                    tooltip="Frames that are generated; 0: those that the part needs at this fps, "
                    "rounded up to 8k+1, as LTX-2 plan does.",
                ),
            ],
            outputs=[
                io.Audio.Output(
                    display_name="encode",
                    tooltip="Into LTXV Audio VAE Encode: 44.1 kHz, silent behind its end.",
                ),
                io.Audio.Output(
                    display_name="source",
                    tooltip="Into Create Video: the part as it is, neither resampled nor padded.",
                ),
                io.Float.Output(
                    display_name="duration", tooltip="Of the part, in seconds; into LTX-2 plan."
                ),
            ],
        )

    # Async, although it waits for nothing: ComfyUI runs such nodes before it loads models.
    @classmethod
    async def execute(cls, audio, start, duration, fps, frames) -> io.NodeOutput:
        rate = audio["sample_rate"]
        part = sounds.trim(audio["waveform"][:1], rate=rate, start=start, duration=duration)
        encode = sounds.for_encoder(
            part,
            rate=rate,
            video_frames=frames or sounds.frames_for(part, rate=rate, fps=fps),
            fps=fps,
        )
        source, source_rate = sounds.for_track(part, rate=rate)
        return io.NodeOutput(
            {"waveform": encode, "sample_rate": sounds.ENCODER_RATE},
            {"waveform": source, "sample_rate": source_rate},
            part.shape[-1] / rate,
        )
