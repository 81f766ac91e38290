"""`callsheet models check | pull | verify`."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner import settings, volumes
from runner import workflow as workflows
from runner.entrypoints import completion
from runner.entrypoints.commanding import print_json
from runner.entrypoints.options import AsJson
from runner.settings import Settings

if TYPE_CHECKING:  # importing them takes longer than showing help
    from runner.modelfiles.finding import Found, Wanted
    from runner.modelfiles.sources import Access, Source

app = typer.Typer(
    help="The model files that workflows need: which are here, fetch the others, verify them.",
    no_args_is_help=True,
)

Workflows = Annotated[
    list[str],
    typer.Argument(
        metavar="WORKFLOW…",
        help="names, name@1, name@1.2.0 or .json files",
        autocompletion=completion.workflows,
    ),
]
AsItStands = Annotated[
    bool,
    typer.Option("--as-it-stands", help="without the files that only other choices would load"),
]
Offline = Annotated[bool, typer.Option("--offline", help="ask nobody for sizes and hashes")]
Parallel = Annotated[int, typer.Option(metavar="N", min=1, max=32, help="files at once")]


@app.command("check")
def check(
    workflow: Workflows,
    as_it_stands: AsItStands = False,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Which model files are here and where, which are missing, how large, and from where.

    Looks where ComfyUI would: the models folder, network volumes, the files of
    CALLSHEET_EXTRA_MODEL_PATHS, under other names that a workflow allows. Exit 1 if one is missing.

        callsheet models check wan-t2v ltx2-lipsync
        # what would have to be fetched, in bytes
        callsheet models check wan-t2v --json | jq '[.models[] | select(.state != "found").bytes] | add'
    """
    from runner.entrypoints import modelshow

    config = settings.from_environment()
    found = _found(config, workflow, as_it_stands)
    sources = _sources([] if offline else found, _access(config))
    good = all(one.state == "found" for one in found)
    if as_json:
        models = [modelshow.found_json(one, sources.get(one.model)) for one in found]
        print_json({"ok": good, "models": models})
    else:
        modelshow.show_found(found, sources)
    raise typer.Exit(0 if good else 1)


@app.command("pull")
def pull(
    workflow: Workflows,
    into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="a models folder; else the network volume's or our own"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say it, fetch nothing")] = False,
    as_it_stands: AsItStands = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="also files that are here, but have another sha256")
    ] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="also files whose sha256 nobody says")
    ] = False,
    parallel: Parallel = 4,
    as_json: AsJson = False,
) -> None:
    """Fetch the model files that are missing.

    Goes on where an earlier pull has ended, even one that was killed; a file appears when it is
    whole and its sha256 is right. Several may pull at once. HF_TOKEN is for gated repositories.

        # look first
        callsheet models pull wan-t2v --dry-run
        callsheet models pull wan-t2v
        # to a volume, before a machine with a GPU is rented
        callsheet models pull ltx2-lipsync --into /runpod-volume/models
    """
    from runner.entrypoints import console, modelshow
    from runner.modelfiles import hashing, pulling

    config = settings.from_environment()
    access, hashes = _access(config), hashing.Hashes(config.cache / "model-hashes")
    found = _found(config, workflow, as_it_stands, into)
    with console.waiting("asking for sizes and hashes"):
        known = hashing.verify(found, access=access, hashes=hashes) if replace else ()
        wrong = {one.found.model for one in known if one.state == "wrong"}
        target = into or config.pull_into or config.models
        planned = pulling.plan(
            found, into=target, access=access, wrong=wrong, unverified=unverified, parallel=parallel
        )
    if dry_run:
        good = not any(one.problem for one in planned)
        if as_json:
            left = sum(one.left for one in planned)
            models = [modelshow.planned_json(one) for one in planned]
            print_json({"ok": good, "bytes_left": left, "models": models})
        else:
            modelshow.show_plan(planned)
        raise typer.Exit(0 if good else 1)
    pulling.require_room(planned, config.min_free)
    sizes = {p.found.model.shown: p.source.size or 0 for p in planned if p.source}
    with modelshow.progress_of(sizes) as tell:
        pulled = pulling.pull(
            planned,
            access=access,
            hashes=hashes,
            see=lambda model, what, there, size: tell(model.shown, what, there, size),
            parallel=parallel,
        )
    good = not any(one.state == "failed" for one in pulled)
    if as_json:
        print_json({"ok": good, "models": [modelshow.pulled_json(one) for one in pulled]})
    else:
        modelshow.show_pulled(pulled)
    raise typer.Exit(0 if good else 1)


@app.command("verify")
def verify(
    workflow: Workflows,
    as_it_stands: AsItStands = False,
    offline: Offline = False,
    parallel: Parallel = 4,
    as_json: AsJson = False,
) -> None:
    """Whether the files that are here are the right ones, byte by byte.

    Each file's sha256 is compared with the workflow's, else with the hub's. It is remembered while
    a file's size and time of change stay the same. Exit 1 if one is missing or wrong.

        callsheet models verify wan-t2v
        # then mend what is wrong
        callsheet models pull wan-t2v --replace
    """
    from runner.entrypoints import modelshow
    from runner.modelfiles import hashing

    config = settings.from_environment()
    found = _found(config, workflow, as_it_stands)
    sizes = {one.model.shown: one.path.stat().st_size for one in found if one.path}
    with modelshow.progress_of(sizes) as tell:
        verdicts = hashing.verify(
            found,
            access=None if offline else _access(config),
            hashes=hashing.Hashes(config.cache / "model-hashes"),
            see=lambda one, there, size: tell(one.model.shown, "reading", there, size),
            parallel=parallel,
        )
    good = all(one.state in ("right", "unknown") for one in verdicts)
    if as_json:
        models = [modelshow.verdict_json(one) for one in verdicts]
        print_json({"ok": good, "models": models})
    else:
        modelshow.show_verdicts(verdicts)
    raise typer.Exit(0 if good else 1)


def _found(
    config: Settings, references: Sequence[str], as_it_stands: bool, into: Path | None = None
) -> "tuple[Found, ...]":
    from runner.modelfiles import finding

    named = [workflows.find(reference, config.workflows) for reference in references]
    needed = [m for m in finding.wanted(named) if not (as_it_stands and m.choice)]
    also = [into.absolute()] if into else []
    places = volumes.places(
        config.models, tuple(dict.fromkeys([*config.volumes, *also])), config.extra_model_paths
    )
    return finding.find(needed, places)


def _sources(found: "Sequence[Found]", access: "Access") -> "Mapping[Wanted, Source | str]":
    """Where each missing file comes from, or why it cannot."""
    from runner.modelfiles.faults import Unavailable
    from runner.modelfiles.sources import source_of

    def one(model: "Wanted") -> "Source | str":
        try:
            return source_of(model, access)
        except Unavailable as error:
            return error.reason

    missing = [one.model for one in found if one.state in ("missing", "broken")]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(missing, pool.map(one, missing), strict=True))


def _access(config: Settings) -> "Access":
    """The hub, or the mirror of HF_ENDPOINT, with HF_TOKEN or the token of `hf auth login`."""
    from runner.inputs.net import Allowed
    from runner.modelfiles.sources import HUB, Access, client

    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    return Access(endpoint, client().get_token(), Allowed.of(config.allow_hosts))
