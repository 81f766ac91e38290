"""The command line: `callsheet …`. Exit 0 done, 1 the job failed, 2 the request is wrong, 130 canceled.

Here stand only the commands' names. A command's module is imported when it is used, so that the
list of commands is there at once.
"""

import os
import sys

PROGRAM = "callsheet"
SUMMARY = "Run ComfyUI video workflows without the editor: one JSON file in, one video out."

# By purpose: name → module of `runner.entrypoints.commands` and what is in it, the first line of its help.
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Render": {
        "run": ("run:run", "Render a workflow and store what it saves."),
        "store": (
            "store:store",
            "Send the outputs of a job that could not be stored. Nothing is rendered again.",
        ),
    },
    "Look": {
        "list": ("list:list_", "The released workflows."),
        "show": ("show:show", "A workflow's parameters, outputs and models."),
        "schema": ("schema:schema", "The JSON Schema (draft 2020-12) of a workflow's parameters."),
        "check": ("check:check", "What is wrong with a workflow, without running it."),
        "diff": ("diff:diff", "What changed from A to B: contract first, then graph."),
    },
    "Make": {
        "edit": ("edit:edit", "The graph editor with the pack loaded and a workflow open."),
        "release": (
            "release:release",
            "Release a workflow file as the next version, computed from what changed.",
        ),
        "convert": ("convert:convert", "UI workflow → API prompt, as the editor's own export."),
    },
    "Operate": {
        "worker": (
            "worker:worker",
            "Serve requests behind RunPod, or as an API of this machine.",
        ),
        "bench": ("bench:app", "Measure this machine."),
        "doctor": ("doctor:doctor", "What is installed, found and missing, and what to do."),
        "models": (
            "models:app",
            "The model files that workflows need: which are here, fetch the others, verify them.",
        ),
    },
}
PASSING_ON = {"worker"}  # what these do not know is for somebody else
EXAMPLES = """\
callsheet list
callsheet show wan-t2v
callsheet run wan-t2v --rehearse -p prompt="a red kite" -p width=320 -p height=192 -p num_frames=17
"""
MORE = "callsheet COMMAND --help explains a command with examples."
OPTIONS = [
    ("--version", "the version of callsheet"),
    ("--install-completion", "completion of commands, workflows and parameters for this shell"),
    ("--show-completion", "the completion script, to copy or adapt"),
    ("--help", "this page"),
]


def main() -> None:
    """The entry point: turns every failure into a message and an exit code."""
    words = sys.argv[1:]
    if words in ([], ["--help"]) and f"_{PROGRAM.upper()}_COMPLETE" not in os.environ:
        from runner.entrypoints import helping  # what follows takes ten times as long to import

        helping.say(overview, sys.stdout if words else sys.stderr)
        sys.exit(0 if words else 2)
    from runner.entrypoints.commanding import run_command

    run_command(words)


def overview(width: int, colour: bool) -> str:
    """What `callsheet --help` says. Pure."""
    from runner.entrypoints import helping

    listed = [
        (purpose, [(name, line) for name, (_, line) in named.items()])
        for purpose, named in COMMANDS.items()
    ]
    return helping.page(
        f"{PROGRAM} COMMAND …",
        f"{SUMMARY}\n\n{_indented(EXAMPLES)}\n\n{MORE}",
        [*listed, ("Options", OPTIONS)],
        width=width,
        colour=colour,
    )


def _indented(lines: str) -> str:
    return "\n".join(f"    {line}" for line in lines.splitlines())


if __name__ == "__main__":
    main()
