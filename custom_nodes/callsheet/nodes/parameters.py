"""Parameter nodes: what a caller may set, with the value a designer runs with."""

from comfy_api.latest import io

from ..ops import limits
from .sockets import ComboOrString, IntOrFloat

CATEGORY = "callsheet/parameters"
ALIASES = ["parameter", "callsheet", "input", "primitive", "external"]
# Beyond it, JavaScript's numbers (the editor's, and most callers') lose digits.
SAFE_INTEGER = 2**53 - 1
LARGE = 1e9
ZERO_IS_NOT_GIVEN = 'Where it is not required and 0 is not allowed, 0 is "not given".'


def contract(*, required: bool = True) -> list[io.Input]:
    """The widgets every parameter has behind its value, in this order."""
    return [
        io.String.Input(
            "name",
            default="",
            socketless=True,
            advanced=True,
            tooltip="What callers write: -p name=value on the command line, a key in JSON. "
            "Small letters, digits and _; unique in the workflow.",
        ),
        io.String.Input(
            "description",
            default="",
            socketless=True,
            advanced=True,
            tooltip="One sentence for callers: what it does, and its unit. "
            "Shown in help and in API docs.",
        ),
        io.Boolean.Input(
            "required",
            default=required,
            socketless=True,
            advanced=True,
            tooltip="On: every caller has to give a value. "
            "Off: the value stored here is used when none is given.",
        ),
    ]


def integer_limit(name: str, *, default: int, tooltip: str, least: int = -SAFE_INTEGER) -> io.Input:
    return io.Int.Input(
        name,
        default=default,
        min=least,
        max=SAFE_INTEGER,
        socketless=True,
        advanced=True,
        tooltip=tooltip,
    )


def number_limit(name: str, *, default: float, tooltip: str, least: float = -LARGE) -> io.Input:
    return io.Float.Input(
        name,
        default=default,
        min=least,
        max=LARGE,
        step=0.01,
        round=False,
        socketless=True,
        advanced=True,
        tooltip=tooltip,
    )


def only_numbers() -> io.Input:
    """Optional: workflows were saved, and prompts are sent, without it."""
    return io.String.Input(
        "choices",
        default="",
        optional=True,
        socketless=True,
        advanced=True,
        tooltip="The only numbers allowed, as in 24, 25, 30; min, max and step do not count then. "
        "Empty: whatever those allow.",
    )


def given_output() -> io.Output:
    return io.Boolean.Output(
        display_name="given",
        tooltip="False when an optional parameter is left out; for a switch to another value.",
    )


def verdict(name: str, problem: str | None) -> bool | str:
    """As validate_inputs answers: True, or the sentence to show."""
    return f"{name or 'value'}: {problem}" if problem else True


def check(name: str, problem: str | None) -> None:
    """The same once more in execution: a value that arrives by link passed submission unseen."""
    if problem:
        raise ValueError(verdict(name, problem))


class Text(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetText",
            display_name="Text (parameter)",
            category=CATEGORY,
            description="A text that callers of this workflow may set.",
            search_aliases=[*ALIASES, "string", "prompt"],
            inputs=[
                io.String.Input(
                    "value",
                    multiline=True,
                    default="",
                    tooltip="The text to run with here. "
                    'Where it is not required, empty is "not given".',
                ),
                *contract(),
                integer_limit(
                    "min_length",
                    default=0,
                    least=0,
                    tooltip="Shortest text allowed, in characters.",
                ),
                integer_limit(
                    "max_length",
                    default=0,
                    least=0,
                    tooltip="Longest text allowed, in characters; 0 is no limit.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="value", tooltip="The text."),
                given_output(),
            ],
        )

    @classmethod
    def validate_inputs(cls, value, name, required, min_length, max_length) -> bool | str:
        if value is None:  # linked: known in execution only
            return True
        return verdict(name, cls.problem(value, required, min_length, max_length))

    @classmethod
    def execute(cls, value, name, description, required, min_length, max_length) -> io.NodeOutput:
        check(name, cls.problem(value, required, min_length, max_length))
        return io.NodeOutput(value, bool(value) or required)

    @staticmethod
    def problem(value: str, required: bool, min_length: int, max_length: int) -> str | None:
        return limits.text_problem(
            value, min_length=min_length, max_length=max_length, required=required
        )


class Integer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetInteger",
            display_name="Integer (parameter)",
            category=CATEGORY,
            description="A whole number that callers of this workflow may set. "
            "Feeds INT and FLOAT inputs.",
            search_aliases=[*ALIASES, "int", "number", "count", "width", "height"],
            inputs=[
                io.Int.Input(
                    "value",
                    default=0,
                    min=-SAFE_INTEGER,
                    max=SAFE_INTEGER,
                    tooltip="The number to run with here. " + ZERO_IS_NOT_GIVEN,
                ),
                *contract(),
                integer_limit(
                    "min", default=0, tooltip="Smallest value allowed; steps count from it."
                ),
                integer_limit("max", default=100, tooltip="Largest value allowed."),
                integer_limit(
                    "step",
                    default=1,
                    least=1,
                    tooltip="Allowed are min, min + step, min + 2·step, …; "
                    "min 1 and step 4: 1, 5, 9, …",
                ),
                only_numbers(),
            ],
            outputs=[
                IntOrFloat.Output(display_name="value", tooltip="The number; 0 when not given."),
                given_output(),
            ],
        )

    @classmethod
    def validate_inputs(cls, value, name, required, min, max, step, choices="") -> bool | str:
        if value is None:  # linked: known in execution only
            return True
        return verdict(name, cls.problem(value, required, min, max, step, choices))

    @classmethod
    def execute(
        cls, value, name, description, required, min, max, step, choices=""
    ) -> io.NodeOutput:
        check(name, cls.problem(value, required, min, max, step, choices))
        missing = limits.stands_for_not_given(
            value,
            minimum=min,
            maximum=max,
            required=required,
            choices=limits.whole_choices(choices),
        )
        return io.NodeOutput(value, not missing)

    @staticmethod
    def problem(
        value: int, required: bool, min: int, max: int, step: int, choices: str
    ) -> str | None:
        return limits.integer_problem(
            value, minimum=min, maximum=max, step=step, required=required, choices=choices
        )


