"""What can go wrong with one model file."""


class Unavailable(Exception):
    """Why a file cannot be had, in words that hold no secret; `again`: trying again may help."""

    def __init__(self, reason: str, *, again: bool = False, after: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.after = after  # seconds that the host asks to wait


class Unreachable(Unavailable):
    """The host gives no answer at all: whatever else is asked of it, it will not either."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, again=True)
