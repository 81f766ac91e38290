"""The service's log: one line of JSON for each event, with the job's id."""

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

from runner.service.answers import clean, cleaned


@dataclass(frozen=True)
class Log:
    """Writes events. May be used from many threads."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    secrets: tuple[str, ...] = ()
    listen: Callable[[str, dict[str, Any]], None] | None = None  # hears every event and its facts
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, event: str, *, job: str | None = None, **facts: Any) -> None:
        if self.listen is not None:
            self.listen(event, facts)
        said = {"time": self.clock().isoformat(timespec="milliseconds"), "event": event}
        said |= {"job": job} if job is not None else {}
        # Each text by itself, too: in JSON a quote in a secret is written otherwise.
        told = clean({**said, **facts}, self.secrets)
        line = json.dumps(told, ensure_ascii=False, default=str)
        with self._lock:
            self.stream.write(f"{cleaned(line, self.secrets)}\n")
            self.stream.flush()