class Number(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetNumber",
            display_name="Number (parameter)",
            category=CATEGORY,
            description="A number that callers of this workflow may set.",
            search_aliases=[*ALIASES, "float", "strength", "duration", "fps"],
            inputs=[
                io.Float.Input(
                    "value",
                    default=0.0,
                    min=-LARGE,
                    max=LARGE,
                    step=0.01,
                    round=False,
                    tooltip="The number to run with here. " + ZERO_IS_NOT_GIVEN,
                ),
                *contract(),
                number_limit(
                    "min", default=0.0, tooltip="Smallest value allowed; steps count from it."
                ),
                number_limit("max", default=100.0, tooltip="Largest value allowed."),
                number_limit(
                    "step",
                    default=0.0,
                    least=0.0,
                    tooltip="Allowed are min, min + step, min + 2·step, …; "
                    "0 allows every number between min and max.",
                ),
            ],
            outputs=[
                io.Float.Output(display_name="value", tooltip="The number; 0 when not given."),
                given_output(),
            ],
        )

    @classmethod
    def validate_inputs(cls, value, name, required, min, max, step) -> bool | str:
        if value is None:  # linked: known in execution only
            return True
        return verdict(name, cls.problem(value, required, min, max, step))

    @classmethod
    def execute(cls, value, name, description, required, min, max, step) -> io.NodeOutput:
        check(name, cls.problem(value, required, min, max, step))
        missing = limits.stands_for_not_given(value, minimum=min, maximum=max, required=required)
        return io.NodeOutput(float(value), not missing)

    @staticmethod
    def problem(value: float, required: bool, min: float, max: float, step: float) -> str | None:
        return limits.number_problem(value, minimum=min, maximum=max, step=step, required=required)


class Boolean(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetBoolean",
            display_name="Boolean (parameter)",
            category=CATEGORY,
            description="A switch that callers of this workflow may set.",
            search_aliases=[*ALIASES, "bool", "toggle", "switch", "flag"],
            inputs=[
                io.Boolean.Input("value", default=False, tooltip="On or off, to run with here."),
                *contract(),
            ],
            outputs=[io.Boolean.Output(display_name="value", tooltip="True when it is on.")],
        )

    @classmethod
    def execute(cls, value, name, description, required) -> io.NodeOutput:
        return io.NodeOutput(value)


class Choice(io.ComfyNode):
    """An instance has its own options, shown by the script; the schema's are a fresh node's."""

    FRESH = ("fast", "balanced", "quality")

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetChoice",
            display_name="Choice (parameter)",
            category=CATEGORY,
            description="One of several texts, for callers of this workflow to choose. "
            "Feeds combo and text inputs; its index feeds Pick by index.",
            search_aliases=[*ALIASES, "combo", "enum", "options", "preset", "select"],
            inputs=[
                io.Combo.Input(
                    "value",
                    options=list(cls.FRESH),
                    default=cls.FRESH[0],
                    tooltip="The choice to run with here.",
                ),
                *contract(),
                io.String.Input(
                    "choices",
                    multiline=True,
                    default="\n".join(cls.FRESH),
                    socketless=True,
                    advanced=True,
                    tooltip="What may be chosen: one per line.",
                ),
            ],
            outputs=[
                ComboOrString.Output(display_name="value", tooltip="The chosen text."),
                io.Int.Output(
                    display_name="index", tooltip="Its place among the choices; the first is 0."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, value, name, choices) -> bool | str:
        if value is None:  # linked: known in execution only
            return True
        return verdict(name, limits.choice_problem(value, choices=limits.parse_choices(choices)))

    @classmethod
    def execute(cls, value, name, description, required, choices) -> io.NodeOutput:
        offered = limits.parse_choices(choices)
        check(name, limits.choice_problem(value, choices=offered))
        return io.NodeOutput(value, offered.index(value))


class Seed(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CallsheetSeed",
            display_name="Seed (parameter)",
            category=CATEGORY,
            description="Where chance begins: the same seed and parameters make the same video. "
            "Set to randomize, a seed is drawn whenever a caller gives none.",
            search_aliases=[*ALIASES, "random", "noise"],
            inputs=[
                io.Int.Input(
                    "value",
                    default=0,
                    min=0,
                    max=SAFE_INTEGER,
                    control_after_generate=io.ControlAfterGenerate.randomize,
                    tooltip="The seed to run with here: 0 to 2^53 - 1.",
                ),
                *contract(required=False),
            ],
            outputs=[io.Int.Output(display_name="seed", tooltip="The seed.")],
        )

    @classmethod
    def execute(cls, value, name, description, required) -> io.NodeOutput:
        return io.NodeOutput(value)
