"""Processes that are measured while they run: memory, CPU and bytes written, read from /proc."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from docs.generator import ROOT

PYTHON = (sys.executable, "-W", "ignore", "-m")
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The benchmark cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Sample:
    """What a process used up to a moment: seconds since its start, KiB, CPU seconds, bytes, and the probe's number."""

    at: float
    rss: int
    cpu: float
    written: int
    probe: int


@dataclass(frozen=True)
class Used:
    """What a process used in all."""

    seconds: float
    cpu: float
    peak: int
    """KiB"""
    written: int
    """bytes that it caused to be written to disk"""
    samples: tuple[Sample, ...]
    code: int = 0
    out: str = ""


def environment(extra: Mapping[str, str] = {}) -> dict[str, str]:
    """Return the environment of measured processes: this checkout, no colour, nobody's git settings."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "agent")])
    person = {f"GIT_{who}_{what}": f"bench{at}" for who in ("AUTHOR", "COMMITTER") for what, at in _PERSON}
    own = {"PYTHONPATH": paths, "NO_COLOR": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | own | person | dict(extra)


_PERSON = (("NAME", ""), ("EMAIL", "@example.org"))


class Process:
    """A process in a session of its own, sampled by a thread until it ends or the block does."""

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str],
        cwd: Path,
        every: float = 0.2,
        probe: Callable[[], int] = lambda: 0,
    ) -> None:
        self._argv, self._log, self._env, self._cwd, self._every, self._probe = argv, log, env, cwd, every, probe
        self._samples: list[Sample] = []
        self._over = threading.Event()

    def __enter__(self) -> Self:
        with self._log.with_suffix(".err").open("wb") as err, self._log.open("wb") as out:
            self._begun = time.monotonic()
            self._process = subprocess.Popen(
                list(self._argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(self._env),
                cwd=self._cwd,
                start_new_session=True,
            )
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def says(self, pattern: str, *, seconds: float) -> re.Match[str]:
        """Wait until the process has written something that matches."""
        end = time.monotonic() + seconds
        while (found := re.search(pattern, self._log.read_text(errors="replace"))) is None:
            if self._process.poll() is not None or time.monotonic() > end:
                raise BenchError(f"{' '.join(self._argv[3:5])} does not come up: {self.errors()}")
            time.sleep(0.05)
        return found

    def errors(self) -> str:
        return self._log.with_suffix(".err").read_text(errors="replace")[-2000:]

    def now(self) -> Used:
        """Return what it has used so far."""
        sample = self._read() or Sample(0, 0, 0, 0, 0)
        return Used(sample.at, sample.cpu, _peak(self.pid), sample.written, tuple(self._samples))

    def wait(self) -> Used:
        """Wait for its end; CPU and peak memory are then those that the kernel reports."""
        _, status, usage = os.wait4(self.pid, 0)
        seconds = time.monotonic() - self._begun
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._end_sampling()
        written = max((sample.written for sample in self._samples), default=0)
        out = self._log.read_text(errors="replace")
        cpu = usage.ru_utime + usage.ru_stime
        code = self._process.returncode
        return Used(seconds, cpu, usage.ru_maxrss, written, tuple(self._samples), code, out)

    def stop(self) -> None:
        """End it if it still runs: politely, then not."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._end_sampling()

    def _end_sampling(self) -> None:
        self._over.set()
        self._sampler.join()

    def _sample(self) -> None:
        while not self._over.wait(self._every):
            sample = self._read()
            if sample is not None:
                self._samples.append(sample)

    def _read(self) -> Sample | None:
        with contextlib.suppress(OSError, IndexError, ValueError):
            stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            rss = int(stat[21]) * os.sysconf("SC_PAGE_SIZE") // 1024
            cpu = (int(stat[11]) + int(stat[12])) / _TICKS
            found = re.search(r"^write_bytes: (\d+)", Path(f"/proc/{self.pid}/io").read_text(), re.M)
            return Sample(time.monotonic() - self._begun, rss, cpu, int(found[1]) if found else 0, self._probe())
        return None


def _peak(pid: int) -> int:
    with contextlib.suppress(OSError):
        found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
        return int(found[1]) if found else 0
    return 0


@contextlib.contextmanager
def stepping(tell: Callable[[str], None], what: str) -> Iterator[None]:
    """Tell how long a step of the preparation took."""
    begun = time.monotonic()
    yield
    tell(f"{what}: {time.monotonic() - begun:.1f} s")
