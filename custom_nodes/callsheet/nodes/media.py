"""Parameter nodes for files: a picture, a sound, a video, and a list of keyframes."""

from collections.abc import Callable
from pathlib import Path

import folder_paths
from comfy_api.latest import InputImpl, io

from ..ops import keyframes, media
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
from .sockets import Keyframes

EMPTY_IS_NOT_GIVEN = 'Where it is not required, no file is "not given".'


def file_input(upload: io.UploadType, *contents: str, tooltip: str) -> io.Input:
    """Files of the input folder, and a button that uploads one; empty in a fresh node."""
    folder = Path(folder_paths.get_input_directory())
    folder.mkdir(parents=True, exist_ok=True)
    names = [entry.name for entry in folder.iterdir() if entry.is_file()]
    return io.Combo.Input(
        "value",
        options=["", *sorted(folder_paths.filter_files_content_types(names, list(contents)))],
        default="",
        upload=upload,
        image_folder=io.FolderType.input if upload == io.UploadType.image else None,
        tooltip=f"{tooltip} {EMPTY_IS_NOT_GIVEN}",
    )


def path_of(name: str) -> str:
    return folder_paths.get_annotated_filepath(name)


def file_problem(
    kind: str, name: str | None, look: Callable[[str], str | None], *, required: bool
) -> str | None:
    """A null, as a fresh node in an editor without our script may hold it, is no file."""
    if not name:
        return f"no {kind} is chosen" if required else None
    # A folder exists as well; a name that leads out of the input folder does not.
    if not folder_paths.exists_annotated_filepath(name) or not Path(path_of(name)).is_file():
        return f"no such {kind}: {name}"
    problem = look(path_of(name))
    return f"{name}: {problem}" if problem else None


def state(name: str | None) -> str:
    """Another one when the file is another one: the node then runs again."""
    if not name or not folder_paths.exists_annotated_filepath(name):
        return ""
    return ":".join(map(str, media.fingerprint(path_of(name))))


