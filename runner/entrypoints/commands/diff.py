"""`callsheet diff`."""

import sys
from typing import Annotated

import typer

from runner import settings
from runner import workflow as workflows
from runner.comparison import compare
from runner.entrypoints import completion, review
from runner.entrypoints.commanding import failed, print_json
from runner.entrypoints.options import AsJson
from runner.errors import RunnerError


def diff(
    before: Annotated[
        str,
        typer.Argument(
            metavar="A", help="a reference or a .json file", autocompletion=completion.workflows
        ),
    ],
    after: Annotated[
        str,
        typer.Argument(
            metavar="B", help="what is compared with it", autocompletion=completion.workflows
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """What changed from A to B: contract first, then graph.

    Exit 0 if they are the same, 1 if they differ, 2 for trouble, as diff has it.

        # what a colleague has sent, against what is released
        callsheet diff wan-t2v ~/Downloads/wan-t2v.json
    """
    try:
        folders = settings.from_environment().workflows
        old, new = (workflows.find(reference, folders) for reference in (before, after))
        found = compare(old.document, new.document, sources=(before, after))
    except RunnerError as error:  # 1 is taken: it means different
        failed(error, sys.argv[1:], as_json=as_json)
        raise typer.Exit(2) from error
    if as_json:
        print_json({"before": before, "after": after, **found.to_dict()})
    else:
        review.show_comparison(
            found, before=before, after=after, identical=old.document == new.document
        )
    raise typer.Exit(0 if found.same else 1)
