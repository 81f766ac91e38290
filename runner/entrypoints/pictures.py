"""`--preview`: a contact sheet beside each video, and in the terminal where it can show pictures."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from runner.entrypoints import console, terminal
from runner.job import Result
from runner.preview import contact_sheet
from runner.storage import Storage
from runner.storage.bucket import BucketStorage
from runner.storage.naming import Fields

_VIDEOS = (".mp4", ".webm", ".mov", ".mkv")


@dataclass(frozen=True)
class WithSheets(BucketStorage):
    """A bucket: before a video leaves this machine, its sheet is made in a folder here."""

    sheets: Path = Path("previews")

    def put(self, file: Path, name: str, fields: Fields | None = None) -> str:
        if file.suffix.lower() in _VIDEOS:
            self.sheets.mkdir(parents=True, exist_ok=True)
            _show(contact_sheet(file, self.sheets / f"{Path(name).stem}.png"))
        return super().put(file, name, fields)


def with_sheets(storage: Storage, folder: Path) -> Storage:
    """A storage that makes contact sheets. What is stored on this machine has them afterwards."""
    if not isinstance(storage, BucketStorage):
        return storage
    own = {field.name: getattr(storage, field.name) for field in dataclasses.fields(storage)}
    return WithSheets(**own, sheets=folder)


def show_sheets(result: Result) -> None:
    """A sheet for each video that is stored on this machine."""
    for artifact in result.artifacts:
        video = Path(artifact.location)
        if artifact.probe.kind == "video" and video.is_file():
            _show(contact_sheet(video, video.with_suffix(".png")))


def _show(sheet: Path) -> None:
    console.show_path("contact sheet", sheet)
    terminal.show(sheet, sys.stderr)
