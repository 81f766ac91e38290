"""What `callsheet edit` makes of the released workflows."""

import shutil
from pathlib import Path

import pytest

from runner import settings
from runner.entrypoints import editor


def test_a_broken_file_is_told_and_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [ours] = settings.from_environment().workflows
    shutil.copytree(ours / "wan-t2v", tmp_path / "wan-t2v")
    for name, text in {"half": '{"nodes": [', "list": "[]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.0.0.json").write_text(text)

    assert [found.name for found in editor.readable([tmp_path])] == ["wan-t2v"]
    said = capsys.readouterr().err
    assert str(tmp_path / "half" / "1.0.0.json") in said
    assert str(tmp_path / "list" / "1.0.0.json") in said
    assert "wan-t2v" not in said
