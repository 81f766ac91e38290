"""`callsheet release`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from runner import release as releases
from runner import settings
from runner import workflow as workflows
from runner.entrypoints import review
from runner.entrypoints.commanding import print_json
from runner.entrypoints.options import AsJson


def release(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a workflow as the editor saves it")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="the workflow it is")],
    version: Annotated[
        str | None, typer.Option(metavar="X.Y.Z", help="else computed from what has changed")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of workflows; else this checkout's")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say it, write nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Release a workflow file as the next version, computed from what changed.

    What breaks callers raises the first number, what is new for them the second, all else the third.

        # look first
        callsheet release wan-t2v.json --as wan-t2v --dry-run
        callsheet release wan-t2v.json --as wan-t2v
    """
    config = settings.from_environment()
    folder = into or config.workflows[-1]
    document = workflows.find(file, config.workflows).document
    folders = tuple(dict.fromkeys([folder, *config.workflows]))
    planned = releases.plan(document, name=name, folders=folders, version=version)
    today = datetime.now().date()
    path = None if dry_run else releases.write(planned, folder=folder, today=today)
    if as_json:
        print_json({**planned.to_dict(), "path": str(path) if path else None})
    else:
        review.show_release(planned, path=path, today=today)
