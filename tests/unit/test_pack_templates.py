"""The pack as `make pack` leaves it: ComfyUI's template browser finds the workflows in it."""

import subprocess
from pathlib import Path

from runner import workflow as workflows

ROOT = Path(__file__).parents[2]


def test_the_packed_pack_has_the_newest_workflows_as_templates(tmp_path: Path) -> None:
    pack = tmp_path / "custom_nodes" / "callsheet"
    subprocess.run(["make", "pack", f"PACK={pack}"], cwd=ROOT, check=True, capture_output=True)
    # As ComfyUI looks for them: app/custom_node_manager.py.
    found = {file.stem: file for file in pack.parent.glob("*/example_workflows/*.json")}
    released = {one.name: one for one in workflows.released([ROOT / "workflows"])}
    assert set(found) == set(released)
    for name, one in released.items():
        assert one.path is not None
        assert found[name].read_bytes() == one.path.read_bytes()
    assert (pack / "__init__.py").is_file()
    assert (pack / "web" / "docs" / "CallsheetText.md").is_file()
    assert not list(pack.rglob("__pycache__"))
