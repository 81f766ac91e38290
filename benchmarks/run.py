"""Measures what this project promises, side by side in one run: `make bench` writes benchmarks/report.md."""

import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from importlib import import_module
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from workbench import Figure

HERE = Path(__file__).parent
PARTS = ("startup", "coldstart", "overhead", "conversion", "memory", "pipelining")


def main(wanted: Sequence[str]) -> None:
    sys.path.insert(0, str(HERE / "parts"))
    figures: dict[str, list[Figure]] = {}
    for name in wanted or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            part = import_module(name)
            figures[(part.__doc__ or name).splitlines()[0]] = found = part.measure(Path(folder))
        for figure in found:
            print(f"{figure.name}: {_number(figure.value)} {figure.unit}", flush=True)
    if not wanted:
        _plot([f for part in figures.values() for f in part], HERE / "report.png")
        (HERE / "report.md").write_text(_report(figures))


def _report(figures: dict[str, list[Figure]]) -> str:
    lines = [
        "# Figures",
        "",
        f"Written by `make bench` on {date.today()}: {_machine()}. Times are medians; what is compared was "
        "measured in turn in the same run. Another machine gives other numbers: compare the ratios.",
        "",
        "![Each figure as a share of its target or beside what it is compared with](report.png)",
    ]
    for title, part in figures.items():
        lines += ["", f"## {title}", "", "| figure | measured | beside | ratio | target | met |",
                  "|---|---|---|---|---|---|"]  # fmt: skip
        lines += [_row(figure) for figure in part]
    return "\n".join([*lines, ""])


def _row(figure: Figure) -> str:
    other = f"{figure.beside}: {_number(figure.other)} {figure.unit}" if figure.other else ""
    ratio = f"{figure.ratio:.2f}" if figure.ratio else ""
    met = {True: "yes", False: "**no**", None: ""}[figure.met]
    value = f"{_number(figure.value)} {figure.unit}"
    return f"| {figure.name} | {value} | {other} | {ratio} | {figure.target} | {met} |"


def _number(value: float | None) -> str:
    return f"{value:.3g}" if value is not None else ""


def _machine() -> str:
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    return f"{model}, Python {platform.python_version()}, no GPU"


def _plot(figures: Sequence[Figure], target: Path) -> None:
    shown = [figure for figure in figures if figure.other]
    plot, axis = plt.subplots(figsize=(8, 0.9 * len(shown) + 1))
    for place, figure in enumerate(shown):
        axis.barh(place + 0.2, figure.value / figure.other, 0.38, color="#00897b")
        axis.barh(place - 0.2, 1, 0.38, color="#b0bec5")
        axis.text(figure.value / figure.other, place + 0.2,
                  f" {_number(figure.value)} {figure.unit}", va="center")  # fmt: skip
        axis.text(
            1, place - 0.2, f" {figure.beside}: {_number(figure.other)} {figure.unit}", va="center"
        )
    axis.set_yticks(range(len(shown)), [figure.name for figure in shown])
    axis.set_xlim(0, 1.6 * max(figure.value / figure.other for figure in shown))
    axis.set_xlabel("times what it is compared with")
    axis.spines[["top", "right"]].set_visible(False)
    plot.tight_layout()
    plot.savefig(target, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main(sys.argv[1:])
