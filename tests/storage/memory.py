"""How much memory storing takes: `python memory.py s3://bucket/ MEGABYTES FOLDER` prints JSON.

Peak above idle: what the process has after it has stored a small file, with everything imported.
"""

import json
import sys
import threading
import time
from pathlib import Path

from runner.storage import open_storage


def resident() -> float:
    """Megabytes that this process holds now."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def main(destination: str, megabytes: int, folder: Path) -> None:
    storage = open_storage(destination)
    small, large = folder / "small.bin", folder / "large.bin"
    small.write_bytes(b"x" * 100_000)
    storage.put(small, "small.bin")
    with large.open("wb") as stream:
        stream.truncate(megabytes << 20)
    idle, peak, done = resident(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    storage.put(large, "large.bin")
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    said = {"megabytes": megabytes, "idle_mb": idle, "peak_mb": peak - idle, "seconds": seconds}
    print(json.dumps({key: round(value, 1) for key, value in said.items()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
