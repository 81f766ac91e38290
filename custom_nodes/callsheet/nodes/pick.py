"""One of several branches, or a branch or nothing; only what is needed runs."""

from comfy_api.latest import io

OPTIONS = [f"option{number}" for number in range(8)]


class Pick(io.ComfyNode):
    """Flat inputs and not Autogrow: those are never lazy, every branch would run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        template = io.MatchType.Template("any")
        return io.Schema(
            node_id="CallsheetPick",
            display_name="Pick by index",
            category="callsheet/video",
            description="Passes one of up to eight inputs on. Only what feeds that one is "
            "executed: other models are not even loaded.",
            search_aliases=["callsheet", "switch", "branch", "select", "lazy", "multiplexer"],
            inputs=[
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=len(OPTIONS) - 1,
                    tooltip="Which option: 0 is the first. Fits the index of a Choice.",
                ),
                *(
                    io.MatchType.Input(
                        option,
                        template=template,
                        lazy=True,
                        optional=True,
                        tooltip=f"Passed on, and executed, when index is {number}. "
                        "All options have one type.",
                    )
                    for number, option in enumerate(OPTIONS)
                ),
            ],
            outputs=[
                io.MatchType.Output(
                    template=template, display_name="picked", tooltip="The picked option, as it is."
                )
            ],
        )

    @classmethod
    def check_lazy_status(cls, index, **linked) -> list[str]:
        """`linked` holds the linked options only; None where one has not been executed yet."""
        return [picked(index, linked)]

    @classmethod
    def execute(cls, index, **linked) -> io.NodeOutput:
        return io.NodeOutput(linked[picked(index, linked)])


class OnlyIf(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        template = io.MatchType.Template("any")
        return io.Schema(
            node_id="CallsheetOnlyIf",
            display_name="Only if",
            category="callsheet/video",
            description="Passes its input on, or nothing, as if the next node's optional input "
            "were not linked. What feeds it runs only if it is passed on.",
            search_aliases=["callsheet", "switch", "gate", "optional", "lazy", "condition"],
            inputs=[
                io.Boolean.Input(
                    "enabled", default=True, tooltip="Off: nothing is passed on, nothing is run."
                ),
                io.MatchType.Input(
                    "passed",
                    template=template,
                    lazy=True,
                    tooltip="Passed on, and executed, when enabled is on.",
                ),
            ],
            outputs=[
                io.MatchType.Output(
                    template=template,
                    display_name="passed",
                    tooltip="The input as it is, or nothing: into optional inputs only.",
                )
            ],
        )

    @classmethod
    def check_lazy_status(cls, enabled, passed=None) -> list[str]:
        return ["passed"] if enabled else []

    @classmethod
    def execute(cls, enabled, passed=None) -> io.NodeOutput:
        return io.NodeOutput(passed if enabled else None)


def picked(index: int, linked: dict[str, object]) -> str:
    option = f"option{index}"
    if option not in linked:
        have = ", ".join(name.removeprefix("option") for name in OPTIONS if name in linked)
        raise ValueError(f"index: {index} picks nothing; linked are {have or 'none'}")
    return option
