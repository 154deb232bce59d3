"""Evidence about a real rollout, judged elsewhere: with the root of trust it holds, and no change to it passes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fwctl.audit.folder import Folder
from fwctl.trust.authority import envelope_bytes
from fwctl.trust.signing import sign_approval
from fwctl_agent.protocol.statements import APPROVAL, Approval
from fwctl_agent.trust.envelope import Sealed
from tests.support.people import approve_for, approvers, revoke
from tests.support.world import Ran, World, firmware

COUNT = 3


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path]]:
    """A fleet after a rollout, and the evidence about it."""
    with World(tmp_path_factory.mktemp("audit")) as world:
        world.init()
        world.enroll_simulated(COUNT)
        world.simulator("--memory")
        world.release(firmware("2.5.0"))
        assert world.once().code == 0
        out = world.folder / "evidence"
        made = world.fwctl("audit", "export", "--rollout", "sensors", "--out", out, "--format", "json")
        assert json.loads(made.out)["outcomes"] == COUNT
        yield world, out


def judge(world: World, folder: Path, *, root: Path | None = None) -> Ran:
    """Judge as somebody who has nothing of the fleet but its root."""
    stranger = World(world.folder / "stranger")
    first = root or world.repo / "trust" / "1.root.json"
    return stranger.run("audit", "verify", folder, "--root", first, "--format", "json")


def failed(ran: Ran) -> dict[str, list[str]]:
    assert ran.code == 1, ran.text
    judged = json.loads(ran.out)
    assert not judged["holds"]
    return {check["name"]: check["wrong"] for check in judged["checks"] if not check["holds"]}


def test_it_holds_with_the_root_alone(told: tuple[World, Path]) -> None:
    world, folder = told
    ran = judge(world, folder)
    assert ran.code == 0, ran.text
    found = {check["name"]: check["found"] for check in json.loads(ran.out)["checks"]}
    assert list(found) == [
        "files", "commit", "trust", "approvals", "content", "releases", "plan", "devices", "events"
    ]  # fmt: skip
    assert found["devices"] == f"{COUNT} confirmed"
    assert "alice on " in found["approvals"]
    assert found["releases"] == "sensor-v1 2.5.0 by alice"
    assert found["commit"].endswith(world.git("log", "-1", "--format=%an: %s"))
    assert found["events"].endswith(f"they tell of the same {COUNT} outcomes")


def test_it_is_told_as_text(told: tuple[World, Path]) -> None:
    world, folder = told
    ran = world.fwctl("audit", "verify", folder)
    assert "The evidence holds." in ran.out
    assert all(len(line) < 200 for line in ran.out.splitlines())


def test_later_commits_do_not_change_what_was_approved(told: tuple[World, Path], tmp_path: Path) -> None:
    world, _ = told
    before = world.git("rev-parse", "HEAD")
    manifest = world.repo / "rollouts" / "dev" / "sensors.yaml"
    manifest.write_text(manifest.read_text() + "# a later thought\n")
    world.commit("Later")
    try:
        world.fwctl("audit", "export", "--rollout", "sensors", "--out", tmp_path / "later")
        assert judge(world, tmp_path / "later").code == 0
    finally:
        world.git("reset", "--quiet", "--hard", before)


def test_who_approved_and_was_revoked_since_still_approved_it(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.init()
        world.enroll_simulated(COUNT)
        world.simulator("--memory")
        world.release(firmware("2.5.0"), approve=False)
        approvers(world, "bob")
        approve_for(world, "bob", timedelta(days=1))
        assert world.once().code == 0
        revoke(world, "bob")
        world.once()  # the pass that finds nobody's word for it any more
        made = world.fwctl("audit", "export", "--rollout", "sensors", "--out", tmp_path / "out", "--format", "json")
        assert json.loads(made.out)["outcomes"] == COUNT
        ran = judge(world, tmp_path / "out")
        assert ran.code == 0, ran.text


def test_what_is_approved_since_and_has_not_run_is_named(told: tuple[World, Path], tmp_path: Path) -> None:
    world, folder = told
    before = world.git("rev-parse", "HEAD")
    manifest = world.repo / "rollouts" / "dev" / "sensors.yaml"
    manifest.write_text(manifest.read_text() + "# another round\n")
    try:
        world.fwctl("plan", "sensors", "--lock")
        world.commit("Again")
        world.fwctl("approve", "sensors", "--yes")
        made = world.fwctl("audit", "export", "--rollout", "sensors", "--out", tmp_path / "a", "--format", "json")
        text = world.fwctl("audit", "export", "--rollout", "sensors", "--out", tmp_path / "b").out
    finally:
        world.git("reset", "--quiet", "--hard", before)
    found = json.loads(made.out)
    assert found["mandate"] == json.loads((folder / "audit.json").read_text())["mandate"]
    assert found["newer"] not in (None, found["mandate"])
    assert f"Approved since, and not run yet: mandate {found['newer']}." in text
    again = world.fwctl("audit", "export", "--rollout", "sensors", "--out", tmp_path / "c", "--format", "json")
    assert json.loads(again.out)["newer"] is None


def test_another_root_vouches_for_nothing(told: tuple[World, Path], tmp_path: Path) -> None:
    world, folder = told
    with World(tmp_path) as other:
        other.init()
        assert list(failed(judge(world, folder, root=other.repo / "trust" / "1.root.json"))) == ["trust"]


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def lines(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    values = [json.loads(line) for line in path.read_text().splitlines()]
    change(values)
    path.write_text("".join(json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n" for value in values))


def claim(folder: Path, **changes: str) -> None:
    edit(folder / "audit.json", lambda index: index.update(changes))


def relist(folder: Path) -> None:
    """Write the digests again, as a forger would."""
    where = Folder(folder)
    edit(folder / "audit.json", lambda one: one.update(files={n: where.digest(n) for n in sorted(where.names())}))


def repository(folder: Path, ending: str) -> Path:
    (found,) = [one for one in (folder / "repository").rglob("*") if str(one).endswith(ending)]
    return found


def append(ending: str) -> Callable[[Path], None]:
    def forge(folder: Path) -> None:
        path = repository(folder, ending)
        path.write_bytes(path.read_bytes() + b"\n")

    return forge


def turned(value: list[dict[str, Any]]) -> None:
    """Have a device say that it failed."""
    envelope = value[0]["envelope"]
    said = base64.b64decode(envelope["payload"]).replace(b'"confirmed"', b'"failed"')
    envelope["payload"] = base64.b64encode(said).decode()


def other_commit(folder: Path) -> None:
    (raw,) = [one for one in (folder / "commit").iterdir() if one.is_file()]
    data = raw.read_bytes().replace(b"author ", b"author Not ", 1)
    raw.unlink()
    name = hashlib.sha1(b"commit %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    (folder / "commit" / name).write_bytes(data)


def other_ca(folder: Path) -> None:
    first = (folder / "outcomes.jsonl").read_text().splitlines()[0]
    (folder / "device-ca.pem").write_text(json.loads(first)["certificate"])


FORGERIES: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "a manifest with one byte more": (append("dev/sensors.yaml"), {"commit", "content"}),
    "a lock with one byte more": (append("dev/sensors.lock"), {"commit", "content"}),
    "another plan": (lambda f: edit(f / "plan.json", lambda p: p["waves"][0].update(soak=9)), {"content"}),
    "an approval left out": (lambda f: repository(f, "alice.1.dsse.json").unlink(), {"approvals"}),
    "a release statement left out": (lambda f: repository(f, "2.5.0.alice.dsse.json").unlink(), {"releases"}),
    "a policy with one byte more": (append("policy/policy.json"), {"commit", "trust"}),
    "another author": (other_commit, {"commit"}),
    "an outcome turned around": (lambda f: lines(f / "outcomes.jsonl", turned), {"devices", "events"}),
    "an outcome left out": (lambda f: lines(f / "outcomes.jsonl", lambda v: v.pop()), {"events"}),
    "an outcome of another device": (
        lambda f: lines(f / "outcomes.jsonl", lambda v: v[0].update(device=v[1]["device"])),
        {"devices", "events"},
    ),
    "an event left out": (lambda f: lines(f / "events.jsonl", lambda v: v.pop(len(v) // 2)), {"events"}),
    "an event changed": (lambda f: lines(f / "events.jsonl", lambda v: v[3].update(reason="other")), {"events"}),
    "events in another order": (lambda f: lines(f / "events.jsonl", lambda v: v.reverse()), {"events"}),
    "another device CA": (
        other_ca,
        {"devices", "events"},
    ),
    "another rollout": (lambda f: claim(f, rollout="dev/others"), {"approvals"}),
    "another mandate": (lambda f: claim(f, mandate="sha256:" + "0" * 64), {"approvals"}),
    "another commit": (lambda f: claim(f, commit="0" * 40), {"commit"}),
    "another fleet": (lambda f: claim(f, repoId="umbrella"), {"trust"}),
    "before it was approved": (lambda f: claim(f, asOf="2026-01-01T00:00:00Z"), {"approvals"}),
    "long after": (lambda f: claim(f, asOf="2099-01-01T00:00:00Z"), {"trust"}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_named(told: tuple[World, Path], tmp_path: Path, name: str) -> None:
    world, folder = told
    copy = tmp_path / "evidence"
    shutil.copytree(folder, copy)
    forge, expected = FORGERIES[name]
    forge(copy)
    if not name.startswith(("another rollout", "another mandate", "another commit", "another fleet", "before", "long")):
        assert "files" in failed(judge(world, copy))
    relist(copy)
    found = failed(judge(world, copy))
    assert set(found) == expected, found


def test_the_first_broken_link_is_named(told: tuple[World, Path], tmp_path: Path) -> None:
    world, folder = told
    copy = tmp_path / "evidence"
    shutil.copytree(folder, copy)
    seqs: list[int] = []

    def change(events: list[dict[str, Any]]) -> None:
        seqs.extend((events[2]["seq"], events[4]["seq"]))
        events[2]["actor"] = events[4]["actor"] = "mallory"

    lines(copy / "events.jsonl", change)
    assert f"event {seqs[0]}: its content was changed" in failed(judge(world, copy))["events"][0]


def test_a_device_of_a_stage_that_nobody_approved_is_named(tmp_path: Path) -> None:
    """The reconciler would not send it; who forges approvals away would have to show it."""
    with World(tmp_path) as world:
        world.init()
        world.enroll_simulated(COUNT)
        world.simulator("--memory")
        world.add_firmware(firmware("2.5.0"), "2.5.0")
        world.fwctl("rollout", "create", "sensors", "--firmware", "sensor-v1@2.5.0", "--all", "--strategy", "Direct")
        manifest = world.repo / "rollouts" / "dev" / "sensors.yaml"
        text = manifest.read_text().replace(
            "strategy: {type: Direct}", "strategy: {type: Rolling, batchSize: 1, soak: 0s, approvalBefore: [wave-2]}"
        )
        assert "approvalBefore" in text
        manifest.write_text(text)
        world.fwctl("plan", "sensors", "--lock")
        world.commit("Release 2.5.0")
        world.fwctl("approve", "sensors", "--yes")
        assert world.once().code == 0
        world.fwctl("audit", "export", "--rollout", "sensors", "--out", tmp_path / "evidence")
        assert judge(world, tmp_path / "evidence").code == 0
        folder = tmp_path / "evidence"
        path = repository(folder, "alice.2.dsse.json")
        approval = Approval.from_wire(Sealed.open(json.loads(path.read_text()), APPROVAL).statement())
        path.write_bytes(envelope_bytes(sign_approval(replace(approval, stage=1), world.keystore.signer("alice"))))
        relist(folder)
        found = failed(judge(world, folder))
        assert set(found) == {"commit", "devices", "events"}
        assert len([why for why in found["devices"] if "it stands in stage 2, and stage 1 was approved" in why]) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "audit.json").unlink(),
        lambda f: (f / "audit.json").write_text("{"),
        lambda f: (f / "audit.json").write_text('{"schemaVersion": 2, "files": {}}'),
        lambda f: (f / "plan.json").unlink(),
        lambda f: (f / "outcomes.jsonl").write_text("[]\n"),
        lambda f: (f / "events.jsonl").write_text("\x00\n"),
        shutil.rmtree,
    ],
)
def test_what_is_no_evidence_is_refused(
    told: tuple[World, Path], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    world, folder = told
    copy = tmp_path / "evidence"
    shutil.copytree(folder, copy)
    damage(copy)
    ran = judge(world, copy)
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (3, "E_AUDIT"), ran.text


def test_a_link_in_the_folder_is_not_followed(told: tuple[World, Path], tmp_path: Path) -> None:
    world, folder = told
    copy = tmp_path / "evidence"
    shutil.copytree(folder, copy)
    (copy / "plan.json").unlink()
    (copy / "plan.json").symlink_to(folder / "plan.json")
    assert judge(world, copy).code == 3


@pytest.mark.parametrize("name", ["audit.json", "plan.json", "outcomes.jsonl", "events.jsonl", "device-ca.pem"])
def test_a_pipe_in_the_folder_is_not_waited_for(told: tuple[World, Path], tmp_path: Path, name: str) -> None:
    world, folder = told
    copy = tmp_path / "evidence"
    shutil.copytree(folder, copy)
    (copy / name).unlink()
    os.mkfifo(copy / name)
    ran = judge(world, copy)
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (3, "E_AUDIT"), ran.text


def test_an_export_never_writes_over_something(told: tuple[World, Path]) -> None:
    world, folder = told
    before = (folder / "audit.json").read_bytes()
    ran = world.run("audit", "export", "--rollout", "sensors", "--out", folder)
    assert ran.code == 3
    assert "E_EXISTS" in ran.err
    assert (folder / "audit.json").read_bytes() == before


def test_before_anything_has_happened(tmp_path: Path) -> None:
    with World(tmp_path) as world:
        world.init()
        world.enroll("device-001")
        world.release(firmware("2.5.0"))
        ran = world.run("audit", "export", "--rollout", "sensors", "--out", tmp_path / "out")
        assert (ran.code, "E_NO_REPORT" in ran.err) == (3, True), ran.text
        assert not (tmp_path / "out").exists()
