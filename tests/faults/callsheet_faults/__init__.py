"""Nodes that misbehave, for tests only: they sleep, hang, die and run out of memory as they are told."""

import ctypes
import os
import signal
import time
from pathlib import Path

from comfy.model_management import (
    InterruptProcessingException,
    throw_exception_if_processing_interrupted,
)
from comfy.utils import ProgressBar
from nodes import EmptyImage
from server import PromptServer


class FaultsAct:
    """Does `act` and passes a picture on. `mark`: a file; an act done `once` leaves it and heeds it."""

    CATEGORY = "tests"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "act": ("STRING", {}),
                "seconds": ("FLOAT", {"default": 0.0}),
                "mark": ("STRING", {}),
            },
            "hidden": {"node_id": "UNIQUE_ID"},
        }

    @classmethod
    def IS_CHANGED(cls, **_):
        return time.time()

    @classmethod
    def VALIDATE_INPUTS(cls, act, seconds, mark):
        if act == "check":
            Path(mark).touch()
            time.sleep(seconds)  # the server answers nobody meanwhile
        return True

    def run(self, act: str, seconds: float, mark: str, node_id: str):
        once = act.endswith(" once")
        if not once or not Path(mark).exists():
            if mark:
                Path(mark).touch()
            getattr(self, act.removesuffix(" once"))(seconds, node_id)
        if act == "large":  # as a picture: about 3 MB that cannot be made smaller
            import torch

            return (torch.rand(1, 1024, 1024, 3),)
        return EmptyImage().generate(16, 16)

    def nothing(self, *_):
        pass

    large = nothing

    def sleep(self, seconds: float, _):
        """Shows progress and can be interrupted, as a sampler."""
        steps = max(1, round(seconds / 0.05))
        bar = ProgressBar(steps)
        for _ in range(steps):
            time.sleep(seconds / steps)
            bar.update(1)

    def windows(self, seconds: float, node_id: str):
        for window in (1, 2, 3, 4):
            PromptServer.instance.send_progress_text(f"window {window} of 4", node_id)
            self.sleep(seconds / 4, node_id)

    def deaf(self, seconds: float, _):
        """Shows no progress and cannot be interrupted."""
        time.sleep(seconds)

    def wait(self, seconds: float, _):
        """Shows no progress, but can be interrupted."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            throw_exception_if_processing_interrupted()
            time.sleep(0.02)

    def check(self, *_):
        """What takes its time has been done: see VALIDATE_INPUTS."""

    def hold(self, seconds: float, _):
        """Keeps Python to itself, as a driver's call that hangs: the server cannot answer."""
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))

    def die(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)

    def leave(self, *_):
        print("the node leaves", flush=True)
        os._exit(7)

    def freeze(self, *_):
        os.kill(os.getpid(), signal.SIGSTOP)

    def interrupt(self, *_):
        raise InterruptProcessingException

    def fail(self, *_):
        raise ValueError("it cannot be done")

    def gpu_full(self, *_):
        import torch

        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 23.64 GiB "
            "of which 1.20 GiB is free. Including non-PyTorch memory, this process has 22.40 GiB "
            "memory in use."
        )

    def main_full(self, *_):
        raise MemoryError("Unable to allocate 9.31 GiB for an array")

    def torch_full(self, *_):
        import torch

        torch.empty(1 << 60, dtype=torch.uint8)

    def python_full(self, *_):
        bytearray(1 << 60)

    def abort(self, *_):
        """As C++ does when it gets no memory and nobody catches that."""
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()


NODE_CLASS_MAPPINGS = {"FaultsAct": FaultsAct}
