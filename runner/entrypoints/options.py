"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from runner.entrypoints import completion

WorkflowArgument = Annotated[
    str,
    typer.Argument(
        metavar="WORKFLOW",
        help="name, name@1, name@1.2.0 or the path of a .json file",
        autocompletion=completion.workflows,
    ),
]
Rehearse = Annotated[
    bool,
    typer.Option("--rehearse", help="stand-in weights on the CPU: everything real but the picture"),
]
ObjectInfo = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="node definitions; else ComfyUI is started and asked"),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="one JSON document on stdout, all else on stderr")
]
