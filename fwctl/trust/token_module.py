"""The PKCS#11 module of a token: held by one at a time, not waited for without end, its errors in plain words."""

from __future__ import annotations

import os
import queue
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from fwctl.errors import WorldError
from fwctl.trust import passphrase

T = TypeVar("T")
MODULE: Final = "PYKCS11LIB"
"""the variable in which HSMSigner looks for the PKCS#11 module"""
PIN_REFUSED: Final = frozenset({"PinIncorrect", "PinInvalid", "PinLenRange", "PinExpired", "PinLocked"})
FINAL: Final = PIN_REFUSED | {"UserPinNotInitialized", "MechanismInvalid", "KeyTypeInconsistent"}
"""what the token says that another try cannot change, or must not try to change"""

_module_lock = threading.RLock()
"""the module is initialised for one thread, and HSMSigner reads its path from the environment"""
_hung: dict[str, threading.Thread] = {}
"""modules that do not answer, with the thread that is still inside: whoever waited for it has given up"""


@contextmanager
def opened(path: str) -> Iterator[None]:
    """Have the module at `path` for oneself."""
    with _module_lock:
        if path in _hung and _hung[path].is_alive():
            raise broken(path, "it has not answered an earlier question yet")
        before = os.environ.get(MODULE)
        os.environ[MODULE] = path
        try:
            yield
        finally:
            if before is None:
                del os.environ[MODULE]
            else:
                os.environ[MODULE] = before


def within(seconds: float, module: str, ask: Callable[[], T]) -> T:
    """Return what `ask` answers in time. One that hangs is left alone: its thread does not keep the process alive."""
    answers: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(ask())
        except BaseException as error:  # noqa: BLE001  it is raised where it was asked
            answers.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty as error:
        _hung[module] = thread
        raise TimeoutError(f"no answer within {seconds:g} s") from error
    if isinstance(answer, BaseException):
        raise answer
    return answer


def begin_again(module: str) -> None:
    """Forget sessions and slots: a token that was plugged in again is another one to its module."""
    import pkcs11

    try:
        pkcs11.lib(module).reinitialize()
    except RuntimeError:
        return  # the next try says what is wrong


def words(error: Exception) -> str:
    """Return what a token's error means."""
    kind = type(error).__name__
    if kind in PIN_REFUSED:
        return "it refuses the PIN, which is not tried again because tokens lock themselves"
    if isinstance(error, ValueError | TimeoutError):
        return str(error)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()


def broken(place: str, why: str) -> WorldError:
    """Return the error of a token that does not sign."""
    return WorldError(
        f"the token does not sign: {why}",
        code="E_SIGNER",
        place=place,
        remedy=f"Look at the token, its module and the PIN ({passphrase.PIN.variable}), then run the command again: "
        "nothing unsigned was sent, and what was done before is recorded.",
    )
