"""`callsheet store`."""

from typing import Annotated

import typer

from runner import kept, settings
from runner.entrypoints import console
from runner.entrypoints.commanding import print_json
from runner.entrypoints.options import AsJson
from runner.errors import RequestError
from runner.kept import Kept
from runner.storage import Storage, open_storage


def store(
    job: Annotated[
        str | None, typer.Argument(metavar="JOB", help="a job's id, or the folder it is kept in")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="a folder, or gs|s3|supabase://bucket/path; else where "
                     "it was to go"),
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Send the outputs of a job that could not be stored. Nothing is rendered again.

    What is stored already is not sent twice; the same command again gives the result. Without JOB:
    which jobs wait.

        callsheet store
        callsheet store wan-t2v-20260131-235959-3f9a
        # the place it was to go to is gone
        callsheet store wan-t2v-20260131-235959-3f9a --to s3://videos/{job_id}
    """
    unstored = settings.from_environment().home / "unstored"
    if job is None:
        _list(kept.waiting(unstored), as_json=as_json)
        return
    found = kept.find(job, unstored)
    result = found.result
    if not found.done:
        with console.waiting(f"storing {len(found.pending)} outputs of {result.job_id}"):
            result = kept.send(found.folder, _opened(found, to))
    if as_json:
        print_json(result.to_dict())
    else:
        console.show_result(result)


def _opened(found: Kept, to: str | None) -> Storage:
    known = found.destination
    if to is not None:
        from runner.entrypoints.destination import destination
        from runner.job import Job
        from runner.workflow import Workflow

        name, _, version = found.result.workflow.rpartition("@")
        return destination(to, Workflow({}, None, name, version), Job(found.result.job_id, name))
    if known is None:
        raise RequestError("where it was to be stored is not known: say it with --to PLACE")
    return open_storage(known.to, fields=known.fields, overwrite=known.overwrite, sign=known.sign)


def _list(jobs: tuple[Kept, ...], *, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "job_id": one.result.job_id,
                    "folder": str(one.folder),
                    "files": len(one.pending),
                    "bytes": one.bytes,
                    "to": one.destination.to if one.destination else None,
                }
                for one in jobs
            ]
        )
        return
    for one in jobs:
        to = one.destination.to if one.destination else "a place that is not known"
        said = f"{one.result.job_id}  {len(one.pending)} files, {one.bytes / 1e6:.1f} MB, to {to}"
        console.out.print(said, markup=False, highlight=False, soft_wrap=True)
    if not jobs:
        console.out.print("no job waits to be stored")
