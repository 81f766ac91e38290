"""The command line without ComfyUI: what it imports, says, completes and refuses."""

import ast
import dataclasses
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import parameters
from runner import workflow as workflows
from runner.check import Finding
from runner.entrypoints import (
    advice,
    cli,
    commanding,
    completion,
    console,
    health,
    helping,
    localfiles,
    rendering,
)
from runner.errors import (
    EngineUnavailable,
    InvalidParameters,
    Problem,
    RunnerError,
    StorageError,
    UnknownWorkflow,
    WorkflowError,
)
from runner.job import Result, Status

ROOT = Path(__file__).resolve().parents[2]
NAMES = [name for named in cli.COMMANDS.values() for name in named]
HEAVY = ("requests", "PIL", "av", "jsonschema", "numpy", "torch", "rich", "typer", "boto3",
         "huggingface_hub", "runner.comfy", "runner.settings")  # fmt: skip


def callsheet(*words: object, cwd: Path | None = None, **environment: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "runner.entrypoints.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


# --- the list of commands


@pytest.mark.parametrize("words", [["--help"], []])
def test_the_list_of_commands_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, runner.entrypoints.cli as cli\n"
        f"sys.argv = ['callsheet', *{words}]\n"
        "try: cli.main()\n"
        "except SystemExit: print('imported', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = done.stdout.rpartition("imported ")[2].split()
    assert "runner.entrypoints.helping" in imported
    assert [name for name in HEAVY if name in imported] == []
    ours = {name for name in imported if name.startswith("runner")}
    assert ours <= {"runner", "runner.entrypoints", "runner.entrypoints.cli",
                    "runner.entrypoints.helping"}  # fmt: skip


def test_every_command_s_line_is_its_own_first_line() -> None:
    for named in cli.COMMANDS.values():
        for name, (_, line) in named.items():
            help_ = commanding.load(name).help
            assert help_.partition("\n")[0] == line, name


def test_every_module_of_commands_is_listed() -> None:
    folder = Path(cli.__file__).parent / "commands"
    listed = {
        place.partition(":")[0] for named in cli.COMMANDS.values() for place, _ in named.values()
    }
    # `on` is no command: it is `run --on`.
    assert {file.stem for file in folder.glob("*.py")} - {"__init__", "on"} == listed


def test_without_a_command_the_list_is_shown_as_a_mistake() -> None:
    done = callsheet()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Render a workflow" in done.stderr
    assert callsheet("--help").stdout == done.stderr


def test_the_list_is_the_same_by_every_way() -> None:
    context = commanding.root().make_context("callsheet", ["--version"], resilient_parsing=True)
    assert context.command.get_help(context).strip() == cli.overview(80, False).strip()


def test_a_command_of_another_s_words_passes_them_on() -> None:
    worker = commanding.load("worker")
    words = ["--rp_serve_api", "--rp_api_port", "8000", "more"]
    assert worker.make_context("worker", list(words)).args == words


def test_a_command_of_commands_lists_them() -> None:
    done = callsheet("models")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == callsheet("models", "--help").stdout


def test_version() -> None:
    assert re.fullmatch(r"callsheet \d+\.\d+\.\d+\n", callsheet("--version").stdout)


# --- a command's help


def leaves(command: Any, *path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from leaves(below, *path, name)
    yield " ".join(path), command


EVERY = [leaf for name in NAMES for leaf in leaves(commanding.load(name), name)]


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_every_option_and_argument_says_what_it_is(path: str, command: Any) -> None:
    assert command.help
    silent = [p.name for p in command.params if not p.help]
    assert silent == []


def examples(command: Any) -> list[str]:
    lines = [line.strip() for line in command.help.splitlines() if line.startswith("    ")]
    return [line for line in lines if not line.startswith("#")]


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_every_command_has_examples_that_it_takes(path: str, command: Any) -> None:
    """A command of commands has none: those below it have."""
    found = [line for line in examples(command) if line.startswith("callsheet ")]
    assert found or hasattr(command, "commands")
    assert not found or any(line.startswith(f"callsheet {path}") for line in found)
    for line in found:
        _, *words = shlex.split(re.split(r" [|>] ", line)[0])
        shown = commanding.load(words.pop(0))
        while hasattr(shown, "commands"):
            shown = shown.commands[words.pop(0)]
        shown.make_context(line, words)  # raises for what it does not take


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize(("path", "command"), EVERY, ids=[path for path, _ in EVERY])
def test_help_is_as_wide_as_the_terminal(
    path: str, command: Any, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    context = command.make_context(f"callsheet {path}", [], resilient_parsing=True)
    page = command.get_help(context)
    for line in page.splitlines():
        # What cannot be broken is a single word: a path, an address, a quoted text.
        assert len(line) <= width or len(shlex.split(line.rstrip("\\"))) <= 2, line


def test_an_example_is_broken_as_a_shell_takes_it() -> None:
    line = 'callsheet run wan-t2v --rehearse -p prompt="a red kite over a harbour at dawn" --to out'
    page = helping.page("callsheet run", f"What it does.\n\n    {line}", [], width=40, colour=False)
    lines = page.partition("What it does.")[2].strip().splitlines()
    assert all(line.endswith(" \\") for line in lines[:-1])
    broken = " ".join(line.removesuffix("\\") for line in lines)
    assert shlex.split(broken) == shlex.split(line)
    assert "\n      -p prompt=" in page  # an option stays with its value


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    terminal: Any = Terminal()
    assert helping.coloured(terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not helping.coloured(terminal)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not helping.coloured(terminal)


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list"], ["show", "wan-t2v"],
                                   ["run", "nosuch"]])  # fmt: skip
def test_no_colour_is_no_escape(words: list[str]) -> None:
    done = callsheet(*words, NO_COLOR="1", FORCE_COLOR="")
    assert "\033" not in done.stdout + done.stderr


# --- completion


def completed(*words: str, cursor: int | None = None) -> list[str]:
    at = len(words) - 1 if cursor is None else cursor
    done = callsheet(
        _CALLSHEET_COMPLETE="complete_bash", COMP_WORDS="\n".join(words), COMP_CWORD=str(at)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_commands_are_completed_without_importing_one() -> None:
    assert completed("callsheet", "s") == [name for name in NAMES if name.startswith("s")]
    command = commanding.root()
    context = command.make_context("callsheet", [], resilient_parsing=True)
    before = set(sys.modules)
    offered = [item.value for item in command.shell_complete(context, "")]
    assert offered[: len(NAMES)] == NAMES
    assert set(sys.modules) == before


def test_workflows_and_options_are_completed() -> None:
    assert completed("callsheet", "show", "ltx2-k") == [
        "ltx2-keyframes-audio", "ltx2-keyframes-lipsync",
    ]  # fmt: skip
    assert completed("callsheet", "run", "wan-t2v", "--reh") == ["--rehearse"]


def test_parameters_are_completed_and_their_choices() -> None:
    names = completed("callsheet", "run", "wan-t2v", "-p", "")
    assert {"prompt=", "quality_preset=", "seed="} <= set(names)
    # As bash breaks the words.
    line = ["callsheet", "run", "wan-t2v", "-p", "quality_preset", "="]
    assert completed(*line) == [f"quality_preset={p}" for p in ("fast", "balanced", "quality")]
    assert completed(*line, "ba") == ["quality_preset=balanced"]
    assert completed(*line, "fast", "-p", "wi") == ["width="]
    assert completed("callsheet", "run", "nosuch", "-p", "") == []


def test_a_broken_line_is_put_together_only_at_the_cursor() -> None:
    words = {"COMP_WORDS": "callsheet\nrun\n-p\na\n=\n1\n-p\nb\n=\nx", "COMP_CWORD": "9"}
    completion.join_words(words)
    assert words["COMP_WORDS"].split("\n")[-1] == "b=x"
    assert words["COMP_CWORD"] == "7"
    before = {"COMP_WORDS": "callsheet\nrun\nwan", "COMP_CWORD": "2"}
    after = dict(before)
    completion.join_words(after)
    assert after == before


def test_bash_takes_the_completions() -> None:
    script = r"""
        eval "$(callsheet --show-completion bash)"
        COMP_WORDS=(callsheet run wan-t2v -p quality_preset = f); COMP_CWORD=6
        _callsheet_completion callsheet; echo "${COMPREPLY[@]}"
        COMP_WORDS=(callsheet run wan-t2v -p quali); COMP_CWORD=4
        _callsheet_completion callsheet; echo "${COMPREPLY[@]}"
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True,
                          env={**os.environ, "PATH": path, "SHELL": "/bin/bash"})  # fmt: skip
    assert done.stdout.splitlines() == ["fast", "quality_preset="], done.stderr


# --- mistakes


@pytest.mark.parametrize(
    ("words", "said", "next_step"),
    [
        (["rum"], "Did you mean 'run'?", "callsheet --help"),
        (["run"], "Missing argument", "callsheet run --help"),
        (["run", "wan-t2v", "--nosuch"], "No such option: --nosuch", "callsheet run --help"),
        (["run", "wan-t2v", "--timeout", "0"], "a number of seconds above 0", "run --help"),
        (["show", "nosuch"], "there is no workflow nosuch", "callsheet list"),
        (["run", "wan-t2v", "-p", "width=1"], "prompt: is required", "callsheet show wan-t2v"),
    ],
)
def test_a_mistake_exits_2_and_names_the_next_command(
    words: list[str], said: str, next_step: str
) -> None:
    done = callsheet(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.strip().splitlines()[-1].endswith(next_step)


@pytest.mark.parametrize("words", [["run", "--nosuch"], ["show", "nosuch"], ["rum"]])
def test_with_json_a_mistake_is_one_document(words: list[str]) -> None:
    done = callsheet(*words, "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize(
    ("error", "words", "command"),
    [
        (UnknownWorkflow("x"), "run nosuch", "callsheet list"),
        (InvalidParameters([Problem("a", "b")]), "run wan-t2v -p a=1", "callsheet show wan-t2v"),
        (InvalidParameters([Problem("a", "b")]), "run -p a=1 wan-t2v", None),
        (WorkflowError("x", details={"missing_models": [1]}), "run wan-t2v",
         "callsheet models pull wan-t2v"),
        (WorkflowError("x"), "run 'my file.json'", "callsheet check 'my file.json'"),
        (EngineUnavailable("x"), "run wan-t2v", "callsheet doctor"),
        (StorageError("x", details={"kept": "/data/job 1"}), "run wan-t2v",
         "callsheet store '/data/job 1'"),
        (RunnerError("x"), "run wan-t2v", None),
    ],
)  # fmt: skip
def test_what_to_type_after_an_error(error: RunnerError, words: str, command: str | None) -> None:
    assert advice.after(error, shlex.split(words)) == command


def test_advice_names_commands_that_exist() -> None:
    source = inspect.getsource(advice)
    texts = [node.value for node in ast.walk(ast.parse(source))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)]  # fmt: skip
    commands = {text.split()[1] for text in texts if text.startswith("callsheet ")}
    assert commands >= {"list", "show", "check", "doctor"}
    assert commands <= set(NAMES)


def test_every_line_of_an_error_is_indented(tmp_path: Path) -> None:
    for name in ("a.png", "b.wav"):
        assert not (tmp_path / name).exists()
    done = callsheet("run", "ltx2-lipsync", "-p", "image_url=a.png", "-p", "audio_url=b.wav",
                     "-p", "prompt=x", cwd=tmp_path)  # fmt: skip
    head, *lines = done.stderr.splitlines()
    assert head == "error (input_error)"
    assert len(lines) == 2
    assert all(line.startswith("  ") for line in lines)


def test_a_reader_who_leaves_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m runner.entrypoints.cli show wan-t2v | true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


# --- what a request names


def test_a_file_that_is_not_there_is_told_before_comfyui_starts(tmp_path: Path) -> None:
    request = {"prompt": "x", "keyframes": [{"image_url": "nosuch.png", "frame_position": "first"}],
               "audio_url": str(tmp_path)}  # fmt: skip
    (tmp_path / "request.json").write_text(json.dumps(request))
    done = callsheet("run", "ltx2-keyframes-lipsync", "--rehearse", "--params",
                     tmp_path / "request.json", "--json", COMFYUI_DIR=str(tmp_path))  # fmt: skip
    assert done.returncode == 2, done.stderr
    problems = json.loads(done.stdout)["error"]["details"]["problems"]
    told = {problem["parameter"]: problem["message"] for problem in problems}
    assert set(told) == {"keyframes[0].image_url", "audio_url"}
    assert "looked for" in told["keyframes[0].image_url"]
    assert "is a folder" in told["audio_url"]
    assert "starting ComfyUI" not in done.stderr


@pytest.mark.parametrize(
    "option", [["--rehearse"], ["--comfy", "http://x"], ["--stall-timeout", "9"]]
)
def test_an_endpoint_has_its_own_engine(option: list[str]) -> None:
    done = callsheet("run", "wan-t2v", "-p", "prompt=x", "--on", "runpod://abc", *option)
    assert done.returncode == 2
    assert f"{option[0]} is for this machine: it does not go with --on" in done.stderr


def test_paths_in_a_request_count_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "request"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    found = workflows.find("ltx2-keyframes-lipsync", [Path("workflows")])
    read = parameters.read(found.document)
    rows = [{"image_url": source, "frame_position": "first"}
            for source in ("a.png", "b.png", "https://example.com/a.png", "/a.png")]  # fmt: skip
    given = {"keyframes": [*rows, "no row"], "audio_url": "a.png", "prompt": "a.png"}
    placed = localfiles.beside(folder, read, given)
    sources = [row["image_url"] for row in placed["keyframes"][:4]]
    assert sources == [str(folder / "a.png"), "b.png", "https://example.com/a.png", "/a.png"]
    assert placed["keyframes"][4] == "no row"
    assert placed["audio_url"] == str(folder / "a.png")
    assert placed["prompt"] == "a.png"


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("out/{nosuch}", "there is no field {nosuch}; a folder has {workflow}"),
        ("out/{", "write fields like {job_id}"),
        ("s3://bucket/{nosuch}/x", "there is no field {nosuch}"),
        ("ftp://x", "ftp://…: outputs cannot be stored there"),
    ],
)
def test_a_wrong_place_is_told_before_comfyui_starts(to: str, said: str, tmp_path: Path) -> None:
    done = callsheet("run", "wan-t2v", "-p", "prompt=x", "--to", to, COMFYUI_DIR=str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_a_folder_s_fields_are_filled(tmp_path: Path) -> None:
    callsheet("run", "wan-t2v", "-p", "prompt=x", "--job-id", "j 1", "--to",
              tmp_path / "{workflow}" / "{version}" / "{job_id}", COMFYUI_DIR=str(tmp_path))  # fmt: skip
    (made,) = (tmp_path / "wan-t2v" / "1.0.0").iterdir()
    assert made.name.startswith("j-1")


# --- convert


def test_converting_writes_no_file_twice(tmp_path: Path) -> None:
    """Released files are all called like 1.0.0.json: they are told apart by what they are."""
    definitions = tmp_path / "nodes.json"
    definitions.write_text("{}")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.0.0.json").write_text('{"nodes": [], "links": []}')
    files = [tmp_path / "a" / "1.0.0.json", tmp_path / "b" / "1.0.0.json"]
    done = callsheet("convert", *files, "--to", tmp_path / "out", "--object-info", definitions)
    assert done.returncode == 0, done.stderr
    assert {f.name for f in (tmp_path / "out").iterdir()} == {
        "a@1.0.0.api.json",
        "b@1.0.0.api.json",
    }
    done = callsheet("convert", files[0], files[0], "--to", tmp_path / "twice",
                     "--object-info", definitions)  # fmt: skip
    assert done.returncode == 2
    assert "would all become a@1.0.0.api.json" in done.stderr
    assert not (tmp_path / "twice").exists()


def test_convert_takes_references(tmp_path: Path) -> None:
    definitions = tmp_path / "nodes.json"
    definitions.write_text("{}")
    done = callsheet("convert", "nosuch", "--object-info", definitions)
    assert done.returncode == 2
    assert "wan-t2v@1.0.0" in done.stderr
    # ComfyUI's definitions are not there: it is found, and it does not fit.
    done = callsheet("convert", "wan-t2v", "--object-info", definitions)
    assert "there is no" not in done.stderr


# --- documents


def test_show_as_json_has_all_that_it_shows() -> None:
    said = json.loads(callsheet("show", "wan-t2v", "--json").stdout)
    assert (said["name"], said["version"], said["outputs"]) == ("wan-t2v", "1.0.0", ["video"])
    assert said["parameters"]["required"] == ["prompt"]
    assert {model["directory"] for model in said["models"]} >= {"vae", "loras"}


@pytest.mark.parametrize("width", [60, 80])
def test_tables_fit_narrow_terminals(width: int) -> None:
    for words in (["list"], ["show", "ltx2-keyframes-lipsync"]):
        done = callsheet(*words, COLUMNS=str(width))
        long = [line for line in done.stdout.splitlines() if len(line.rstrip()) > width]
        # A file's name stays whole, and so does a value to copy.
        assert all(len(line.split()) == 1 or line.startswith("    -p ") for line in long), long


def test_findings_hang_below_their_first_line_and_missing_models_are_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = workflows.find("wan-t2v", [ROOT / "workflows"])
    absent = [Finding("missing_model", "Load", str(n), f"{n}.safetensors is not there", "get it")
              for n in range(3)]  # fmt: skip
    long = Finding("limits", "Size", "7", "allows far too much " * 8, "narrow its min " * 8)
    console.out.width = 80
    try:
        console.show_findings(found, (long, *absent), asked="wan-t2v")
    finally:
        console.out.width = None  # type: ignore[assignment]
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(" " * 9) for line in lines[1:5]), lines
    assert sum("3 files are not there" in line for line in lines) == 1
    assert any("callsheet models check wan-t2v" in line for line in lines)
    assert lines[-1].endswith(": 2 errors")


def test_the_times_of_a_result_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    stages = {f"stage{n}": 10.0 + n for n in range(12)}
    result = Result("j", Status.SUCCEEDED, "wan-t2v@1.0.0", (), {}, 123456789, stages)
    console.show_result(result)
    said = capsys.readouterr().out
    assert all(f"{name} {seconds:.1f} s" in said for name, seconds in stages.items()), said
    assert len(said.splitlines()) > 1


def test_show_says_which_sizes_are_taken_and_how_to_begin(tmp_path: Path) -> None:
    said = callsheet("show", "wan-t2v", COLUMNS="80").stdout
    assert "64 … 1920, a multiple of 16" in said and "5 … 241, 4k+1" in said
    assert "callsheet run wan-t2v" in said and "-p prompt=" in said
    assert not [line for line in said.splitlines() if line != line.rstrip()]

    bad = json.loads((ROOT / "workflows/wan-t2v/1.0.0.json").read_text())
    (fps,) = [
        n for n in bad["nodes"] if n["type"] == "CallsheetInteger" and "fps" in n["widgets_values"]
    ]
    fps["widgets_values"][0] = 500
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    assert (
        "its default 500 is not between 8 and 30" in callsheet("show", tmp_path / "bad.json").stdout
    )
    run = callsheet("run", tmp_path / "bad.json", "-p", "prompt=x", "--rehearse", cwd=tmp_path)
    assert run.returncode == 1 and "its default 500 is not between" in run.stderr
    assert "ComfyUI" not in run.stderr, "nothing is started for it"

    (tmp_path / "api.json").write_text('{"1": {"class_type": "EmptyImage", "inputs": {}}}')
    assert "add a node that" in callsheet("show", tmp_path / "api.json").stdout


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({"width": 1280, "height": 720, "num_frames": 81}, True),
        ({"width": 1280, "height": 720, "duration": 5.0, "fps": 16, "num_frames": None}, True),
        ({"width": 320, "height": 192, "num_frames": 17}, False),
        ({"prompt": "x"}, False),
    ],
)
def test_a_rehearsal_as_large_as_a_render_is_told_to_be_slow(
    values: dict[str, Any], warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    rendering.warn_if_slow(values)
    assert ("minutes on a CPU" in capsys.readouterr().err) is warned


def test_a_tab_pulls_in_no_http() -> None:
    code = "import sys, runner.settings, runner.parameters; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"requests", "websocket", "jsonschema"} & set(loaded)


# --- doctor


def settings_with(tmp_path: Path, **own: Any) -> Any:
    from runner import settings

    places = {"CALLSHEET_HOME": str(tmp_path), "CALLSHEET_CACHE": str(tmp_path)}
    return dataclasses.replace(settings.from_environment(places), **own)


def test_doctor_names_each_missing_file_once(tmp_path: Path) -> None:
    found = health.examine(settings_with(tmp_path))
    files = [entry.file for entry in found.missing]
    assert len(files) == len(set(files))
    shared = {entry.file: entry.workflows for entry in found.missing}
    assert shared["vae/wan_2.1_vae.safetensors"] == ("multitalk", "wan-t2v")
    (vae,) = [entry for entry in found.missing if entry.file == "vae/wan_2.1_vae.safetensors"]
    (tmp_path / "models" / "vae").mkdir(parents=True)
    file = tmp_path / "models" / vae.file
    file.touch()  # it is there, but cut off
    assert vae in health.examine(settings_with(tmp_path)).missing
    file.write_bytes((2).to_bytes(8, "little") + b"{}")
    assert vae not in health.examine(settings_with(tmp_path)).missing


def test_doctor_says_what_to_type(tmp_path: Path) -> None:
    (step, *_) = health.examine(settings_with(tmp_path)).next_steps
    words = shlex.split(step.command)
    assert words[:2] == ["callsheet", "run"] or words[1:3] == ["models", "pull"]
    done = callsheet("doctor", COMFYUI_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout.rpartition("next")[2].split()[:2] == ["make", "setup"]
    said = json.loads(callsheet("doctor", "--json", COMFYUI_DIR=str(tmp_path)).stdout)
    assert said["ok"] is False
    assert said["next_steps"][0]["command"] == "make setup"


@pytest.mark.parametrize("gpu", [True, False])
def test_what_doctor_advises(gpu: bool, tmp_path: Path) -> None:
    (easy,) = [w for w in workflows.released([Path("workflows")]) if w.name == "wan-t2v"]
    lacking = health.Missing("vae/x", ("wan-t2v",))
    commands = [
        [step.command for step in health.next_steps([], [easy], missing, gpu=gpu)]
        for missing in ([lacking], [])
    ]
    rehearsed = 'callsheet run wan-t2v --rehearse -p prompt="a red kite"'
    rendered = 'callsheet run wan-t2v -p prompt="a red kite"'
    pulled = "callsheet models pull wan-t2v"
    assert commands == ([[pulled, rehearsed], [rendered, rehearsed]] if gpu else [[rehearsed]] * 2)
    ill = health.Look(False, "torch", "not installed", "pip install 'callsheet[comfy]'")
    (step,) = health.next_steps([ill], [easy], [], gpu=gpu)
    assert step.command == ill.fix


def test_a_missing_file_s_name_is_not_broken() -> None:
    shown = callsheet("doctor", COLUMNS="60").stdout
    names = re.findall(r"^    (\S+)$", shown, re.MULTILINE)
    assert max(map(len, names)) > 60 - 4
    assert all("/" in name and name.endswith((".safetensors", ".pth")) for name in names)
