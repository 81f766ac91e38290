"""`callsheet edit`."""

import webbrowser
from contextlib import ExitStack
from typing import Annotated

import typer

from runner import settings
from runner import workflow as workflows
from runner.comfy.engine import LocalEngine
from runner.entrypoints import completion, console, editor
from runner.entrypoints.options import Rehearse


def edit(
    workflow: Annotated[
        str | None,
        typer.Argument(help="a workflow to open", autocompletion=completion.workflows),
    ] = None,
    rehearse: Rehearse = False,
    port: Annotated[int, typer.Option(help="port of the editor; 0 takes a free one")] = 8188,
    browse: Annotated[bool, typer.Option("--browse/--no-browse", help="open a browser")] = True,
) -> None:
    """The graph editor with the pack loaded and a workflow open.

    Ctrl-C ends it; what you have saved stays.

        # no GPU, no weights: everything but the picture is real
        callsheet edit ltx2-lipsync --rehearse
        # on a machine elsewhere
        callsheet edit --no-browse --port 8200
    """
    config = settings.from_environment()
    found = workflows.find(workflow, config.workflows) if workflow else None
    with ExitStack() as stack:
        with console.waiting("starting ComfyUI"):
            opened = editor.running(config, found, rehearse=rehearse, port=port)
            engine, url = stack.enter_context(opened)
        console.err.print(f"the editor is at [bold]{url}[/]", highlight=False, soft_wrap=True)
        console.err.print(f"what you save is in {config.home / 'editor'}; Ctrl-C ends it",
                          highlight=False, soft_wrap=True)  # fmt: skip
        if browse:
            webbrowser.open(url)
        try:
            assert isinstance(engine, LocalEngine)
            engine.process.wait()
        except KeyboardInterrupt:
            console.err.print("closing")
