"""A machine's folders for models, and workflows that name some."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import volumes, workflow
from runner.inputs.net import Allowed
from runner.modelfiles import finding, hashing, pulling
from runner.modelfiles.finding import Found
from runner.modelfiles.pulling import Planned, Pulled
from runner.modelfiles.sources import Access, Patience

from hub_site import Hub

QUICK = Patience(tries=3, backoff=0.01, connect=2, silence=1)


def document(*models: dict[str, Any]) -> dict[str, Any]:
    """A workflow with a loader for each model."""
    nodes = [
        {"id": i, "type": "UNETLoader", "widgets_values": [m.get("name")],
         "properties": {"models": [m]}}
        for i, m in enumerate(models)
    ]  # fmt: skip
    return {"version": 0.4, "nodes": nodes, "links": []}


@dataclass
class Machine:
    folder: Path
    hub: Hub
    token: str | None = None
    places: tuple[volumes.Place, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.look_again()

    def look_again(self) -> None:
        self.places = volumes.places(self.models)

    @property
    def models(self) -> Path:
        return self.folder / "models"

    @property
    def access(self) -> Access:
        return Access(self.hub.url, self.token, Allowed.of(["127.0.0.1", "localhost"]), QUICK)

    @property
    def hashes(self) -> hashing.Hashes:
        return hashing.Hashes(self.folder / "hashes")

    def workflow(self, *models: dict[str, Any]) -> Path:
        file = self.folder / "flow.json"
        file.write_text(json.dumps(document(*models)))
        return file

    def found(self, *models: dict[str, Any]) -> tuple[Found, ...]:
        loaded = workflow.load(self.workflow(*models))
        return finding.find(finding.wanted([loaded]), self.places)

    def plan(self, *models: dict[str, Any], **more: Any) -> tuple[Planned, ...]:
        return pulling.plan(self.found(*models), into=self.models, access=self.access, **more)

    def pull(self, *models: dict[str, Any], **more: Any) -> tuple[Pulled, ...]:
        planned = self.plan(
            *models, **{k: more.pop(k) for k in ("wrong", "unverified") if k in more}
        )
        return pulling.pull(planned, access=self.access, hashes=self.hashes, **more)

    def left(self) -> list[str]:
        """Every file below the models folder."""
        return sorted(
            f.relative_to(self.models).as_posix() for f in self.models.rglob("*") if f.is_file()
        )
