"""Jobs for an hour, good and bad, on one engine: memory, handles, threads and processes stay flat.

`make soak`, or `python tests/faults/soak.py`; SOAK_MINUTES says how long. Writes out/soak.md.
"""

import dataclasses
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests

from runner import settings as runner_settings
from runner.comfy import engine as engines
from runner.comfy.engine import LocalEngine
from runner.comfy.remote import attached
from runner.entrypoints import setup
from runner.errors import RunnerError
from runner.job import Deadlines, Progress
from runner.jobs import Jobs
from runner.storage.local import LocalStorage

from faulty import asked, graph

HERE = Path(__file__).parent
SEED = 20261
EVERY = 5.0  # seconds between two samples, at most
SETTLED = 0.2  # of the time: caches fill, allocators find their size
GROWTH = {
    "RSS": 12.0,
    "handles": 1.0,
    "threads": 1.0,
    "children": 0.5,
}  # over the rest, at most; MB
FIGURES = tuple(GROWTH)


@dataclasses.dataclass(frozen=True)
class Sample:
    seconds: float
    jobs: int
    figures: dict[str, float]  # by "<whose> <what>"


def main() -> int:
    minutes = float(os.environ.get("SOAK_MINUTES", "60"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="callsheet-soak-")))
        engine = stack.enter_context(engines.running(_options(folder)))
        far = stack.enter_context(attached(engine.url, unstored=folder / "unstored"))
        samples, ended, strange = _soak(engine, far, LocalStorage(folder / "out"), minutes * 60)
        left = sorted(map(str, [*_left(engine), *_left(far)]))
    table, wrong = _table(samples), [*strange, *_growing(samples)]
    wrong += [f"{file} was left behind" for file in left[:10]]
    told = ", ".join(f"{count} {how}" for how, count in ended.most_common())
    report = f"{table}\n\n{samples[-1].jobs} jobs in {minutes:g} minutes: {told}\n"
    report += "\n".join(wrong) or "flat: after the first fifth nothing grows by more than it may"
    out = HERE.parents[1] / "out"
    out.mkdir(exist_ok=True)
    (out / "soak.md").write_text(report + "\n")
    print(report)
    return 1 if wrong else 0


def _options(folder: Path) -> engines.EngineOptions:
    found = dataclasses.replace(runner_settings.from_environment(), home=folder / "home", cpu=True)
    usual = setup.engine_options(found, rehearse=False)
    packs = [*usual.packs, HERE / "callsheet_faults"]
    return dataclasses.replace(usual, packs=packs, custom_nodes=())


def _soak(
    engine: LocalEngine, far: Any, storage: LocalStorage, seconds: float
) -> tuple[list[Sample], Counter[str], list[str]]:
    """The samples, how the jobs ended, and those that ended otherwise than they had to."""
    rng, jobs = random.Random(SEED), Jobs()
    began, samples, ended = time.monotonic(), list[Sample](), Counter[str]()
    shown, strange = 0, list[str]()
    while (now := time.monotonic() - began) < seconds:
        if not samples or now - samples[-1].seconds > min(EVERY, seconds / 100):
            samples.append(Sample(now, ended.total(), _figures(engine)))
        if int(10 * now / seconds) > shown:
            shown = int(10 * now / seconds)
            print(_row(samples[-1]), flush=True)
        number = ended.total()
        elsewhere = number % 20 == 0
        how, wrong = _one(jobs, far if elsewhere else engine, storage, rng, f"job-{number}")
        ended[how] += 1
        if wrong:
            strange.append(
                f"after {now / 60:.1f} min, {'elsewhere' if elsewhere else 'here'}: {wrong}"
            )
            print(strange[-1], flush=True)
        shutil.rmtree(storage.folder, ignore_errors=True)
        if elsewhere:
            _clear(engine)
    samples.append(Sample(seconds, ended.total(), _figures(engine)))
    return samples, ended, strange


