"""Prompts made from one conversion are those that converting each job's filled file gives."""

import random
from typing import Any

import pytest

from runner import parameters, settings
from runner import workflow as workflows
from runner.comfy.engine import Engine
from runner.graph import to_api
from runner.graph.prune import drop_decided, with_values
from runner.job import Job
from runner.parameters import Parameter
from runner.prompt import of
from runner.request import check
from runner.workflow import Workflow

RELEASED = list(workflows.released(settings.from_environment().workflows))
TEXTS = ["a kite", "{a|b} // c", "%date:yyyy% %Seed.value%", "", '["a", 1]', "\\{x\\}"]
FILES = {
    "image": "https://example.com/a.png",
    "audio": "https://example.com/a.wav",
    "video": "https://example.com/a.mp4",
    "keyframes": [{"image_url": "https://example.com/a.png", "strength": 0.5}],
    "speakers": [{"audio_url": "https://example.com/a.wav"}],
}


def value(parameter: Parameter, rng: random.Random) -> Any:
    """One that the parameter may have."""
    match parameter.kind:
        case "text":
            return rng.choice(TEXTS) or "x"
        case "boolean":
            return rng.random() < 0.5
        case "seed":
            return rng.randrange(2**32)
        case "choice":
            return rng.choice(parameter.choices)
        case "integer" | "number":
            limits = parameter.limits
            fitting = limits.get("enum") or [limits["minimum"], limits["maximum"]]
            return rng.choice(fitting)
        case kind:
            return FILES[kind]


@pytest.mark.parametrize("found", RELEASED, ids=lambda found: found.name)
def test_of_a_released_workflow(found: Workflow, engine: Engine) -> None:
    definitions, sizes = engine.comfy.object_info(), set[int]()
    for number in range(40):
        rng = random.Random(number)
        params = {
            p.name: value(p, rng)
            for p in parameters.read(found.document)
            if p.required or rng.random() < 0.7
        }
        ready = check(Job(f"j{number}", found.reference, params), found)
        converted = to_api(ready.document, definitions)
        prompt = of(ready, definitions)
        assert prompt == drop_decided(with_values(converted), definitions)
        sizes.add(len(prompt))
    assert len(sizes) > 1 or found.name in ("mochi-t2v",)  # branches were decided, too
