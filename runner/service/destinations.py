"""Where a caller's outputs go: what the operator has set, or asked for within what is allowed."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from runner.errors import RequestError, StorageError
from runner.service.requests import Asked
from runner.storage import Storage, open_storage


@dataclass(frozen=True)
class Destinations:
    default: str | None = None  # for every job that does not ask for another
    allowed: tuple[str, ...] = ()  # prefixes of what callers may ask for
    environment: Mapping[str, str] | None = None  # fills `$NAME` in the old services' places

    def of(self, asked: Asked) -> str | None:
        """The job's destination; None: there is none here. Raises RequestError. Pure."""
        if asked.to is not None:
            self._require_allowed(asked.to)
            return asked.to
        if self.default is not None or asked.old is None:
            return self.default
        return self._expanded(asked.old.to)

    def open(
        self, asked: Asked, *, open_at: Callable[..., Storage] = open_storage
    ) -> Storage | None:
        """The job's storage. Raises RequestError, StorageError."""
        destination = self.of(asked)
        if destination is None:
            if not asked.inline:
                raise StorageError(
                    "there is no storage here: the operator sets CALLSHEET_TO, "
                    "or the request says inline: true for small outputs"
                )
            return None
        storage = open_at(destination, fields=fields_of(destination, asked))
        if asked.to is not None:  # the operator's own is tried once, at the start
            storage.require_writable()
        return storage

    def _require_allowed(self, to: str) -> None:
        # In a folder's name a question mark is one of its letters.
        path = (to.partition("?")[0] if "://" in to else to).rstrip("/")
        climbs = ".." in PurePosixPath(path).parts or "\\" in path or "\0" in to
        if climbs or not any(path == p or path.startswith(f"{p}/") for p in self._prefixes()):
            raise RequestError(
                f"to: outputs cannot be stored there; allowed is {', '.join(self.allowed)}"
                if self.allowed
                else "to: callers cannot choose where outputs are stored; leave it out",
                details={"allowed": list(self.allowed)},
            )

    def _prefixes(self) -> list[str]:
        return [prefix.rstrip("/") for prefix in self.allowed]

    def _expanded(self, to: str) -> str | None:
        """None where the old service's own settings are not there."""
        environment = self.environment or {}
        named = re.findall(r"\$([A-Z0-9_]+)", to)
        needs = {"supabase": ["SUPABASE_URL"]}.get(to.partition(":")[0], [])
        if not all(environment.get(name) for name in (*named, *needs)):
            return None
        return re.sub(r"\$([A-Z0-9_]+)", lambda match: environment[match[1]], to)


def fields_of(destination: str, asked: Asked) -> dict[str, Any]:
    """What the destination's path names of the request. Pure."""
    return {
        name: value
        for name, value in asked.fields.items()
        if value is not None and re.search(rf"\{{{name}[:}}]", destination)
    }
