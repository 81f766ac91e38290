"""What to do when memory is full: the workflow's next thriftier way, or what a caller can change. Pure.

A workflow declares its ways as a Choice parameter named `memory`, from the fastest to the thriftiest.
"""

import dataclasses
from dataclasses import dataclass

from runner import parameters
from runner.errors import OutOfMemory
from runner.parameters import Parameter
from runner.request import Ready

LADDER = "memory"  # the name of that parameter
_COSTLY = ("width", "height", "num_frames", "duration", "resolution", "batch_size", "tile_size")


@dataclass(frozen=True)
class Step:
    """From one of the workflow's ways to the next thriftier one."""

    before: str
    after: str

    @property
    def note(self) -> str:
        return f"memory was full with {LADDER}={self.before}; rendered with {LADDER}={self.after}"


def step_down(ready: Ready) -> Step | None:
    """The next step, or None if the workflow declares none or is at the last."""
    ladder = _ladder(ready)
    if ladder is None:
        return None
    value, choices = str(ready.values[LADDER]), list(ladder.choices)
    left = choices[choices.index(value) + 1 :] if value in choices else []
    return Step(value, left[0]) if left else None


def stepped(ready: Ready, step: Step) -> Ready:
    """The request as it is rendered after the step."""
    values = {**ready.values, LADDER: step.after}
    document = parameters.fill(ready.document, ready.parameters, values)
    return dataclasses.replace(ready, values=values, document=document)


def explained(error: OutOfMemory, ready: Ready, *, tried: Step | None = None) -> OutOfMemory:
    """The same failure with what the caller can change; `tried` is the step that did not help."""
    ladder = _ladder(ready)
    advice = [
        f"{LADDER}={choice} takes less"
        for choice in (ladder.choices if ladder else ())[-1:]
        if choice != ready.values.get(LADDER)
    ]
    costly = [name for name in _COSTLY if name in ready.values]
    if costly:
        advice.append(f"smaller values of {', '.join(costly)} take less")
    memory = error.details.get("memory", "GPU")
    advice = advice or [f"a machine with more {memory} memory, or smaller pictures, may do"]
    ways = f" It was tried with {LADDER}={tried.before}, {LADDER}={tried.after}." if tried else ""
    return OutOfMemory(
        f"{memory} memory is full. {error.message}{ways}\nWhat helps: {'; '.join(advice)}.",
        details={**error.details, "advice": advice},
    )


def _ladder(ready: Ready) -> Parameter | None:
    found = (p for p in ready.parameters if p.name == LADDER)
    return next((p for p in found if p.kind == "choice" and LADDER in ready.values), None)
