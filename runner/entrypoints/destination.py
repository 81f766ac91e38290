"""Where `callsheet run --to` stores: a folder or a bucket, whose path may have fields."""

import string
from collections.abc import Mapping
from datetime import datetime

from runner.errors import RequestError
from runner.job import Job
from runner.storage import Storage, open_storage
from runner.workflow import Workflow


def destination(to: str, workflow: Workflow, job: Job) -> Storage:
    """The storage, opened but not asked. Raises RequestError, StorageError."""
    used = {n: value for n, value in _fields(workflow).items() if f"{{{n}}}" in to}
    return open_storage(place(to, workflow, job), fields=used if "://" in to else None)


def place(to: str, workflow: Workflow, job: Job) -> str:
    """A folder's path with its fields filled; a bucket's address as it is, to be filled there.

    Raises RequestError for a field that folders do not have.
    """
    if "://" in to:
        return to
    from runner.outputs import stem  # it knows media, which takes long to import

    return _filled(to, {**_fields(workflow), "job_id": stem(job.id)})


def _fields(workflow: Workflow) -> dict[str, str]:
    today = f"{datetime.now():%Y-%m-%d}"
    return {"workflow": workflow.name, "version": workflow.version, "date": today}


def _filled(folder: str, fields: Mapping[str, str]) -> str:
    try:
        named = [name for _, name, _, _ in string.Formatter().parse(folder) if name is not None]
    except ValueError as error:
        raise RequestError(f"--to {folder}: {error}; write fields like {{job_id}}") from error
    for name in named:
        if name not in fields:
            known = ", ".join(f"{{{field}}}" for field in fields)
            raise RequestError(f"--to {folder}: there is no field {{{name}}}; a folder has {known}")
    return folder.format(**fields)
