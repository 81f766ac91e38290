"""What people see in a terminal: progress, tables, errors. Results go to stdout, all else to stderr."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from runner.errors import InvalidParameters, Problem, RunnerError
from runner.job import Artifact, Progress, Report, Result

if TYPE_CHECKING:  # only named here: importing them takes longer than showing a list
    from runner.check import Finding
    from runner.entrypoints.health import Health
    from runner.models import Model
    from runner.parameters import Parameter
    from runner.workflow import Workflow

WIDEST = 110  # columns; longer lines are hard to read
NARROWEST = 45  # columns for sentences; shorter lines are hard to read

_MARKS: Mapping[bool | None, str] = {
    True: "[green]ok[/]",
    False: "[red]no[/]",
    None: "[dim]--[/]",
}

out = Console()
err = Console(stderr=True)


@contextmanager
def progress_shown(first: str = "starting ComfyUI") -> Generator[Report]:
    """One bar on a terminal, plain lines elsewhere."""
    if not err.is_terminal:
        lines = _Lines()
        lines(Progress(0.0, first))
        yield lines
        return
    with Bar(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[eta]}"),
        console=err,
        transient=True,
        expand=True,
    ) as bar:
        task = bar.add_task(first, total=1.0, eta="")

        def report(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.fraction,
                description=escape(_stage(progress)),
                eta=_eta(progress.eta),
            )

        yield report


class _Lines:
    """A line per stage and per tenth, for logs."""

    def __init__(self) -> None:
        self._said = ("", -1)

    def __call__(self, progress: Progress) -> None:
        now = (progress.stage, int(progress.fraction * 10))
        if now != self._said:
            self._said = now
            err.print(
                f"{progress.fraction:4.0%}  {_stage(progress)}", highlight=False, markup=False
            )


@contextmanager
def waiting(what: str) -> Generator[None]:
    """Says what takes so long: a line that moves on a terminal, a plain line elsewhere."""
    if not err.is_terminal:
        err.print(f"{what} …", highlight=False, markup=False)
        yield
        return
    with err.status(escape(what)):
        yield


def show_error(error: RunnerError, next_step: str | None = None) -> None:
    """The error, every line of it indented, and the command to type next."""
    err.print(f"[bold red]error[/] [dim]({error.code})[/]")
    if isinstance(error, InvalidParameters):
        said = [f"[bold]{escape(p.parameter)}[/]: {escape(p.message)}" for p in error.problems]
    else:
        said = escape(error.message).splitlines()
    for line in said:  # whole lines where a program reads them
        text = Text.from_markup(line)
        shown = Padding(text, (0, 0, 0, 2)) if err.is_terminal else Text("  ") + text
        err.print(shown, highlight=False, soft_wrap=not err.is_terminal)
    if next_step:
        err.print(Text.assemble(("  → ", "dim"), (next_step, "cyan")), soft_wrap=True)


def show_result(result: Result) -> None:
    for artifact in result.artifacts:
        out.print(f"[bold green]{escape(artifact.name)}[/]  {escape(artifact.location)}",
                  highlight=False, soft_wrap=True)  # fmt: skip
        out.print(f"  [dim]{_described(artifact)}[/]", highlight=False)
    seed = [f"seed {result.seed}"] if result.seed is not None else []
    times = [f"{stage} {seconds:.1f} s" for stage, seconds in result.timings.items()]
    for line in _flowed([result.workflow, *seed, *times], out.width - 2):
        _say(Text(line, "dim"), 2)
    for note in result.notes:
        out.print(Text.assemble(("  note  ", "yellow"), note), highlight=False, soft_wrap=True)
    if result.rehearsal:
        _say(Text("rehearsed on stand-in weights: all is real but the picture", "dim"), 2)


def show_note(said: str) -> None:
    err.print(Text.assemble(("note  ", "yellow"), said), soft_wrap=not err.is_terminal)


def show_path(what: str, path: Path) -> None:
    err.print(f"[bold]{what}[/]  {escape(str(path))}", highlight=False, soft_wrap=True)


def show_list(workflows: list[Workflow]) -> None:
    """A table; where it would be too narrow to read, what a workflow does stands below its name."""
    longest = max((len(w.reference) for w in workflows), default=0)
    if out.width - longest < NARROWEST:
        for workflow in workflows:
            out.print(Text(workflow.reference, "bold"), soft_wrap=True)
            out.print(Padding(Text(workflow.description), (0, 0, 0, 4)))
        return
    table = Table("workflow", "what it does", box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.columns[0].no_wrap = True
    for workflow in workflows:
        table.add_row(workflow.reference, Text(workflow.description))
    out.print(table, width=min(WIDEST, out.width))


def show_workflow(
    workflow: Workflow,
    parameters: tuple[Parameter, ...],
    outputs: tuple[str, ...],
    needed: tuple[Model, ...],
    packs: tuple[str, ...],
    *,
    unfit: tuple[Problem, ...] = (),
    example: str = "",
) -> None:
    """Everything a caller wants to know. `unfit`: what the file itself gives and its limits refuse."""
    _say(Text.assemble((workflow.reference, "bold"), f"  {workflow.description}"))
    for parameter in parameters:
        out.print()
        _show_parameter(parameter)
        for problem in unfit:
            if problem.parameter.partition("[")[0] == parameter.name:
                _say(Text(f"broken: {problem.message}", "red"), 6)
    out.print()
    _say(Text.assemble(("outputs", "bold"), f"  {', '.join(outputs) or _unnamed(workflow)}"))
    if needed:
        out.print("\n[bold]models[/]")
        for model in needed:  # a file's name stays whole
            out.print(Text(f"  {model.directory}/{model.name}"), soft_wrap=True)
    if packs:
        out.print(f"\n[bold]node packs[/]  {escape(', '.join(packs))}", highlight=False)
    if example:
        out.print("\n[bold]try it[/]")
        out.print(Text(example, "cyan"), soft_wrap=True)


def _show_parameter(parameter: Parameter) -> None:
    facts = [fact for fact in (parameter.kind, _limits(parameter), _default(parameter)) if fact]
    for number, line in enumerate(_flowed([parameter.name, *facts], out.width - 6)):
        text = Text(f"  {line}" if number == 0 else line, "dim")
        if number == 0:
            text.stylize("not dim bold", 2, 2 + len(parameter.name))
        text.highlight_regex(r"required$", "not dim yellow")
        _say(text, 0 if number == 0 else 6)
    if parameter.description:
        _say(Text(parameter.description), 6, width=WIDEST)


def _flowed(parts: list[str], width: int) -> list[str]:
    """The parts, as many to a line as fit whole. Pure."""
    lines = [parts[0]]
    for place, part in enumerate(parts[1:]):
        joined = f"{lines[-1]}{'  ' if place == 0 else '  ·  '}{part}"
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


def _say(text: Text, indent: int = 0, *, hanging: int = 0, width: int | None = None) -> None:
    """A paragraph; every line is indented, all but the first by `hanging` more. No blanks at the ends."""
    whole = min(width or out.width, out.width)
    for number, line in enumerate(text.wrap(out, max(whole - indent - hanging, 20))):
        line.rstrip()
        out.print(Text(" " * (indent + (hanging if number else 0))) + line, soft_wrap=True)


def _unnamed(workflow: Workflow) -> str:
    from runner.check import saves_something
    from runner.workflow import ADD_SAVING

    if saves_something(workflow.document):
        return "none named: each node that saves or shows something gives one"
    return f"none: nothing in it seems to save or show anything; {ADD_SAVING}"


def show_findings(workflow: Workflow, findings: tuple[Finding, ...], *, asked: str) -> None:
    """Each finding; missing model files together. `asked`: the workflow as it was named."""
    absent = [f for f in findings if f.kind == "missing_model" and f.error]
    for finding in findings:
        if finding in absent:
            continue
        mark = ("error  ", "red") if finding.error else ("warning", "yellow")
        where = f"{finding.node} (node {finding.node_id})" if finding.node_id else finding.node
        _say(Text.assemble(mark, "  ", (where, "bold"), f": {finding.message}"), hanging=9)
        _say(Text(f"→ {finding.fix}", "dim"), 9, hanging=2)
    if absent:
        names = list(
            dict.fromkeys(finding.message.removesuffix(" is not there") for finding in absent)
        )
        one = len(names) == 1
        there = f"{names[0]} is not there" if one else f"{len(names)} files are not there"
        _say(Text.assemble(("error  ", "red"), "  ", ("models", "bold"), f": {there}"), hanging=9)
        _say(Text(f"→ callsheet models check {shlex.quote(asked)} lists them; --rehearse does without",
                  "dim"), 9, hanging=2)  # fmt: skip
    warnings = sum(not finding.error for finding in findings)
    errors = len(findings) - warnings - len(absent) + bool(absent)  # those are one line
    counted = [_counted(n, word) for n, word in ((errors, "error"), (warnings, "warning")) if n]
    said = Text(", ".join(counted)) if counted else Text("fine", "green")
    # A file may hold a released version's name and be another by now.
    named = asked if asked.endswith(".json") else workflow.reference
    out.print(Text.assemble(f"{named}: ", said), soft_wrap=True)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def show_health(health: Health) -> None:
    """`doctor`'s findings, then each missing file once, then what to type."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for look in health.looks:
        table.add_row(_MARKS[look.good], look.what, escape(look.detail))
    out.print(table)
    if health.missing:
        out.print("\n[bold]missing models[/], under the workflows that name them")
        for users, entries in groupby(health.missing, key=lambda entry: entry.workflows):
            out.print(Text(f"  {', '.join(users)}"))
            for entry in entries:  # a file's name stays whole
                out.print(Text(f"    {entry.file}", "dim"), soft_wrap=True)
    if health.next_steps:
        out.print("\n[bold]next[/]")
        for step in health.next_steps:
            out.print(Text.assemble("  ", (step.command, "cyan")), soft_wrap=True)
            out.print(Text(f"      {step.why}", "dim"), soft_wrap=True)


