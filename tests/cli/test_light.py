"""What a command costs before it does anything: modules that it does not need are not imported. Not times."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

import fwctl.state
from fwctl.cli.fleet_id import ID
from fwctl.manifests.scalars import ID_PATTERN
from tests.cli.fleet import ENVIRONMENT, Fleet, subprocess_run
from tests.cli.test_recorded import summed
from tests.cli.waves import canary, complete

MANIFESTS = ("fwctl.manifests", "fwctl.reconcile.commit", "fwctl.rollouts.compile", "fwctl.rollouts.board")
TRUST = ("tuf", "securesystemslib.signer", "cryptography")
DEVICES = ("fwctl.fleet.link", "httpx", "httpcore", "httptools", "fwctl.reconcile.acting", "fwctl.reconcile.loop")
OTHERS = ("boto3", "rich")
WRITING = ("sqlite_utils", "asyncio", "fwctl.state.apply")

LIGHT = {
    ("status",): (*MANIFESTS, *TRUST, *DEVICES, *OTHERS, *WRITING),
    ("status", "sensors", "--format", "json"): (*MANIFESTS, *TRUST, *DEVICES, *OTHERS, *WRITING),
    ("events",): (*MANIFESTS, *TRUST, *DEVICES, *OTHERS, *WRITING),
    ("quarantine", "list"): (*MANIFESTS, *TRUST, *DEVICES, *OTHERS, *WRITING),
    ("reconcile", "--once"): (*MANIFESTS, *TRUST, *DEVICES, *OTHERS),
    ("validate",): (*DEVICES, *OTHERS, "sqlite_utils", "asyncio", "fwctl.state"),
    ("device", "list"): (*DEVICES, *OTHERS, *WRITING),
}


@pytest.fixture(scope="module")
def resting(stages: Callable[[str], Fleet], tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet with nothing to do, whose passes have summed it up."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        work = stages("planned").copy(tmp_path_factory.mktemp("light") / "work")
        return summed(complete(canary(work)))


def imported(words: tuple[str, ...], unwanted: tuple[str, ...], env: dict[str, str]) -> tuple[str, str]:
    """Run a command; return what it said and which of these modules it had imported when it ended."""
    tell = (
        f"import atexit, sys; atexit.register(lambda: "
        f"sys.stderr.write('MODULES ' + ' '.join(m for m in {unwanted!r} if m in sys.modules) + '.')); "
    )
    done = subprocess_run(*words, before=tell, env=env)
    said, _, found = done.stderr.partition("MODULES ")
    assert found.endswith("."), said
    assert done.returncode == 0, said
    return done.stdout, found.removesuffix(".")


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_a_command_imports_no_more_than_it_needs(resting: Fleet, words: tuple[str, ...]) -> None:
    said, found = imported((*resting.options, *words), LIGHT[words], {})
    assert found == ""
    assert said


def test_what_looks_for_modules_finds_them(resting: Fleet) -> None:
    """The same question about a command that reads the manifests."""
    assert imported((*resting.options, "validate"), ("fwctl.manifests.models",), {})[1] == "fwctl.manifests.models"


def test_completion_imports_nothing_of_the_fleet(resting: Fleet) -> None:
    typed = "fwctl device show unit-1"
    env = {"_FWCTL_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": "3", "FWCTL_REPO": str(resting.tree)}
    unwanted = ("fwctl.gitrepo", "fwctl.state", "git", "yaml", *MANIFESTS, *TRUST, *DEVICES, *OTHERS, *WRITING)
    said, found = imported((), unwanted, env)
    assert found == ""
    assert said.split() == [f"unit-{at}" for at in range(10, 18)]


@pytest.mark.parametrize("package", [fwctl.state])
def test_a_package_that_loads_on_demand_has_all_that_it_offers(package: object) -> None:
    """In a process that has loaded nothing of it: in this one, others have."""
    name = getattr(package, "__name__", "")
    ask = f"import {name} as p; print([getattr(p, n).__module__ for n in p.__all__ if n != 'Change'], p.Change)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'fwctl.state' has no attribute 'Ledgr'"):
        _ = import_module("fwctl.state").Ledgr


def test_the_id_of_a_fleet_is_that_of_the_manifests() -> None:
    """It is written twice, because the models cost more to load than a whole `status`."""
    ours = ["acme", "a", "a-b", "-a", "a-", "A", "a_b", "a.b", "..", "../x", "", "a\n", "a" * 63, "a" * 64]
    assert [bool(ID.fullmatch(name)) for name in ours] == [
        bool(re.fullmatch(ID_PATTERN.removeprefix("^").removesuffix("$"), name)) for name in ours
    ]


def test_a_pass_over_manifests_that_do_not_validate_makes_no_new_ledger(planned: Fleet) -> None:
    (planned.tree / "devices/bench.yaml").write_text("nonsense: true\n")
    planned.commit("Break it")
    Path(planned.state / "ledger.db").unlink(missing_ok=True)
    answer = planned.run("reconcile", "--once", "--new-ledger")
    assert (answer.exit_code, "E_MANIFESTS" in answer.stderr) == (3, True), str(answer)
    assert not (planned.state / "ledger.db").exists()
