"""Pictures brought to the size of a video."""

from comfy_api.latest import io

from ..ops import image


class FitImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetFitImage",
            display_name="Fit image",
            category="callsheet/image",
            description="Brings pictures to exactly one size: with a border, cropped or stretched.",
            search_aliases=["callsheet", "resize", "letterbox", "pad", "crop", "scale"],
            inputs=[
                io.Image.Input("image", tooltip="One picture or a batch."),
                *size_inputs(),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The pictures at that size."),
                io.Int.Output(display_name="width", tooltip="Of the pictures, in pixels."),
                io.Int.Output(display_name="height", tooltip="Of the pictures, in pixels."),
            ],
        )

    @classmethod
    def execute(cls, image, width, height, method, multiple, background) -> io.NodeOutput:
        fitted = fit(image, width, height, method, multiple, background)
        return io.NodeOutput(fitted, fitted.shape[2], fitted.shape[1])


def size_inputs() -> list[io.Input]:
    return [
        io.Int.Input("width", default=1280, min=1, max=16384, tooltip="Wanted width, in pixels."),
        io.Int.Input("height", default=704, min=1, max=16384, tooltip="Wanted height, in pixels."),
        io.Combo.Input(
            "method",
            options=list(image.METHODS),
            default=image.CROP,
            tooltip="pad: all of the picture, with a border. crop: the middle of it, no border. "
            "stretch: all of it, distorted.",
        ),
        io.Int.Input(
            "multiple",
            default=1,
            min=1,
            max=1024,
            advanced=True,
            tooltip="Width and height are rounded down to a multiple of so many pixels; "
            "1 takes them as they are.",
        ),
        io.Combo.Input(
            "background",
            options=list(image.BACKGROUNDS),
            default="black",
            advanced=True,
            tooltip="Of the border that pad makes.",
        ),
    ]


def fit(pictures, width: int, height: int, method: str, multiple: int, background: str):
    return image.fit(
        pictures,
        width=image.on_grid(width, multiple=multiple),
        height=image.on_grid(height, multiple=multiple),
        method=method,
        background=image.BACKGROUNDS[background],
    )
