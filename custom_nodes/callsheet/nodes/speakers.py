"""Speakers of a talking video: who they are, when each talks, where each is seen."""

from comfy_api.latest import io

from ..ops import media, regions, speakers
from .media import file_problem, path_of, state
from .parameters import (
    ALIASES,
    CATEGORY,
    check,
    contract,
    given_output,
    integer_limit,
    number_limit,
    verdict,
)
from .sockets import Speakers


class SpeakerList(io.ComfyNode):
    """Its value is a plain text for the server; the script shows it as a list by `columns`."""

    COLUMNS = (
        {"name": "audio", "type": "audio", "tooltip": "What this speaker says."},
        {
            "name": "bbox",
            "type": "box",
            "optional": True,
            "tooltip": "Where the speaker is seen: x, y, width, height in pixels of the picture, "
            "or as shares of it (none above 1). Empty: of two speakers, the first on the left "
            "half and the second on the right.",
        },
        {
            "name": "mask",
            "type": "image",
            "optional": True,
            "tooltip": "A picture that is white where the speaker is seen; counts before the box.",
        },
    )

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetSpeakers",
            display_name="Speakers (parameter)",
            category=CATEGORY,
            description="One or two people who talk, for callers of this workflow to give: "
            "what each says and, where wanted, where each is seen.",
            search_aliases=[*ALIASES, "speech", "voice", "multitalk", "talking", "bbox", "list"],
            inputs=[
                io.String.Input(
                    "value",
                    multiline=True,
                    default="[]",
                    extra_dict={"columns": [dict(column) for column in cls.COLUMNS]},
                    tooltip="The speakers to run with here. As text: "
                    '[{"audio": "a.wav", "bbox": [0, 0, 0.5, 1], "mask": "a.png"}, …]. '
                    'Where it is not required, an empty list is "not given".',
                ),
                *contract(),
                integer_limit("min_rows", default=1, least=0, tooltip="Fewest speakers allowed."),
                integer_limit(
                    "max_rows",
                    default=speakers.MOST,
                    least=1,
                    tooltip="Most speakers allowed: 1 or 2; the weights tell no more apart.",
                ),
                number_limit(
                    "max_duration",
                    default=0.0,
                    least=0.0,
                    tooltip="Longest sound of one speaker, in seconds; 0 is no limit.",
                ),
            ],
            outputs=speaker_outputs(),
        )

    @classmethod
    def validate_inputs(cls, value, name, required, min_rows, max_rows, max_duration) -> bool | str:
        if value is None:  # linked: known in execution only
            return True
        _, problems = cls.rows(value, required, min_rows, max_rows, max_duration)
        return verdict(name, "; ".join(problems))

    @classmethod
    def fingerprint_inputs(cls, value, **_) -> str:
        rows, _ = speakers.parse(value) if isinstance(value, str) else ([], [])
        return " ".join(state(file) for row in rows for file in (row.audio, row.mask))

    @classmethod
    def execute(
        cls, value, name, description, required, min_rows, max_rows, max_duration
    ) -> io.NodeOutput:
        rows, problems = cls.rows(value or "", required, min_rows, max_rows, max_duration)
        check(name, "; ".join(problems))
        loaded = [
            {
                "audio": load_sound(f"row {number}: {row.audio}", row.audio, name, max_duration),
                "bbox": row.bbox,
                "mask": media.load_white(path_of(row.mask)) if row.mask else None,
            }
            for number, row in enumerate(rows, start=1)
        ]
        return io.NodeOutput(loaded, len(loaded), bool(loaded))

    @staticmethod
    def rows(
        value: str, required: bool, min_rows: int, max_rows: int, max_duration: float
    ) -> tuple[list[speakers.Row], list[str]]:
        def sound_problem(path: str) -> str | None:
            return media.sound_problem(path, max_duration=max_duration)

        return speakers.parse(
            value,
            least=min_rows,
            most=max_rows,
            required=required,
            audio_problem=lambda file: file_problem(
                "audio file", file, sound_problem, required=True
            ),
            mask_problem=lambda file: file_problem(
                "image", file, media.picture_problem, required=True
            ),
        )


def speaker_outputs() -> list[io.Output]:
    return [
        Speakers.Output(
            display_name="speakers", tooltip="Into Arrange speakers; an empty list when not given."
        ),
        io.Int.Output(display_name="count", tooltip="How many speakers there are."),
        given_output(),
    ]


