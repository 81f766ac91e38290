"""Workflow files: references, versions, broken files."""

import json
from pathlib import Path

import pytest

from runner import workflow
from runner.errors import UnknownWorkflow, WorkflowError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for version in ("1.0.0", "1.2.0", "1.10.0", "2.0.0"):
        file = tmp_path / "dance" / f"{version}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps({"nodes": [], "extra": {"info": {"name": "dance"}}}))
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("dance", "2.0.0"),
        ("dance@1", "1.10.0"),
        ("dance@1.2", "1.2.0"),
        ("dance@1.1", None),
        ("dance@1.0.0", "1.0.0"),
        ("dance@3", None),
        ("dnace", None),
        ("../dance", None),
        ("nosuch.json", None),
    ],
)
def test_a_reference_names_the_newest_fitting_version(
    folder: Path, reference: str, version: str | None
) -> None:
    if version is None:
        with pytest.raises(UnknownWorkflow):
            workflow.find(reference, [folder])
    else:
        assert workflow.find(reference, [folder]).reference == f"dance@{version}"


def test_an_unknown_workflow_is_told_what_there_is(folder: Path) -> None:
    with pytest.raises(UnknownWorkflow, match=r"dance@1\.10\.0"):
        workflow.find("dance@7", [folder])
    with pytest.raises(UnknownWorkflow, match=r"there is dance@2\.0\.0"):
        workflow.find("waltz", [folder])


def test_a_broken_file_hides_no_other(folder: Path) -> None:
    (folder / "aaa").mkdir()
    (folder / "aaa" / "1.0.0.json").write_text("{")
    broken: list[WorkflowError] = []
    found = list(workflow.released([folder], broken=broken))
    assert [w.reference for w in found] == ["dance@2.0.0"]
    assert [error.message.partition(" is ")[0] for error in broken] == [
        str(folder / "aaa" / "1.0.0.json")
    ]
    with pytest.raises(WorkflowError, match="is not JSON"):
        list(workflow.released([folder]))
    with pytest.raises(UnknownWorkflow, match=r"there is dance@2\.0\.0"):
        workflow.find("waltz", [folder])


def test_the_first_folder_wins(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    own = tmp_path_factory.mktemp("own")
    (own / "dance").mkdir()
    file = own / "dance" / "2.0.0.json"
    file.write_text('{"nodes": [], "extra": {"info": {"name": "dance", "description": "mine"}}}')
    assert workflow.find("dance", [own, folder]).description == "mine"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"\x00{}", b"[" * 100_000, b'{"nodes": 5}', b'{"nodes": [1]}'],
    ids=["empty", "cut", "list", "not-utf8", "nul", "deep", "no-nodes", "wild-nodes"],
)
def test_a_broken_file_is_a_workflow_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.json"
    file.write_bytes(content)
    with pytest.raises(WorkflowError):
        workflow.nodes(workflow.load(file).document)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "huge.json"
    with file.open("wb") as sink:
        sink.truncate(50_000_000)
    with pytest.raises(WorkflowError, match="50,000,000 bytes"):
        workflow.load(file)


def test_a_near_name_is_offered(folder: Path) -> None:
    with pytest.raises(UnknownWorkflow, match=r"no workflow danse; did you mean dance\? there is"):
        workflow.find("danse", [folder])
