"""From words to a command: loaded when it is used, its failures told and turned into an exit code."""

import inspect
import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Annotated, Any, NoReturn

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from runner.entrypoints import cli, completion, helping
from runner.errors import Canceled, RequestError, RunnerError


class Command(TyperCommand):
    """Shows its help as the list of commands is shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_help(self, ctx))


class Commands(TyperGroup):
    """The commands of one module, `callsheet models …`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(_help(self, ctx))


class Everything(TyperGroup):
    """All commands: known by name and first line until one is used."""

    def __init__(self, **given: Any) -> None:
        listed = {
            name: line for named in cli.COMMANDS.values() for name, (_, line) in named.items()
        }
        known: Any = {name: TyperCommand(name, help=line) for name, line in listed.items()}
        given["commands"] = known  # a `typer.Typer` without commands has none to give
        super().__init__(**given)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and name and load(name), rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        ctx.color = helping.coloured(sys.stdout)
        formatter.write(cli.overview(helping.width_of(sys.stdout), ctx.color))


def load(name: str) -> Any:
    """A command of the table.

    A module's `typer.Typer` is a command of commands. A function that takes nothing but the context
    gets all that follows its name, in `ctx.args`.
    """
    modules = {name: place for named in cli.COMMANDS.values() for name, (place, _) in named.items()}
    module, _, attribute = modules[name].partition(":")
    found: Any = getattr(import_module(f"runner.entrypoints.commands.{module}"), attribute)
    if isinstance(found, typer.Typer):
        app, found.info.cls, found.info.name = found, Commands, name
        for command in app.registered_commands:
            command.cls = Command
        return typer.main.get_group(app)
    app = typer.Typer(add_completion=False)
    takes_all = list(inspect.signature(found).parameters) == ["ctx"]
    lenient = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(name, cls=Command, context_settings=lenient if takes_all else None)(found)
    return typer.main.get_command(app)


def root() -> Any:
    """The command line as a whole."""
    app = typer.Typer(cls=Everything, pretty_exceptions_enable=False)
    app.callback(no_args_is_help=True, help=cli.SUMMARY)(_callsheet)
    return typer.main.get_command(app)


def run_command(words: Sequence[str]) -> NoReturn:
    """Run what the words say, or complete them, and exit. Raises what is a defect of ours."""
    completion.teach_bash_equals()
    completion.join_words(os.environ)
    as_json = "--json" in words
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the job and ComfyUI end with us
        signal.signal(number, signal.default_int_handler)
    try:
        code = root().main(list(words), prog_name=cli.PROGRAM, standalone_mode=False)
    except RunnerError as error:
        sys.exit(failed(error, words, as_json=as_json))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(failed(Canceled("canceled"), words, as_json=as_json))
    except BrokenPipeError:  # `callsheet list | head -1`
        sys.stdout = None
        sys.exit(0)
    except Exception as error:
        if not hasattr(error, "exit_code"):  # the parser's own errors have one
            raise
        sys.exit(_misused(error, as_json=as_json))
    sys.exit(code if isinstance(code, int) else 0)


def failed(error: RunnerError, words: Sequence[str], *, as_json: bool) -> int:
    """Tell an error; returns the exit code."""
    from runner.entrypoints import advice, console

    if as_json:
        _print_error(error)
    console.show_error(error, advice.after(error, words))
    if isinstance(error, Canceled):
        return 130
    return 2 if isinstance(error, RequestError) else 1


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _print_error(error: RunnerError) -> None:
    status = "canceled" if isinstance(error, Canceled) else "failed"
    print_json({"status": status, "error": error.to_dict()})


def _misused(error: Any, *, as_json: bool) -> int:
    """Tell what the parser does not take; returns the exit code."""
    from runner.entrypoints import console

    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error.format_message().rstrip()}\n")
        return 2
    said = RequestError(error.format_message())
    if as_json:
        _print_error(said)
    path = error.ctx.command_path if getattr(error, "ctx", None) else cli.PROGRAM
    console.show_error(said, f"{path} --help")
    return error.exit_code


def _say_version(asked: bool) -> None:
    if asked:
        print(f"{cli.PROGRAM} {metadata.version('callsheet')}")
        raise typer.Exit


def _callsheet(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """All that stands before a command's name."""


def _help(command: Any, ctx: Any) -> str:
    """A command's page. Its terminal is asked for width and colours."""
    ctx.color = helping.coloured(sys.stdout)
    arguments: list[helping.Row] = []
    options: list[helping.Row] = []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record and parameter.param_type_name == "argument":
            text = record[1].removesuffix("[required]").strip()
            arguments.append((_placeholder(parameter), text))
        elif record:
            options.append((record[0], "this page") if parameter.name == "help" else record)
    pieces = [_placeholder(p) if p.required else f"[{_placeholder(p)}]"
              for p in command.get_params(ctx) if p.param_type_name == "argument"]  # fmt: skip
    usage = " ".join((ctx.command_path, *pieces, "COMMAND …" if _under(command) else "[OPTIONS]"))
    sections = [("Arguments", arguments), ("Commands", _under(command)), ("Options", options)]
    width = helping.width_of(sys.stdout)
    return helping.page(usage, command.help or "", sections, width=width, colour=ctx.color)


def _placeholder(argument: Any) -> str:
    return argument.metavar or str(argument.name).upper()


def _under(command: Any) -> list[helping.Row]:
    """The commands of a command."""
    if not isinstance(command, TyperGroup):
        return []
    return [(name, found.get_short_help_str(200)) for name, found in command.commands.items()]