def _stage(progress: Progress) -> str:
    many = progress.steps is not None and progress.steps > 1  # one of one says nothing
    steps = f"  step {progress.step}/{progress.steps}" if many else ""
    return f"{progress.stage}{steps}"


def _eta(seconds: float | None) -> str:
    return "" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"


def _described(artifact: Artifact) -> str:
    probe = artifact.probe
    parts: list[Any] = [probe.codec or probe.audio_codec or probe.kind]
    parts += [f"{probe.width}x{probe.height}"] if probe.width else []
    parts += [f"{probe.frames} frames at {probe.fps:g} fps"] if probe.frames and probe.fps else []
    parts += [f"{probe.duration:.2f} s"] if probe.duration else []
    parts += ["with sound"] if probe.has_audio and probe.kind == "video" else []
    return ", ".join(map(str, [*parts, f"{artifact.bytes / 1000:,.0f} kB"]))


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    if parameter.draws:
        return "drawn for each job"
    if parameter.default is None:
        return "by rule" if parameter.kind in ("integer", "number") else "optional"
    if isinstance(parameter.default, bool):
        return "default true" if parameter.default else "default false"
    text = " ".join(str(parameter.default).split())
    return f"default {text if cell_len(text) <= 40 else f'{set_cell_size(text, 39).rstrip()}…'}"


def _limits(parameter: Parameter) -> str:
    from runner.parameters import step_rule

    limits = parameter.limits
    if "enum" in limits:
        return " | ".join(map(str, limits["enum"]))
    if parameter.kind == "text":
        return f"up to {limits['maxLength']} characters" if "maxLength" in limits else ""
    if "maxItems" in limits:
        return f"{limits['minItems']} to {limits['maxItems']} {parameter.kind}"
    if "x-max-duration" in limits:
        return f"up to {limits['x-max-duration']:g} s"
    if parameter.kind in ("integer", "number"):
        rule = f", {step_rule(limits)}" if "x-step" in limits else ""
        return f"{limits['minimum']:g} … {limits['maximum']:g}{rule}"
    return ""
