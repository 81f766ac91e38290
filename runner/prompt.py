"""A job's API prompt: the file converted once per engine, the job's values filled in."""

import json
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from runner import parameters
from runner.errors import WorkflowError
from runner.graph import browser_only_inputs, to_api
from runner.graph.primitives import REPLACES
from runner.graph.prune import ApiPrompt, drop_decided, with_values
from runner.request import Ready
from runner.workflow import Workflow


def of(ready: Ready, definitions: Mapping[str, Any]) -> ApiPrompt:
    """What ComfyUI is to run for a checked request.

    Raises WorkflowError if the file cannot be converted, or has nodes that only a browser can fill.
    """
    prompt = None if ready.literal else _fixed(ready.workflow, definitions)
    if prompt is None:
        prompt = _drawn(ready, definitions)
    else:
        prompt = parameters.fill(prompt, ready.parameters, ready.values)
    prompt = drop_decided(with_values(prompt), definitions)
    unfilled = browser_only_inputs(prompt, definitions)
    if unfilled:
        raise WorkflowError("\n".join(map(str, unfilled)))
    return prompt


def _drawn(ready: Ready, definitions: Mapping[str, Any]) -> ApiPrompt:
    # Dynamic prompts draw by the job's own seed, so that the same seed is the same video.
    drawn_by = [ready.values[name] for name in ready.seeds] or ready.job.id
    rng, now = random.Random(str(drawn_by)), datetime.now()  # noqa: S311
    return to_api(ready.document, definitions, rng=rng, now=now, literal=ready.literal)


@dataclass(frozen=True)
class _Converted:
    """A file's prompt with the file's own values; None if it is another for each job."""

    definitions: Mapping[str, Any]
    prompt: ApiPrompt | None


_converted: WeakKeyDictionary[Workflow, _Converted] = WeakKeyDictionary()
_lock = threading.Lock()


def _fixed(workflow: Workflow, definitions: Mapping[str, Any]) -> ApiPrompt | None:
    """The file's prompt, or None if chance or the date has a part in it."""
    with _lock:
        known = _converted.get(workflow)
        if known is None or known.definitions is not definitions:
            known = _Converted(definitions, _convert(workflow, definitions))
            _converted[workflow] = known
        return known.prompt


def _convert(workflow: Workflow, definitions: Mapping[str, Any]) -> ApiPrompt | None:
    dice = _Dice(0)
    prompt = to_api(workflow.document, definitions, rng=dice)
    # File names with dates do not count: every job's outputs get names of their own.
    dated = f'"{REPLACES}": true' in json.dumps(workflow.document)
    return None if dice.rolled or dated else prompt


class _Dice(random.Random):
    """Knows whether anything was drawn."""

    rolled = False

    def random(self) -> float:
        self.rolled = True
        return super().random()
