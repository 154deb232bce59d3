"""What people see of a rollout in waves: plan, status, following, report, history and explanations, word for word."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.cli.fleet import ENVIRONMENT, Fleet
from tests.cli.waves import canary, complete, going_back, soaking, stopped

_CANARY = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {name: sensors}
spec:
  firmware: {model: sensor-v1, version: "2.5.0"}
  targets: {groups: [bench]}
  strategy: {type: Canary, initialPercentage: 10, increments: [30, 50, 100], soak: 90s, approvalBefore: [wave-2]}
  gates: {health: {limits: {temperature: {max: 80}}}}
"""
_ROLLING = """\
apiVersion: fwctl/v1
kind: Rollout
metadata: {name: sensors}
spec:
  firmware: {model: sensor-v1, version: "2.5.0"}
  targets: {groups: [bench]}
  strategy: {type: Rolling, batchSize: 50%, maxUnavailable: 1, soak: 15m}
  rollback: {automatic: false}
"""


@pytest.mark.parametrize("manifest", [_CANARY, _ROLLING], ids=["canary", "rolling"])
def test_a_plan_tells_shares_stages_gates_and_merged_steps(
    planned: Fleet, manifest: str, snapshot: SnapshotAssertion
) -> None:
    planned.write("rollouts/dev/sensors.yaml", manifest)
    (planned.tree / "rollouts/dev/sensors.lock").unlink()
    assert str(planned.run("plan", "sensors")) == snapshot


@pytest.mark.parametrize("strategy", ["Canary", "Rolling", "Direct"])
def test_create_writes_the_smallest_manifest(planned: Fleet, strategy: str, snapshot: SnapshotAssertion) -> None:
    answer = planned.ok(
        *("rollout", "create", "other", "--firmware", "sensor-v1@2.5.0", "--device", "sensor-3"),
        *("--strategy", strategy),
    )
    assert str(answer) == snapshot
    assert ("strategy" in (planned.tree / "rollouts/dev/other.yaml").read_text()) == (strategy != "Canary")


@pytest.fixture(scope="session")
def signed(stages: Callable[[str], Fleet], tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A canary over twenty devices, approved; nothing has happened yet."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        return canary(stages("planned").copy(tmp_path_factory.mktemp("canary") / "work"))


@pytest.fixture
def fresh(signed: Fleet, tmp_path: Path) -> Fleet:
    return signed.copy(tmp_path / "work")


STORIES: dict[str, Callable[[Fleet], Fleet]] = {
    "soaking": soaking,
    "stopped": stopped,
    "rolling-back": going_back,
    "rolled-back": lambda fleet: going_back(fleet, over=True),
    "complete": complete,
}
COMMANDS = (
    *("status sensors", "explain sensors", "rollout report sensors", "events --for sensors"),
    *("status sensors --format json", "explain sensors --format json", "rollout report sensors --format json"),
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("story", STORIES)
def test_a_rollout_in_waves(fresh: Fleet, story: str, command: str, snapshot: SnapshotAssertion) -> None:
    assert str(STORIES[story](fresh).ok(*command.split())) == snapshot


@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize("which", [0, 1, 4])
def test_the_lineage_of_a_device(fresh: Fleet, which: int, format_: str, snapshot: SnapshotAssertion) -> None:
    fleet = going_back(fresh, over=True)
    device = fleet.prepared().plan.waves[1].devices[which]
    assert str(fleet.ok("device", "history", device, "--format", format_)) == snapshot


def test_why_a_device_does_not_move(fresh: Fleet, snapshot: SnapshotAssertion) -> None:
    fleet = stopped(fresh)
    waves = fleet.prepared().plan.waves
    for device in (waves[0].devices[0], waves[1].devices[1], waves[1].devices[4], waves[2].devices[0]):
        assert str(fleet.ok("explain", device)) == snapshot


def test_waiting_answers_by_its_exit_code(fresh: Fleet, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    """Read-only: the ledger is the same file, byte for byte, before and after."""
    ends = {name: STORIES[name](fresh.copy(tmp_path / name)) for name in ("complete", "stopped", "rolled-back")}
    for name, fleet in ends.items():
        ledger = fleet.state / "ledger.db"
        before = ledger.read_bytes()
        answer = fleet.run("status", "sensors", "--wait", "--timeout", "5s")
        assert answer.exit_code == (0 if name == "complete" else 1)
        assert ledger.read_bytes() == before
        assert str(fleet.run("status", "sensors", "--watch")) == snapshot


def test_waiting_has_an_end(fresh: Fleet, snapshot: SnapshotAssertion) -> None:
    answer = soaking(fresh).run("status", "sensors", "--wait", "--timeout", "1s")
    assert answer.exit_code == 5
    assert str(answer) == snapshot


@pytest.mark.parametrize(
    "command",
    [
        *("status --timeout 5s", "status --wait --timeout soon", "explain dev/nope", "device history sensor-9"),
        *("rollout report sensors", "explain sensor-3"),
    ],
)
def test_mistakes(stages: Callable[[str], Fleet], tmp_path: Path, command: str, snapshot: SnapshotAssertion) -> None:
    stage = "planned" if command.startswith("rollout report") else "recorded"
    answer = stages(stage).copy(tmp_path / "work").run(*command.split())
    assert answer.exit_code in (2, 3)
    assert str(answer) == snapshot


HOSTILE = "</title><script>alert(1)</script> \" onload='x' &amp; \x1b[31m\u202e"


def test_a_page_of_hostile_names_is_only_text(fresh: Fleet, tmp_path: Path) -> None:
    fleet = stopped(fresh, detail=HOSTILE)
    out = tmp_path / "report.html"
    fleet.ok("rollout", "report", "sensors", "--format", "html", "--out", out)
    text = out.read_text("utf-8")
    checked = Page()
    checked.feed(text)
    checked.close()
    assert checked.open == []
    assert not checked.tags & {"script", "img", "link", "iframe", "object", "embed", "a", "form", "image", "use"}
    assert not [name for name in checked.attributes if name.startswith("on") or name in ("src", "href", "srcset")]
    assert "url(" not in text
    assert "@import" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_the_page_tells_what_the_report_tells(fresh: Fleet) -> None:
    fleet = going_back(fresh, over=True)
    answer = fleet.ok("rollout", "report", "sensors", "--format", "html")
    for word in ("rolled-back", "maxFailureRate", "wave-3", "E_HEALTH", "p95", "Deadline 2m", "✔ met", "alice"):
        assert word in answer.stdout, word
    assert answer.stdout.count('<path class="curve') == 3
    assert answer.stdout.count('<circle class="mark') == 2


class Page(HTMLParser):
    """Collects what a browser would see, and whether every element is closed."""

    VOID = frozenset({"meta", "br", "hr"})
    DRAWN = frozenset({"line", "rect", "circle", "path"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.DRAWN, tag
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag
