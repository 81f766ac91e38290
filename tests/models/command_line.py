"""`callsheet …` in this process: what it prints and its exit code."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.entrypoints import commanding
from runner.errors import RunnerError


@dataclass(frozen=True)
class Said:
    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class CommandLine:
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    environment: dict[str, str]
    folder: Path

    def __call__(self, *words: str, **more: str) -> Said:
        with self.patch.context() as patch:
            patch.chdir(self.folder)
            for name, value in {**self.environment, **more, "COLUMNS": "200"}.items():
                patch.setenv(name, value)
            self.capture.readouterr()
            code = self._code(words)
            return Said(code, *self.capture.readouterr())

    def _code(self, words: tuple[str, ...]) -> int:
        try:
            code = commanding.root().main(list(words), prog_name="callsheet", standalone_mode=False)
        except RunnerError as error:
            return commanding.failed(error, words, as_json="--json" in words)
        return code if isinstance(code, int) else 0
