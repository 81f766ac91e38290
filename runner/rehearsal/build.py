# pyright: basic, reportMissingImports=false
"""The build process: `python -m runner.rehearsal.build`, jobs as JSON on stdin.

The only place that imports ComfyUI, which is why it is a process and not a function.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from runner.rehearsal.family import StandIn, Weights
from runner.rehearsal.plan import FAMILIES
from runner.rehearsal.store import KEY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comfyui-dir", type=Path, required=True)
    parser.add_argument("--models-dir", type=Path, required=True)
    args = parser.parse_args()
    _prepare_comfyui(args.comfyui_dir)
    for job in json.load(sys.stdin):
        fingerprint = job.pop("fingerprint")
        stand_in = StandIn(**job)
        family = next(f for f in FAMILIES if f.name == stand_in.family)
        path = args.models_dir / stand_in.folder / stand_in.name
        _save(family.build(stand_in), path, fingerprint)


def _prepare_comfyui(comfyui_dir: Path) -> None:
    """Make `import comfy` work here, on the CPU."""
    sys.path.insert(0, str(comfyui_dir))
    # comfy.cli_args reads sys.argv; without --cpu a CUDA build of torch looks for a driver.
    sys.argv = [sys.argv[0], "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import torch

    torch.set_num_threads(1)  # the tensors are tiny; more threads only wait for each other


def _save(weights: Weights, path: Path, fingerprint: str) -> None:
    from safetensors.torch import save_file

    mark = {"fingerprint": fingerprint, "model_options": weights.model_options}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not a model extension, so a server that is just listing its models does not see it.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        tensors = {name: tensor.detach().contiguous() for name, tensor in weights.tensors.items()}
        save_file(tensors, unfinished, metadata={**weights.metadata, KEY: json.dumps(mark)})
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
