"""Run the commands of the device's own configuration: argv lists only, bounded in time and output."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from typing import Final

from fwctl_agent.runtime.ports import InstallFailed

PIECE: Final = 1 << 20


class Commands:
    """The installer's argv lists by name; `{slot}` and `{length}` in an argument are replaced."""

    def __init__(self, argv: Mapping[str, tuple[str, ...]], timeout: float) -> None:
        self._argv = argv
        self._timeout = timeout

    def run(self, name: str, slot: str) -> None:
        """Run to the end.

        Raises:
            InstallFailed: `E_COMMAND` for a bad exit status, a missing program or the timeout.
        """
        self._output(name, slot)

    def word(self, name: str) -> str:
        """Return the one word that the command prints."""
        return self._output(name, "").decode(errors="replace").strip()[:64]

    def _output(self, name: str, slot: str) -> bytes:
        with self._start(name, slot, 0, stdin=subprocess.DEVNULL) as process:
            try:
                out, _ = process.communicate(timeout=self._timeout)
            except subprocess.TimeoutExpired as error:
                raise InstallFailed("E_COMMAND", f"{name} took longer than {self._timeout:g} s") from error
            _check(name, process.returncode)
        return out[:4096]

    def feed(self, name: str, slot: str, pieces: Iterator[bytes], length: int) -> None:
        """Run with `pieces` on standard input."""
        with self._start(name, slot, length, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None  # noqa: S101
            # A program that stops reading ends the pipe; its exit status says why.
            with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
                for piece in pieces:
                    pipe.write(piece)
            try:
                _check(name, process.wait(self._timeout))
            except subprocess.TimeoutExpired as error:
                raise InstallFailed("E_COMMAND", f"{name} took longer than {self._timeout:g} s") from error

    def read(self, name: str, slot: str, length: int) -> Iterator[bytes]:
        """Yield what the command prints, at most `length` + 1 bytes."""
        with self._start(name, slot, length, stdin=subprocess.DEVNULL) as process:
            assert process.stdout is not None  # noqa: S101
            left = length + 1
            while left and (piece := process.stdout.read(min(PIECE, left))):
                left -= len(piece)
                yield piece
            if left:
                try:
                    _check(name, process.wait(self._timeout))
                except subprocess.TimeoutExpired as error:
                    raise InstallFailed("E_COMMAND", f"{name} took longer than {self._timeout:g} s") from error

    @contextlib.contextmanager
    def _start(self, name: str, slot: str, length: int, stdin: int) -> Iterator[subprocess.Popen[bytes]]:
        argv = [part.replace("{slot}", slot).replace("{length}", str(length)) for part in self._argv[name]]
        try:
            process = subprocess.Popen(
                argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise InstallFailed("E_COMMAND", f"{name} cannot be started: {error.strerror}") from error
        watchdog = threading.Timer(self._timeout, _kill, (process,))
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            _kill(process)
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: a shell's children would hold our pipes open."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _check(name: str, status: int) -> None:
    if status != 0:
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        raise InstallFailed("E_COMMAND", f"{name} ended with {how}")
