"""Memory that Python has freed, given back to the system."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any


def trim() -> None:
    """glibc keeps what large tensors leave in pieces: a long job would grow by hundreds of MB.

    Does nothing where the C library has no `malloc_trim`.
    """
    release = _malloc_trim()
    if release is not None:
        release(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # TypeError: Windows wants a name
        return None
