"""A node for the worker's tests: it takes its time on the "GPU", and says when it has had it."""

import os
import signal
import time
from pathlib import Path

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar


class WorkerAct:
    """Passes a picture on after `seconds`; `act`: render, fail, full, die, die once. Times go to a diary."""

    CATEGORY = "tests"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": ("IMAGE",),
                "act": ("STRING", {}),
                "seconds": ("FLOAT", {"default": 0.0, "max": 1000.0}),
            }
        }

    @classmethod
    def IS_CHANGED(cls, **_):
        return time.time()

    def run(self, image, act: str, seconds: float):
        folder, start = Path(os.environ["CALLSHEET_SEGMENTS"]), time.time()
        bar = ProgressBar(100)
        try:
            while (left := start + seconds - time.time()) > 0:
                throw_exception_if_processing_interrupted()
                time.sleep(min(0.05, left))
                bar.update_absolute(round(100 * (1 - max(0.0, left) / seconds)))
        finally:
            with (folder / "diary").open("a") as diary:
                diary.write(f"start {start}\nend {time.time()}\n")
        if act == "fail":
            raise ValueError("as asked for")
        if act == "full":
            raise torch.OutOfMemoryError("CUDA out of memory, as asked for")
        died = folder / "died"
        if act == "die" or (act == "die once" and not died.exists()):
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return (image,)


NODE_CLASS_MAPPINGS = {"WorkerAct": WorkerAct}
