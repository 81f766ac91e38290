"""Loaded by the engine that the runner starts: no pauses between two jobs for the sake of old objects.

ComfyUI collects garbage after a job, and so looks at all that was loaded with it, node packs and
torch: 0.3 to 0.8 s on a small machine. What is there when the first prompt comes stays for good.
"""

import gc
from collections.abc import Callable
from typing import Any

from server import PromptServer

NODE_CLASS_MAPPINGS: dict[str, Any] = {}


def once(do: Callable[[], None]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A handler that leaves prompts as they are."""
    done: list[bool] = []

    def see(prompt: dict[str, Any]) -> dict[str, Any]:
        if not done:
            done.append(True)
            do()
        return prompt

    return see


def freeze() -> None:
    gc.collect()
    gc.freeze()


PromptServer.instance.add_on_prompt_handler(once(freeze))
