"""A job's request checked against its workflow: what can be without ComfyUI, then the rest. Pure."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from runner import appview, parameters
from runner.errors import InvalidParameters, Problem, WorkflowError
from runner.graph.editing import Setting, settings_of, with_settings
from runner.graph.soundness import require_sound
from runner.job import Job
from runner.parameters import MEDIA, Parameter
from runner.workflow import Document, Workflow, linear_data, output_names


@dataclass(frozen=True)
class Ready:
    """A checked request."""

    job: Job
    workflow: Workflow
    values: Mapping[str, Any]  # by parameter
    document: Document  # the workflow with the values written into it
    parameters: Sequence[Parameter]  # as the workflow's file has them
    # What only the node definitions can tell: App-view inputs, and single widgets as "Title.widget".
    pending: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seeds: Sequence[str] = ()  # the parameters that are seeds
    # Widgets of other packs' nodes that a caller names a file for, and what knows their places.
    media: Sequence[Parameter] = ()
    # Widgets of other packs' nodes that a caller has set: what they hold is never drawn from.
    literal: frozenset[tuple[str, str]] = frozenset()
    definitions: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def with_files(self, values: Mapping[str, Any]) -> "Ready":
        """The same request with other files for its parameters, by name."""
        own = [p for p in self.parameters if p.name in values]
        filled = parameters.fill(self.document, own, values)
        chosen = {(p.node_id, p.widget): values[p.name] for p in self.media if p.name in values}
        if chosen:
            filled = with_settings(filled, self.definitions, chosen)
        return dataclasses.replace(self, values={**self.values, **values}, document=filled)


def check(job: Job, workflow: Workflow) -> Ready:
    """Validate a request without ComfyUI.

    Raises InvalidParameters with every problem, or WorkflowError if the file is broken.
    """
    found = _declared(workflow)
    single = {name: value for name, value in job.params.items() if "." in name}
    if not found and linear_data(workflow.document).get("inputs"):
        return Ready(job, workflow, {}, workflow.document, found, pending=job.params)
    named = {name: value for name, value in job.params.items() if name not in single}
    values = parameters.validate(found, named)
    _require_fit(workflow, named)
    document = parameters.fill(workflow.document, found, values)
    return Ready(job, workflow, values, document, found, single, _seeds(found))


@lru_cache(maxsize=64)
def _declared(workflow: Workflow) -> Sequence[Parameter]:
    """A sound file's parameters: read once, however many jobs it has. Raises WorkflowError."""
    require_sound(workflow.document)
    _require_own_names(output_names(workflow.document))
    return parameters.read(workflow.document)


def _require_fit(workflow: Workflow, given: Mapping[str, Any]) -> None:
    """Raises WorkflowError if the file's own value stands in for one that is left out, and is none."""
    used = [p for p in _unfit(workflow) if given.get(p.parameter.partition("[")[0]) is None]
    if used:
        said = "; ".join(map(str, used))
        raise WorkflowError(f"the file breaks its own limits: {said}")


@lru_cache(maxsize=64)
def _unfit(workflow: Workflow) -> Sequence[Problem]:
    return parameters.unfit(_declared(workflow))


def _require_own_names(outputs: Sequence[str]) -> None:
    twice = sorted({name for name in outputs if outputs.count(name) > 1})
    if twice:
        raise WorkflowError(f"several outputs are called {', '.join(twice)}: the title is the name")


def complete(ready: Ready, object_info: Mapping[str, Any]) -> Ready:
    """Validate and fill in what had to wait for the node definitions.

    Raises InvalidParameters with every problem of it at once, or WorkflowError.
    """
    strangers = not ready.parameters
    if not ready.pending and not strangers:
        return ready
    inputs = appview.read(ready.document, object_info) if strangers else ()
    settings = settings_of(ready.document, object_info) if ready.pending else []
    single = {name: value for name, value in ready.pending.items() if "." in name}
    named = {name: value for name, value in ready.pending.items() if name not in single}
    problems: list[Problem] = []
    values = _validated(inputs, named, problems)
    # A null is "not given": the file has an empty value there, which stays.
    chosen: dict[tuple[str, str], Any] = {
        (p.node_id, p.widget): values[p.name]
        for p in inputs
        if values.get(p.name) is not None and values[p.name] != p.value
    }
    media = [p for p in inputs if p.kind in MEDIA and named.get(p.name) is not None]
    own_nodes = {p.node_id: p.name for p in ready.parameters}
    for name, value in single.items():
        setting = _find(name, settings, problems)
        if setting is not None and setting.node_id in own_nodes:
            problems.append(
                Problem(name, f"is the parameter {own_nodes[setting.node_id]}: give that")
            )
        elif setting is not None:
            parameter = appview.parameter_of(setting, name)
            own = _validated([parameter], {name: value}, problems)
            values |= own
            if own.get(name) is not None:
                chosen[setting.node_id, setting.widget] = own[name]
                media += [parameter] if parameter.kind in MEDIA else []
    if problems:
        raise InvalidParameters(problems)
    return dataclasses.replace(
        ready,
        values={**ready.values, **values},
        document=with_settings(ready.document, object_info, chosen),
        pending={},
        seeds=[*ready.seeds, *_seeds(inputs)],
        media=media,
        literal=frozenset(chosen),
        definitions=object_info,
    )


def _validated(
    found: Sequence[Parameter], given: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any]:
    """The values, or nothing and more problems. A text from the command line is read as its type."""
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    try:
        return parameters.validate(found, {**given, **parameters.from_text(found, texts)})
    except InvalidParameters as error:
        problems += error.problems
        return {}


def _find(name: str, settings: Sequence[Setting], problems: list[Problem]) -> Setting | None:
    """The widget that `Title.widget` or `id.widget` names."""
    by_id = [s for s in settings if name == f"{s.node_id}.{s.widget}"]
    by_title = [s for s in settings if name == f"{s.title}.{s.widget}"]
    found = by_id or by_title
    if by_id and by_id[0].shared:
        others = ", ".join(sorted(by_id[0].shared))
        everywhere = f"{by_id[0].title}.{by_id[0].widget}"
        problems.append(
            Problem(name, f"its subgraph is used again: {others} would change, too; "
                          f"write {everywhere} to set all, or make it an input of the subgraph")
        )  # fmt: skip
        return None
    if found and {s.node_id for s in found} <= {found[0].node_id, *found[0].shared}:
        return found[0]
    if found:
        ids = ", ".join(f"{s.node_id}.{s.widget}" for s in found)
        problems.append(Problem(name, f"{len(found)} nodes have this title; write {ids}"))
        return None
    known = [f"{s.title}.{s.widget}" for s in settings]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    problems.append(Problem(name, f"there is no such widget, or a link feeds it{hint}"))
    return None


def _seeds(found: Sequence[Parameter]) -> list[str]:
    return [p.name for p in found if p.kind == "seed"]
