"""Run one short program of the device's own configuration to its end: an argv list, bounded in time and output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading


def output_of(argv: tuple[str, ...], *, timeout: float, limit: int) -> tuple[int | None, bytes]:
    """Return the exit status (None after `timeout` seconds) and the first `limit` + 1 bytes of standard output.

    Raises:
        OSError: it cannot be started.
    """
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdout is not None  # noqa: S101
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _kill(process)

        watchdog = threading.Timer(timeout, give_up)
        watchdog.start()
        try:
            text = process.stdout.read(limit + 1)
            while process.stdout.read(1 << 16):
                pass  # a program that says too much is not stopped in the middle, only not listened to
            status = process.wait()
        finally:
            watchdog.cancel()
            _kill(process)
    return None if late.is_set() else status, text


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole session: a child that was left behind would hold the pipe open."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
