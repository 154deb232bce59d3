"""What the device side refuses, and the class that decides what the fleet does about it."""

from __future__ import annotations

from typing import Literal

RefusalClass = Literal["refused", "deferred", "resync"]
"""`refused` needs a human, `deferred` may be tried again, `resync` means the device knows more than the sender."""


class Refusal(Exception):
    """A well-formed no: a stable code, a sentence, and the class of failure (DESIGN section 6).

    Raised by everything in `protocol` and `trust` for input that is malformed, not signed well enough, or
    not allowed here. Never stored as an outcome, moves no mark (CONTRACTS, Orders).
    """

    def __init__(self, code: str, message: str, *, klass: RefusalClass = "refused") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.klass: RefusalClass = klass
