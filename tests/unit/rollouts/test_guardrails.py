"""Guard rails judge plans; freezes hold waves like a closed window."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl.manifests import FleetRepo, load
from fwctl.manifests.models.policy import Freeze, Share
from fwctl.rollouts.compile import compile_rollout
from fwctl.rollouts.decide import decide
from fwctl.rollouts.plan import Plan
from fwctl.rollouts.rails.rules import (
    FreezeOf,
    allowed,
    blast_radius,
    first_devices,
    frozen,
    guard,
    next_change,
    rails_of,
)
from fwctl.rollouts.view import DeviceView, OpenOrder, RolloutView, WaveView
from fwctl_agent.protocol import canonical
from tests.unit.manifests.conftest import clean_files

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROLLOUT = "rollouts/dev/one.yaml"


def repo(
    rules: str, *, strategy: str = "{type: Canary}", devices: int = 40, more: str = "", applies: str = ""
) -> FleetRepo:
    """Return a fleet with one rollout and one policy of these rules."""
    files = clean_files()
    regions = ("eu", "us")
    lines = "".join(f"    - {{id: dev-{n:03}, region: {regions[n % 2]}}}\n" for n in range(devices))
    head = files["devices/a.yaml"].decode().partition("  devices:\n")[0]
    files["devices/a.yaml"] = f"{head}  devices:\n{lines}".encode()
    files[ROLLOUT] += f"  strategy: {strategy}\n{more}".encode()
    text = "apiVersion: fwctl/v1\nkind: RolloutPolicy\nmetadata: {name: careful}\nspec:\n"
    files["policies/careful.yaml"] = f"{text}{applies}  rules: {{{rules}}}\n".encode()
    found = load(files)
    assert found.repo is not None, found.diagnostics
    return found.repo


def plan_of(found: FleetRepo) -> Plan:
    return compile_rollout(found, found.rollouts["dev/one"])


def broken(found: FleetRepo) -> list[str]:
    digests = [canonical.digest(one.raw) for one in found.policies.values()]
    return [one.rule for one in guard(rails_of(found, digests), plan_of(found)).violations]


CASES = {
    "canary kept": ("minimumCanary: {percent: 5}", "{type: Canary}", []),
    "canary too large": ("minimumCanary: {percent: 5}", "{type: Canary, initialPercentage: 10}", ["minimumCanary"]),
    "canary in devices": ("minimumCanary: {devices: 2}", "{type: Canary}", []),
    "both must hold": ("minimumCanary: {devices: 1, percent: 50}", "{type: Canary}", ["minimumCanary"]),
    "no canary": ("minimumCanary: {percent: 5}", "{type: Direct}", ["minimumCanary"]),
    "soak kept": ("minimumSoak: 15m", "{type: Canary}", []),
    "soak too short": ("minimumSoak: 16m", "{type: Canary}", ["minimumSoak"]),
    "radius kept": ("maximumBlastRadius: {percent: 50}", "{type: Canary}", []),
    "radius too large": ("maximumBlastRadius: {percent: 47}", "{type: Canary}", ["maximumBlastRadius"]),
    "radius of batches": ("maximumBlastRadius: {devices: 4}", "{type: Rolling, batchSize: 10%}", []),
    "parallel regions add up": (
        "maximumBlastRadius: {devices: 39}",
        "{type: Regional, order: Parallel, inner: {type: Direct}, regions: [{name: eu}, {name: us}]}",
        ["maximumBlastRadius"],
    ),
    "regions in order do not": (
        "maximumBlastRadius: {devices: 20}",
        "{type: Regional, inner: {type: Direct}, regions: [{name: eu}, {name: us}]}",
        [],
    ),
    "a switch is everybody at once": ("maximumBlastRadius: {devices: 39}", "{type: BlueGreen}", ["maximumBlastRadius"]),
    "strategy allowed": ("strategies: [Canary, Rolling]", "{type: Canary}", []),
    "strategy not allowed": ("strategies: [Canary, Rolling]", "{type: Direct}", ["strategies"]),
    "several": ("strategies: [Canary], minimumSoak: 1h", "{type: Direct}", ["strategies", "minimumSoak"]),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "strategy", "expected"), CASES.values(), ids=CASES.keys())
def test_rules(rules: str, strategy: str, expected: list[str]) -> None:
    assert broken(repo(rules, strategy=strategy)) == expected


@pytest.mark.parametrize(
    ("applies", "holds"),
    [
        ("", True),
        ("  appliesTo: {envs: [dev]}\n", True),
        ('  appliesTo: {envs: ["d*"], models: ["sensor-*"]}\n', True),
        ("  appliesTo: {envs: [prod, staging]}\n", False),
        ('  appliesTo: {models: ["gateway-*"]}\n', False),
        ('  appliesTo: {envs: [prod], models: ["*"]}\n', False),
    ],
)
def test_a_policy_is_about_the_rollouts_that_it_names(applies: str, holds: bool) -> None:
    found = broken(repo("strategies: [Rolling]", applies=applies))
    assert bool(found) == holds


def test_without_a_signature_nothing_is_in_force_and_a_digest_without_a_file_is_missing() -> None:
    found = repo("strategies: [Rolling]")
    rails = rails_of(found, ["sha256:" + "0" * 64])
    assert ([one.name for one in rails.unsigned], rails.in_force) == (["careful"], ())
    judged = guard(rails, plan_of(found))
    assert judged.violations == ()
    assert judged.missing == ("sha256:" + "0" * 64,)


def test_an_exception_sets_aside_its_own_rule_only() -> None:
    more = "  exceptions: [{policy: careful, rule: strategies, reason: a bench}]\n"
    found = repo("strategies: [Rolling], minimumSoak: 1h", more=more)
    judged = guard(rails_of(found, [canonical.digest(found.policies["careful"].raw)]), plan_of(found))
    assert [one.rule for one in judged.violations] == ["minimumSoak"]
    assert [(one.rule, one.reason) for one in judged.excepted] == [("strategies", "a bench")]
    assert judged.idle == ()


@pytest.mark.parametrize(("most", "kept"), [(0, True), (20, True), (21, False)])
def test_who_may_join_late_counts_as_a_wave(most: int, kept: bool) -> None:
    more = f"  lateJoiners: {{max: {most}}}\n"
    found = repo("maximumBlastRadius: {percent: 50}", strategy="{type: Rolling, batchSize: 4}", more=more)
    judged = guard(rails_of(found, [canonical.digest(found.policies["careful"].raw)]), plan_of(found))
    assert blast_radius(plan_of(found)) == max(4, most)
    assert [(one.message, one.remedy, one.loc) for one in judged.violations] == [
        (
            "21 devices may join late, all at once; 50 % allows 20",
            "Set `lateJoiners.max` to 20 or less, or lock again when devices come.",
            ("spec", "lateJoiners", "max"),
        )
    ] * (not kept)


@given(st.integers(1, 100_000), st.floats(0.01, 100), st.integers(1, 1000))
def test_a_share_always_lets_one_device_go_and_never_more_than_either_limit(total: int, percent: float, n: int) -> None:
    least = allowed(Share(percent=percent), total)
    assert 1 <= least <= total
    assert (least - 1) * 100 < percent * total * (1 + 1e-9)
    assert allowed(Share(percent=percent, devices=n), total) == min(least, n)


@given(st.integers(1, 60), st.integers(1, 30))
def test_the_radius_is_never_less_than_the_first_wave_nor_more_than_the_fleet(devices: int, size: int) -> None:
    plan = plan_of(repo("minimumSoak: 0s", strategy=f"{{type: Rolling, batchSize: {size}}}", devices=devices))
    assert first_devices(plan) <= blast_radius(plan) <= len(plan.members)
    assert blast_radius(plan) == min(size, devices)


# -- freezes -----------------------------------------------------------------------------------------------------------


def freeze(begin: str, until: str, zone: str | None = None) -> FreezeOf:
    return FreezeOf("careful", Freeze.model_validate({"from": begin, "until": until, "timeZone": zone, "reason": "x"}))


@pytest.mark.parametrize(
    ("begin", "until", "zone", "hours"),
    [
        ("2026-12-20T00:00:00Z", "2026-12-21T00:00:00Z", None, 24),
        ("2026-12-20T00:00:00+02:00", "2026-12-21T00:00:00Z", None, 26),
        ("2026-12-20T00:00:00", "2026-12-21T00:00:00", "Europe/Berlin", 24),
        ("2026-03-29T00:00:00", "2026-03-30T00:00:00", "Europe/Berlin", 23),  # clocks go forward
        ("2026-10-25T00:00:00", "2026-10-26T00:00:00", "Europe/Berlin", 25),  # and back
        ("2026-10-25T02:30:00", "2026-10-25T02:31:00", "Europe/Berlin", 1 + 1 / 60),  # an hour that comes twice
    ],
)  # fmt: skip
def test_a_freeze_is_in_its_zone(begin: str, until: str, zone: str | None, hours: float) -> None:
    found = freeze(begin, until, zone).freeze
    assert found.ends - found.begins == timedelta(hours=hours)


BAD = {
    "no zone": '{from: "2026-12-20T00:00:00", until: "2026-12-21T00:00:00"}',
    "two zones": '{from: "2026-12-20T00:00:00Z", until: "2026-12-21T00:00:00Z", timeZone: Europe/Berlin}',
    "no such zone": '{from: "2026-12-20T00:00:00", until: "2026-12-21T00:00:00", timeZone: Europe/Atlantis}',
    "no such day": '{from: "2026-02-30T00:00:00Z", until: "2026-12-21T00:00:00Z"}',
    "backwards": '{from: "2026-12-21T00:00:00Z", until: "2026-12-20T00:00:00Z"}',
    "no end": '{from: "2026-12-21T00:00:00Z"}',
    "a day": '{from: "2026-12-21", until: "2026-12-22"}',
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_is_no_freeze_is_refused_at_its_place(text: str) -> None:
    files = clean_files()
    head = "apiVersion: fwctl/v1\nkind: RolloutPolicy\nmetadata: {name: careful}\nspec:\n"
    files["policies/careful.yaml"] = f"{head}  rules: {{freezes: [{text}]}}\n".encode()
    found = load(files).diagnostics[0]
    assert (found.code, found.path, found.line) == ("E_SCHEMA", "policies/careful.yaml", 5)


def test_of_several_freezes_the_longest_is_told_and_each_end_is_a_moment_to_wake() -> None:
    one = freeze("2026-11-23T10:00:00Z", "2026-11-23T14:00:00Z")
    two = freeze("2026-11-23T11:00:00Z", "2026-11-23T16:00:00Z")
    later = freeze("2026-11-23T13:00:00Z", "2026-11-23T13:30:00Z")
    every = (one, two, later)
    assert frozen(every, NOW) is two
    assert next_change(every, NOW) == later.freeze.begins
    assert frozen(every, two.freeze.ends) is None
    assert frozen(every, one.freeze.begins - timedelta(seconds=1)) is None
    assert next_change(every, two.freeze.ends) is None


def view(**more: object) -> RolloutView:
    return RolloutView(approved_stage=9, devices={}, **more)  # type: ignore[arg-type]


def test_a_freeze_starts_nothing_and_ends_by_itself() -> None:
    plan, held = plan_of(repo("minimumSoak: 0s")), freeze("2026-11-23T00:00:00Z", "2026-11-23T13:00:00Z")
    during = decide(plan, view(freezes=(held,)), NOW)
    assert during.actions == ()
    assert during.next_due == held.freeze.ends
    assert "guard rail careful: frozen until 2026-11-23 13:00:00Z (x)" in during.holding
    assert {one.rule for one in during.standings.values()} == {"guard_rail"}
    assert (
        decide(plan, view(freezes=(held,)), held.freeze.ends).actions
        == decide(plan, view(), held.freeze.ends).actions
        != ()
    )


def test_what_is_under_way_and_what_goes_back_ignore_a_freeze() -> None:
    plan, held = plan_of(repo("minimumSoak: 0s")), freeze("2026-11-23T00:00:00Z", "2026-11-23T13:00:00Z")
    first = plan.waves[0]
    flying = DeviceView(
        id=first.devices[0], order=OpenOrder("o", 1, "running", NOW, accepted=True), install="o", attempts=1
    )
    going = replace(view(freezes=(held,)), waves={first.name: WaveView("open")}, devices={flying.id: flying})
    assert [getattr(one, "device", "") for one in decide(plan, going, NOW).actions] == [flying.id]
    back = replace(going, back_since=NOW)
    assert [getattr(one, "device", "") for one in decide(plan, back, NOW).actions] == [flying.id]


def test_the_policy_in_the_documentation_is_one() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "guard-rails.md").read_text("utf-8")
    block = page.partition("```yaml\n")[2].partition("```")[0]
    found = load(clean_files() | {"policies/production.yaml": block.encode()})
    assert found.diagnostics == ()
    assert found.repo is not None
    assert set(found.repo.policies) == {"production"}