def load_sound(where: str, file: str, name: str, max_duration: float) -> dict:
    """As AUDIO. A header may lie about its length."""
    try:
        waveform, rate = media.load_sound(path_of(file), max_duration=max_duration)
    except ValueError as error:
        check(name, f"{where}: {error}")
        raise
    return {"waveform": waveform[None], "sample_rate": rate}


class ArrangeSpeakers(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetArrangeSpeakers",
            display_name="Arrange speakers",
            category="callsheet/audio",
            description="Lays the voices of one or two speakers over one video: one after the "
            "other, or at the same time. Makes them ready for the audio encoder; what is heard in "
            "the video stays as it was given.",
            search_aliases=["callsheet", "multitalk", "loudness", "LUFS", "add", "para", "voices"],
            inputs=[
                Speakers.Input("speakers", tooltip="Of a Speakers parameter: one or two."),
                io.Combo.Input(
                    "audio_mode",
                    options=list(speakers.MODES),
                    default=speakers.ADD,
                    tooltip="add: the second speaker begins when the first has ended. "
                    "para: both talk at the same time. No difference for one.",
                ),
                io.Boolean.Input(
                    "normalize",
                    default=True,
                    tooltip="On: each voice is brought to -23 LUFS (EBU R128) for the encoder.",
                ),
                io.Float.Input(
                    "max_duration",
                    default=600.0,
                    min=0.0,
                    max=86400.0,
                    step=1.0,
                    round=False,
                    advanced=True,
                    tooltip="Longest video allowed, in seconds; 0 is no limit.",
                ),
            ],
            outputs=[
                Speakers.Output(
                    display_name="speakers", tooltip="With voices and times; into Encode speech."
                ),
                io.Audio.Output(
                    display_name="soundtrack",
                    tooltip="What is heard: the sounds as given, one after the other or together.",
                ),
                io.Float.Output(display_name="duration", tooltip="Of the soundtrack, in seconds."),
                io.Int.Output(
                    display_name="frames", tooltip="Of the video at 25 fps: no sound is cut off."
                ),
            ],
        )

    @classmethod
    def execute(cls, speakers, audio_mode, normalize, max_duration) -> io.NodeOutput:
        return io.NodeOutput(*arranged(speakers, audio_mode, normalize, max_duration))


def arranged(given: list[dict], mode: str, normalize: bool, max_duration: float) -> tuple:
    found = speakers.arrange(
        [(one["audio"]["waveform"], one["audio"]["sample_rate"]) for one in given],
        mode=mode,
        normalize=normalize,
        max_duration=max_duration,
    )
    ready = [
        {
            **one,
            "voice": {"waveform": voice, "sample_rate": speakers.RATE},
            "starts": starts,
            "seconds": found.seconds,
        }
        for one, voice, starts in zip(given, found.voices, found.starts, strict=True)
    ]
    waveform, rate = found.soundtrack
    track = {"waveform": waveform, "sample_rate": rate}
    return ready, track, found.seconds, found.frames


class SpeakerMasks(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetSpeakerMasks",
            display_name="Speaker masks",
            category="callsheet/video",
            description="Where each speaker is seen in the video: from masks, boxes, or the left "
            "and right half, cropped as Fit start crops the picture.",
            search_aliases=["callsheet", "multitalk", "bbox", "region", "person", "background"],
            inputs=[
                Speakers.Input("speakers", tooltip="With boxes and masks; arranged or not."),
                io.Image.Input(
                    "image",
                    tooltip="The picture that boxes and masks belong to, uncropped: "
                    "source of Fit start.",
                ),
                size_input("width"),
                size_input("height"),
                io.MultiType.Input(
                    "background",
                    [io.Image, io.Mask],
                    optional=True,
                    tooltip="White where nobody speaks: a picture or a mask.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    display_name="masks",
                    tooltip="One for each speaker; of two speakers with a background, it is the "
                    "third. Into MultiTalk sampler.",
                )
            ],
        )

    @classmethod
    def execute(cls, speakers, image, width, height, background=None) -> io.NodeOutput:
        return io.NodeOutput(
            regions.regions(
                [regions.Place(one["bbox"], one["mask"]) for one in speakers],
                picture=(image.shape[2], image.shape[1]),
                width=width,
                height=height,
                background=None if background is None else brightness(background),
            )
        )


def size_input(name: str) -> io.Input:
    return io.Int.Input(
        name, default=640, min=16, max=16384, step=16, tooltip="Of the video, in pixels: Fit start."
    )


def brightness(given):
    """Of an IMAGE [n, height, width, channels] or a MASK [n, height, width], as a mask."""
    return media.brightness(given) if given.ndim == 4 else given
