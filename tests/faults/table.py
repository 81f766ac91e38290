"""Writes docs/faults.md from what the fault tests recorded: `make faults`."""

import json
from pathlib import Path

from faulty import HASTY

ROOT = Path(__file__).parents[2]

INTRO = f"""# Faults

What happens to a job when something breaks. Every line is a test in `tests/faults` against the real
ComfyUI 0.30.0, with nodes that misbehave and a proxy that breaks the connection; this file is
written from what the tests saw (`make faults`).

*succeeded* means: the job ended with its outputs, rendered again where the engine had to be started
anew. Everything else is the error's `code`. The seconds are the longest of all cases of a line, on
two CPU cores, where a start of ComfyUI takes 5 to 10 seconds; the tests wait {HASTY.silence:g} s for a silent
ComfyUI, the runner waits 40.

| what breaks | what the caller sees | after |
|---|---|---|
"""


def main() -> None:
    seen: dict[str, set[str]] = {}
    seconds: dict[str, float] = {}
    for file in (ROOT / "out").glob("faults-*.json"):
        for name, found in json.loads(file.read_text()).items():
            seen.setdefault(name, set()).update(found["seen"])
            seconds[name] = max(found["seconds"], seconds.get(name, 0.0))
    rows = [
        f"| {name} | {' or '.join(sorted(seen[name]))} | {seconds[name]:g} s |"
        for name in sorted(seen)
    ]
    (ROOT / "docs" / "faults.md").write_text(INTRO + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