def _one(
    jobs: Jobs, engine: Any, storage: LocalStorage, rng: random.Random, job: str
) -> tuple[str, str]:
    """How a job ended; what is wrong with that."""
    act = rng.choices(["sleep", "fail", "gpu_full", "cancel", "too long"], [80, 6, 4, 6, 4])[0]
    ends = {"fail": "execution_failed", "cancel": "canceled", "too long": "timed_out_total"}
    long = act in ("cancel", "too long")
    acts = [act, "nothing"] if act == "gpu_full" else ["sleep" if long else act]
    ready = asked(graph(*acts, seconds=30.0 if long else 0.05), job=job)
    timers: list[threading.Timer] = []

    def report(_: Progress) -> None:
        if act == "cancel" and not timers:
            timers.append(threading.Timer(0.1, lambda: jobs.cancel(job)))
            timers[0].start()

    limits = Deadlines(total=0.3) if act == "too long" else Deadlines(total=300)
    try:
        jobs.run(ready, engine=engine, storage=storage, report=report, deadlines=limits)
        how, said = "succeeded", ""
    except RunnerError as error:
        how, said = error.code, error.message
    for timer in timers:
        timer.join()
    wrong = how != ends.get(act, "succeeded")
    return how, f"{job} ({act}) ended as {how}: {said}" if wrong else ""


def _clear(engine: LocalEngine) -> None:
    """What the last job leaves in a ComfyUI elsewhere is not the runner's to remove."""
    shutil.rmtree(engine.output / "callsheet", ignore_errors=True)
    last = requests.get(f"{engine.url}/history?max_items=1", timeout=30).json()
    requests.post(f"{engine.url}/history", json={"delete": list(last)}, timeout=30)


def _figures(engine: LocalEngine) -> dict[str, float]:
    ours, comfy = psutil.Process(), psutil.Process(engine.process.pid)
    return {
        f"{whose} {name}": figure
        for whose, process in (("runner", ours), ("engine", comfy))
        for name, figure in (
            ("RSS", process.memory_info().rss / 1e6),
            ("handles", process.num_fds()),
            ("threads", process.num_threads()),
            ("children", len(process.children(recursive=True))),
        )
    }


def _left(engine: Any) -> list[Path]:
    folders = (engine.input, engine.output, engine.temp)
    found = [path for folder in folders for path in folder.rglob("*")]
    return [path for path in found if path.name not in ("callsheet", "3d")]  # 3d is ComfyUI's


def _settled(samples: Sequence[Sample]) -> list[Sample]:
    return [s for s in samples if s.seconds >= SETTLED * samples[-1].seconds]


def _slope(samples: Sequence[Sample], name: str) -> float:
    """Per second, by least squares."""
    times = np.array([s.seconds for s in samples])
    return float(np.polyfit(times, np.array([s.figures[name] for s in samples]), 1)[0])


def _growing(samples: Sequence[Sample]) -> list[str]:
    later = _settled(samples)
    span = later[-1].seconds - later[0].seconds
    grown = {name: _slope(later, name) * span for name in later[0].figures}
    return [
        f"NOT FLAT: {name} grows by {growth:.2f}, more than {GROWTH[name.split()[1]]:g}"
        for name, growth in grown.items()
        if growth > GROWTH[name.split()[1]]
    ]


def _row(sample: Sample) -> str:
    figures = " | ".join(
        f"{figure:.1f} MB" if name.endswith("RSS") else f"{figure:g}"
        for name, figure in sample.figures.items()
    )
    return f"| {sample.seconds / 60:.1f} min | {sample.jobs} | {figures} |"


def _table(samples: Sequence[Sample]) -> str:
    """A row for each tenth, and the slopes per hour after the first fifth."""
    last, names = samples[-1].seconds, list(samples[0].figures)
    rows = [min(samples, key=lambda s: abs(s.seconds - last * n / 10)) for n in range(11)]
    later = _settled(samples)
    slopes = " | ".join(f"{_slope(later, name) * 3600:+.2f}" for name in names)
    head = f"| time | jobs | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}"
    return "\n".join([head, *map(_row, rows), f"| slope per hour | | {slopes} |"])


if __name__ == "__main__":
    sys.exit(main())