class Image(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetImage",
            display_name="Image (parameter)",
            category=CATEGORY,
            description="A picture that callers of this workflow may give: "
            "a file here, a URL for services.",
            search_aliases=[*ALIASES, "picture", "photo", "load image", "upload"],
            inputs=[
                file_input(io.UploadType.image, "image", tooltip="The picture to run with here."),
                *contract(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture, upright."),
                io.Mask.Output(display_name="mask", tooltip="1 where the picture is transparent."),
                given_output(),
            ],
        )

    @classmethod
    def validate_inputs(cls, value, name, required) -> bool | str:
        if value is None:  # linked: known in execution only
            return True
        return verdict(name, cls.problem(value, required))

    @classmethod
    def fingerprint_inputs(cls, value, **_) -> str:
        return state(value)

    @classmethod
    def execute(cls, value, name, description, required) -> io.NodeOutput:
        check(name, cls.problem(value, required))
        if not value:
            return io.NodeOutput(None, None, False)
        image, mask = media.load_picture(path_of(value))
        return io.NodeOutput(image, mask, True)

    @staticmethod
    def problem(value: str | None, required: bool) -> str | None:
        return file_problem("image", value, media.picture_problem, required=required)


class Audio(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetAudio",
            display_name="Audio (parameter)",
            category=CATEGORY,
            description="A sound that callers of this workflow may give: "
            "a file here (a video's sound as well), a URL for services.",
            search_aliases=[*ALIASES, "sound", "speech", "voice", "music", "load audio", "upload"],
            inputs=[
                file_input(
                    io.UploadType.audio,
                    "audio",
                    "video",
                    tooltip="The sound to run with here; of a video, its sound.",
                ),
                *contract(),
                number_limit(
                    "max_duration",
                    default=0.0,
                    least=0.0,
                    tooltip="Longest sound allowed, in seconds; 0 is no limit.",
                ),
            ],
            outputs=[
                io.Audio.Output(display_name="audio", tooltip="The sound."),
                io.Float.Output(
                    display_name="duration", tooltip="Its length, in seconds; 0 when not given."
                ),
                given_output(),
            ],
        )

    @classmethod
    def validate_inputs(cls, value, name, required, max_duration) -> bool | str:
        if value is None:  # linked: known in execution only
            return True
        return verdict(name, cls.problem(value, required, max_duration))

    @classmethod
    def fingerprint_inputs(cls, value, **_) -> str:
        return state(value)

    # Async, although it waits for nothing: ComfyUI runs such nodes before it loads models.
    @classmethod
    async def execute(cls, value, name, description, required, max_duration) -> io.NodeOutput:
        check(name, cls.problem(value, required, max_duration))
        if not value:
            return io.NodeOutput(None, 0.0, False)
        try:
            waveform, rate = media.load_sound(path_of(value), max_duration=max_duration)
        except ValueError as error:
            check(name, f"{value}: {error}")
            raise
        sound = {"waveform": waveform[None], "sample_rate": rate}
        return io.NodeOutput(sound, waveform.shape[-1] / rate, True)

    @staticmethod
    def problem(value: str | None, required: bool, max_duration: float) -> str | None:
        def look(path: str) -> str | None:
            return media.sound_problem(path, max_duration=max_duration)

        return file_problem("audio file", value, look, required=required)


class Video(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetVideo",
            display_name="Video (parameter)",
            category=CATEGORY,
            description="A video that callers of this workflow may give: "
            "a file here, a URL for services.",
            search_aliases=[*ALIASES, "movie", "clip", "load video", "upload"],
            inputs=[
                file_input(io.UploadType.video, "video", tooltip="The video to run with here."),
                *contract(),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The video, with its sound."),
                given_output(),
            ],
        )

    @classmethod
    def validate_inputs(cls, value, name, required) -> bool | str:
        if value is None:  # linked: known in execution only
            return True
        return verdict(name, cls.problem(value, required))

    @classmethod
    def fingerprint_inputs(cls, value, **_) -> str:
        return state(value)

    @classmethod
    def execute(cls, value, name, description, required) -> io.NodeOutput:
        check(name, cls.problem(value, required))
        if not value:
            return io.NodeOutput(None, False)
        return io.NodeOutput(InputImpl.VideoFromFile(path_of(value)), True)

    @staticmethod
    def problem(value: str | None, required: bool) -> str | None:
        return file_problem("video", value, media.video_problem, required=required)


class KeyframeList(io.ComfyNode):
    """Its value is a plain text for the server; the script shows it as a list by `columns`."""

    COLUMNS = (
        {"name": "image", "type": "image"},
        {
            "name": "position",
            "type": "place",
            "choices": [keyframes.FIRST, keyframes.LAST],
            "min": 0,
            "max": 1,
            "step": 0.05,
            "tooltip": "Where in the video: first, last, or 0 to 1 of its length. "
            "Empty: evenly between the rows before and after.",
        },
        {
            "name": "strength",
            "type": "number",
            "min": 0,
            "max": 1,
            "step": 0.05,
            "placeholders": [keyframes.FIRST_STRENGTH, keyframes.OTHER_STRENGTH],
            "tooltip": "How closely the video follows the picture, 0 to 1. "
            "Empty: 1 for the first row, 0.8 for the others.",
        },
    )

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetKeyframes",
            display_name="Keyframes (parameter)",
            category=CATEGORY,
            description="Pictures at places of the video, for callers of this workflow to give.",
            search_aliases=[*ALIASES, "keyframe", "images", "guides", "list", "first last frame"],
            inputs=[
                io.String.Input(
                    "value",
                    multiline=True,
                    default="[]",
                    extra_dict={"columns": [dict(column) for column in cls.COLUMNS]},
                    tooltip="The pictures to run with here. As text: "
                    '[{"image": "a.png", "position": "first", "strength": 1.0}, …]. '
                    'Where it is not required, an empty list is "not given".',
                ),
                *contract(),
                integer_limit("min_rows", default=1, least=0, tooltip="Fewest keyframes allowed."),
                integer_limit("max_rows", default=9, least=1, tooltip="Most keyframes allowed."),
            ],
            outputs=[
                Keyframes.Output(
                    display_name="keyframes",
                    tooltip="Pictures with position and strength; an empty list when not given.",
                ),
                io.Int.Output(display_name="count", tooltip="How many keyframes there are."),
                given_output(),
            ],
        )

    @classmethod
    def validate_inputs(cls, value, name, required, min_rows, max_rows) -> bool | str:
        if value is None:  # linked: known in execution only
            return True
        _, problems = cls.rows(value, required, min_rows, max_rows)
        return verdict(name, "; ".join(problems))

    @classmethod
    def fingerprint_inputs(cls, value, **_) -> str:
        rows, _ = keyframes.parse(value) if isinstance(value, str) else ([], [])
        return " ".join(state(row.image) for row in rows)

    # Async, although it waits for nothing: ComfyUI runs such nodes before it loads models.
    @classmethod
    async def execute(cls, value, name, description, required, min_rows, max_rows) -> io.NodeOutput:
        rows, problems = cls.rows(value or "", required, min_rows, max_rows)
        check(name, "; ".join(problems))
        loaded = [
            {
                "image": media.load_picture(path_of(row.image))[0],
                "position": row.position,
                "strength": row.strength,
            }
            for row in rows
        ]
        return io.NodeOutput(loaded, len(loaded), bool(loaded))

    @staticmethod
    def rows(
        value: str, required: bool, min_rows: int, max_rows: int
    ) -> tuple[list[keyframes.Row], list[str]]:
        return keyframes.parse(
            value,
            least=min_rows,
            most=max_rows,
            required=required,
            file_problem=lambda image: file_problem(
                "image", image, media.picture_problem, required=True
            ),
        )
