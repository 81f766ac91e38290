"""`callsheet doctor`."""

import dataclasses

import typer

from runner import settings
from runner.entrypoints import console, health
from runner.entrypoints.commanding import print_json
from runner.entrypoints.options import AsJson


def doctor(as_json: AsJson = False) -> None:
    """What is installed, found and missing, and what to do.

    Ends with the next command to type. Exit 1 if nothing can run here as it is.

        callsheet doctor
        callsheet doctor --json | jq -r .next_steps[0].command
    """
    with console.waiting("looking"):
        found = health.examine(settings.from_environment())
    if as_json:
        print_json({"ok": not found.ill, **dataclasses.asdict(found)})
    else:
        console.show_health(found)
    if found.ill:
        raise typer.Exit(1)
