"""A worker's process: the real SDK's loop, a real ComfyUI on the CPU with one more node, a slow storage."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

from runner import settings as settings_module
from runner.comfy import engine as engines
from runner.comfy.client import Patience
from runner.entrypoints import runpod, setup
from runner.storage import Storage, open_storage
from runner.storage.naming import Fields

HERE = Path(__file__).parent


@dataclasses.dataclass
class Slow:
    """A storage whose outputs take their time."""

    storage: Storage
    seconds: float

    @property
    def moments(self) -> Fields:
        return self.storage.moments

    def require_writable(self) -> None:
        self.storage.require_writable()

    def put(self, file: Path, name: str, fields: Fields | None = None) -> str:
        if file.suffix != ".json":
            time.sleep(self.seconds)
        return self.storage.put(file, name, fields)

    def read(self, name: str, fields: Fields | None = None) -> bytes | None:
        return self.storage.read(name, fields)

    def find(self, name: str, size: int, fields: Fields | None = None) -> str | None:
        return self.storage.find(name, size, fields)


def main() -> None:
    config = settings_module.from_environment()
    usual = setup.engine_options(config, rehearse=False)
    options = dataclasses.replace(
        usual,
        packs=[
            *usual.packs,
            HERE / "callsheet_worker_pack",
        ],
        custom_nodes=(),
        patience=Patience(tick=0.05, quiet=1.0),
    )
    broken = os.environ.get("TEST_BREAK")  # a file that, once there, lets no engine start again

    def start() -> Any:
        if not broken:
            return engines.running(options)
        return engines.running(dataclasses.replace(options, extra_model_paths=Path(broken)))

    upload = float(os.environ.get("TEST_UPLOAD", "0"))

    def open_at(destination: str, **how: Any) -> Storage:
        return Slow(open_storage(destination, **how), upload)

    runpod.serve(config, engine=start, open_at=open_at)


if __name__ == "__main__":
    main()
