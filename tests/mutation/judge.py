"""Judges mutants: pytest collects once, then a fork for each mutant runs the tests that reach the changed function.

Runs in the folder that mutmut has made, `.mutate/tree/mutants`, as `python -m tests.mutation.judge TASK`. A process
that has run tests keeps what it has cached, which a changed function would answer from: the parent never runs one.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final

import pytest
from _pytest.main import pytest_runtestloop as run_items

from tests.mutation.results import Digests

KILLED: Final = "killed"
SURVIVED: Final = "survived"
TIMEOUT: Final = "timeout"
_LEAST: Final = 10
"""seconds of processor time that the tests of a mutant may always take"""
_FACTOR: Final = 10
"""times what they take without a change"""
_WALL: Final = 12
"""times that, by the clock: the machine may do something else"""


@dataclass
class Reached:
    """What the tests do without a change: how long each takes, and which functions it reaches."""

    seconds: dict[str, float] = field(default_factory=dict)
    functions: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Running:
    """One fork."""

    mutant: str
    pipe: int
    limit: int
    begun: float
    late: bool = False


class Judge:
    """Plugin of pytest that runs its own loop."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.digests = Digests(**task["digests"])
        self.child: int | None = None
        self.reached = Reached()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In a fork: the first failure is the verdict."""
        if self.child is not None and report.failed:
            os.write(self.child, report.nodeid.encode())
            os._exit(1)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        gc.collect()
        gc.freeze()
        self.items = {item.nodeid: item for item in session.items}
        self._forced_failure(session)
        self.reached = self._without_change(session)
        with Path(self.task["results"]).open("a", encoding="utf-8") as results:
            late = [
                name for name, verdict in self._verdicts(session, self.task["mutants"], self.task["jobs"], results)
                if verdict == TIMEOUT
            ]  # fmt: skip
            # a machine that is busy makes a test late as well: only who is late alone is
            for _ in self._verdicts(session, late, 1, results, again=True):
                pass
        return True

    def _without_change(self, session: pytest.Session) -> Reached:
        """Have the tests run as they are; of the same files it is known already."""
        known, state = Path(self.task["reached"]), json.dumps(self.task["digests"], sort_keys=True)
        if known.exists() and (found := json.loads(known.read_text("utf-8"))).pop("of") == state:
            return Reached(**found)
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._in_fork(write, "stats")
            os.write(write, json.dumps(_measure(session)).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            raise SystemExit(f"a test fails without any change: {said.decode()}")
        known.write_text(json.dumps(json.loads(said) | {"of": state}), "utf-8")
        return Reached(**json.loads(said))

    def _forced_failure(self, session: pytest.Session) -> None:
        """A change that raises everywhere must be noticed, or nothing would be."""
        running = dict([self._start(session, "fail", list(self.items), 600)])
        if next(self._ended(running))[1] != KILLED:
            raise SystemExit("no test fails though every function does")

    def _verdicts(
        self, session: pytest.Session, mutants: list[str], jobs: int, results: IO[str], *, again: bool = False
    ) -> Iterator[tuple[str, str]]:
        running: dict[int, Running] = {}
        waiting = list(reversed(mutants))
        while running or waiting:
            while waiting and len(running) < jobs and time.time() < self.task["until"]:
                name = waiting.pop()
                tests = self._tests(name)
                limit = max(_LEAST, int(_FACTOR * sum(self.reached.seconds[one] for one in tests)))
                running |= [self._start(session, name, tests, limit * (3 if again else 1))]
            if not running:
                return
            for one, verdict, test in self._ended(running):
                said = {"mutant": one.mutant, "verdict": verdict, "test": test, "alone": again or jobs == 1}
                module, files = self.digests.wanted(said)
                results.write(json.dumps(said | {"module": module, "tests": files}) + "\n")
                results.flush()
                yield one.mutant, verdict

    def _tests(self, mutant: str) -> list[str]:
        """Return the tests that reach the function, all if none is known to; the likely and the quick ones first."""
        function = mutant.rpartition("__mutmut_")[0]
        found = [test for test, names in self.reached.functions.items() if function in names] or list(self.items)
        hint, own = self.task["hints"].get(mutant), ("_boundaries.py", f"_{mutant.split('.')[-2]}.py")
        seconds = self.reached.seconds
        likely = {test for test in found if test.partition("::")[0].endswith(own) and seconds[test] < 0.2}
        return sorted(found, key=lambda test: (test != hint, test not in likely, seconds[test]))

    def _start(self, session: pytest.Session, mutant: str, tests: list[str], limit: int) -> tuple[int, Running]:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            self._in_fork(write, mutant)
            session.items = [self.items[test] for test in tests]
            _run(session)
            os._exit(0)
        os.close(write)
        return pid, Running(mutant, read, limit, time.time())

    def _in_fork(self, pipe: int, mutant: str) -> None:
        self.child = pipe
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        import_module("mutmut.mutation.trampoline").set_mutant_under_test(mutant)

    def _ended(self, running: dict[int, Running]) -> Iterator[tuple[Running, str, str]]:
        """Wait until at least one fork has ended."""
        while True:
            found = [(pid, status) for pid in list(running) for ended, status in [os.waitpid(pid, os.WNOHANG)] if ended]
            for pid, status in found:
                one = running.pop(pid)
                with os.fdopen(one.pipe, "rb") as pipe:
                    test = pipe.read().decode(errors="replace")
                code = os.waitstatus_to_exitcode(status)
                # SIGKILL and SIGXCPU come from the limits; another signal is a crash, which is noticed
                yield one, TIMEOUT if code in (-9, -24) else KILLED if code else SURVIVED, test
            if found:
                return
            for pid, one in running.items():
                if not one.late and time.time() - one.begun > one.limit * _WALL:
                    one.late = True
                    os.kill(pid, 9)
            time.sleep(0.004)


def _run(session: pytest.Session) -> None:
    try:
        run_items(session)
    except BaseException:  # noqa: BLE001  whatever ends the loop is noticed
        os._exit(1)


def _measure(session: pytest.Session) -> dict[str, Any]:
    """Run each test and note its time and the functions that it reaches."""
    state = import_module("mutmut.state").state
    reached = Reached()
    items: list[pytest.Item | None] = [*session.items, None]
    for item, following in zip(session.items, items[1:], strict=True):
        begun = time.process_time()
        state()._stats.clear()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        reached.seconds[item.nodeid] = time.process_time() - begun
        reached.functions[item.nodeid] = sorted(state()._stats)
    return {"seconds": reached.seconds, "functions": reached.functions}


def main() -> int:
    from hypothesis import HealthCheck, Phase, settings

    # the same examples for every mutant: none is kept from another one, and none is made smaller
    settings.register_profile(
        "mutation", database=None, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
    settings.load_profile("mutation")
    task = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    code = pytest.main(["--rootdir=.", "-q", "-p", "no:cacheprovider", *task["selection"]], plugins=[Judge(task)])
    return 0 if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else 1


if __name__ == "__main__":
    sys.exit(main())
