"""Attacks on orders: a thief signs them with the real order key, and asks for what nobody approved for this device."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.trust.signing import OrderSigner, sign_release
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Leaf, Lock, Proof
from fwctl_agent.protocol.messages import MAX_ORDER_BODY, OrderRequest
from fwctl_agent.protocol.statements import ORDER, InstallOrder, LateJoiners, Release
from fwctl_agent.protocol.versions import VersionRange
from fwctl_agent.trust.envelope import seal
from tests.attacks.realm import OTHER, SECOND, VICTIM, Realm, whole_now

pytestmark = pytest.mark.e2e


def rollout(
    realm: Realm,
    release: Release | None = None,
    *,
    leaf: Leaf | None = None,
    others: int = 6,
    stage: int = 1,
    terms: dict[str, Any] | None = None,
    **order: Any,
) -> tuple[InstallOrder, OrderRequest]:
    """Return a whole rollout that two approved and two released, and the victim's order in it."""
    release = release or realm.prepared.plan.release
    leaf = leaf or Leaf(VICTIM, 1, (release.digest,))
    lock = Lock.of([leaf, *(Leaf(f"device-{number:03}", 1, (release.digest,)) for number in range(2, 2 + others))])
    tree, index = lock.tree(), lock.devices.index(leaf.device)
    changes: dict[str, Any] = {
        "lock": canonical.digest(lock.raw),
        "lock_root": tree.root,
        "lock_size": tree.size,
        "releases": tuple(sorted({digest for one in lock.leaves for digest in one.chain})),
    }
    mandate = replace(realm.mandate, **changes | (terms or {}))
    made: dict[str, Any] = {
        "mandate": mandate.id,
        "release": release.digest,
        "leaf": str(leaf),
        "proof": tree.proof(index),
    }
    install = realm.install(**made | order)
    approvals = [realm.approval(name, mandate=mandate, stage=stage) for name in ("alice", "bob")]
    releases = [sign_release(release, realm.signer(name)) for name in ("alice", "bob")]
    return install, realm.request(install, approvals=approvals, releases=releases)


# --- A20, A22: an approved release that is not for this device ---


def _release(**changes: Any) -> Callable[[Realm], Release]:
    return lambda realm: replace(realm.prepared.plan.release, **changes)


OTHER_HARDWARE = {
    "hardware": _release(hardware=("rev-b",)),
    "several-others": _release(hardware=("rev-b", "rev-c", "rev-aa")),
    "none": _release(hardware=()),
    "capitals": _release(hardware=("REV-A",)),
    "model": _release(model="pump-v1"),
}


@pytest.mark.parametrize("release", OTHER_HARDWARE.values(), ids=OTHER_HARDWARE)
def test_a20_agent_a_release_for_other_hardware(realm: Realm, release: Callable[[Realm], Release]) -> None:
    order, request = rollout(realm, release(realm))
    realm.refused(request, "E_HW_MISMATCH", order=order.id)


def test_a20_agent_a_release_that_may_not_follow_what_runs(realm: Realm) -> None:
    order, request = rollout(realm, _release(requires_from=VersionRange("2.0.0", None))(realm))
    realm.refused(request, "E_PRECURSOR", order=order.id)


def test_a20_cli_reconciler_a_release_for_other_hardware(realm: Realm) -> None:
    """The compiler finds it before anybody signs: `validate` names the place, a pass sends nothing."""
    path = realm.world.repo / "firmware" / "sensor-v1" / "2.5.0.yaml"
    try:
        path.write_text(path.read_text().replace("hardware: [rev-a]", "hardware: [rev-b]"))
        realm.commit()
        before = realm.standing_still()
        ran = realm.world.run("validate", "--format", "json")
        assert (ran.code, "E_HW_MISMATCH" in ran.out) == (1, True), ran.text
        ran = realm.world.once(duration=5)
        assert (ran.code, "E_HW_MISMATCH" in ran.err) == (3, True), ran.text
        assert realm.standing_still() == before
    finally:
        realm.restore()


# --- A21: orders for others, and orders bent to fit ---


def test_a21_agent_the_order_of_another_device(realm: Realm) -> None:
    leaf = Leaf(OTHER, 1, (realm.prepared.plan.release.digest,))
    order, request = rollout(realm, leaf=leaf, others=0, device=OTHER)
    realm.refused(request, "E_ORDER_REPLAY", order=order.id)


def test_a21_agent_the_order_of_another_fleet(realm: Realm) -> None:
    """The same names everywhere, and keys of its own."""
    order = realm.install()
    theirs = OrderSigner(CryptoSigner.generate_ed25519(), 900).sign(order)
    realm.refused(replace(realm.request(), order=theirs), "E_SIG_THRESHOLD")


def test_a21_agent_an_order_at_the_address_of_another(realm: Realm) -> None:
    realm.refused(realm.request(), "E_SCHEMA", order=canonical.digest(b"another order"))


BENT: dict[str, dict[str, Any]] = {
    "device": {"device": VICTIM + "0"},
    "attempt-0": {"attempt": 0},
    "attempt-text": {"attempt": "1"},
    "attempt-true": {"attempt": True},
    "epoch-0": {"epoch": 0},
    "epoch-minus": {"epoch": -5},
    "verb": {"verb": "force"},
    "force": {"force": True},
    "ignore-approvals": {"ignoreApprovals": True},
    "now": {"now": True},
    "delivery": {"delivery": {"type": "file", "path": "/etc/passwd"}},
    "no-mandate": {"mandate": None},
    "id": {"id": canonical.digest(b"other")},
    "issued-at-local": {"issuedAt": "2026-11-23T12:00:00+01:00"},
    "activation": {"activation": "always"},
}


@pytest.mark.parametrize("change", BENT.values(), ids=BENT)
def test_a21_a50_agent_an_order_bent_out_of_its_form(realm: Realm, change: dict[str, Any]) -> None:
    wire = realm.install().to_wire() | change
    order = seal(canonical.encode(wire), ORDER, realm.order_key)
    realm.refused(replace(realm.request(), order=order), "E_SCHEMA")


def test_a21_agent_an_order_in_two_readings(realm: Realm) -> None:
    """Twice the same key, and numbers that some readers round."""
    raw = canonical.encode(realm.install().to_wire())
    for spelled in (
        raw.replace(b'"epoch":1', b'"epoch":1,"epoch":900', 1),
        raw.replace(b'"epoch":1', b'"epoch":1.0', 1),
        raw.replace(b'"epoch":1', b'"epoch":1e0', 1),
        raw.replace(b'"epoch":1', b'"epoch": 1', 1),
        raw + b" ",
        b"\xef\xbb\xbf" + raw,
    ):
        assert spelled != raw
        realm.refused(replace(realm.request(), order=seal(spelled, ORDER, realm.order_key)), "E_SCHEMA")


# --- A22: below the policy's floor is in test_moved_trust.py ---
# --- A23: an approved release, and no approved place for this device ---


def _digest(realm: Realm) -> str:
    return realm.prepared.plan.release.digest


def _proof(change: Callable[[Proof], Proof]) -> Callable[[Realm], tuple[InstallOrder, OrderRequest]]:
    def attack(realm: Realm) -> tuple[InstallOrder, OrderRequest]:
        order, _ = rollout(realm)
        return rollout(realm, proof=change(order.proof))

    return attack


def _with_leaf(text: Callable[[Realm], str], **order: Any) -> Callable[[Realm], tuple[InstallOrder, OrderRequest]]:
    def attack(realm: Realm) -> tuple[InstallOrder, OrderRequest]:
        made, request = rollout(realm)
        bent = replace(made, leaf=text(realm), **order)
        return bent, replace(request, order=OrderSigner(realm.order_key, bent.epoch).sign(bent))

    return attack


ZERO, ONES = "00" * 32, "ff" * 32
NOT_COVERED: dict[str, tuple[Callable[[Realm], tuple[InstallOrder, OrderRequest]], str]] = {
    "no-leaf": (_with_leaf(lambda realm: "", proof=Proof(0, ())), "E_NOT_APPROVED"),
    "leaf-of-another": (_with_leaf(lambda realm: str(Leaf(OTHER, 1, (_digest(realm),)))), "E_NOT_APPROVED"),
    "leaf-of-a-longer-name": (
        _with_leaf(lambda realm: str(Leaf(VICTIM + "0", 1, (_digest(realm),)))),
        "E_NOT_APPROVED",
    ),
    "leaf-with-another-release": (
        _with_leaf(lambda realm: str(Leaf(VICTIM, 1, (canonical.digest(b"other"), _digest(realm))))),
        "E_NOT_APPROVED",
    ),
    "leaf-with-two-blanks": (_with_leaf(lambda realm: f"{VICTIM}  1 {_digest(realm)}"), "E_LOCK_INVALID"),
    "leaf-with-a-blank-more": (_with_leaf(lambda realm: f"{VICTIM} 1 {_digest(realm)} "), "E_LOCK_INVALID"),
    "leaf-in-capitals": (_with_leaf(lambda realm: f"{VICTIM.upper()} 1 {_digest(realm)}"), "E_LOCK_INVALID"),
    "leaf-of-stage-0": (_with_leaf(lambda realm: f"{VICTIM} 0 {_digest(realm)}"), "E_LOCK_INVALID"),
    "leaf-of-stage-01": (_with_leaf(lambda realm: f"{VICTIM} 01 {_digest(realm)}"), "E_LOCK_INVALID"),
    "index-of-another": (_proof(lambda proof: replace(proof, index=proof.index + 1)), "E_NOT_APPROVED"),
    "index-beyond": (_proof(lambda proof: replace(proof, index=7)), "E_NOT_APPROVED"),
    "index-far-beyond": (_proof(lambda proof: replace(proof, index=2**40)), "E_NOT_APPROVED"),
    "one-hash-less": (_proof(lambda proof: replace(proof, hashes=proof.hashes[:-1])), "E_NOT_APPROVED"),
    "one-hash-more": (_proof(lambda proof: replace(proof, hashes=(*proof.hashes, ZERO))), "E_NOT_APPROVED"),
    "no-hashes": (_proof(lambda proof: replace(proof, hashes=())), "E_NOT_APPROVED"),
    "reversed": (_proof(lambda proof: replace(proof, hashes=proof.hashes[::-1])), "E_NOT_APPROVED"),
    **{
        f"hash-{at}": (
            _proof(lambda proof, at=at: replace(proof, hashes=(*proof.hashes[:at], ONES, *proof.hashes[at + 1 :]))),  # type: ignore[misc]
            "E_NOT_APPROVED",
        )
        for at in range(3)
    },
    "65-hashes": (_proof(lambda proof: replace(proof, hashes=(ZERO,) * 65)), "E_SCHEMA"),
    "later-stage": (
        lambda realm: rollout(realm, leaf=Leaf(VICTIM, 2, (_digest(realm),)), stage=1),
        "E_SIG_THRESHOLD",
    ),
    "later-stage-told-as-the-first": (
        lambda realm: _told_as_first(realm),
        "E_NOT_APPROVED",
    ),
    "late-joiner-of-another-model": (lambda realm: _late(realm, LateJoiners("pump-v1", "dev", 9)), "E_NOT_APPROVED"),
    "late-joiner-of-another-env": (lambda realm: _late(realm, LateJoiners("sensor-v1", "prod", 9)), "E_NOT_APPROVED"),
    "late-joiner-that-was-there-before": (
        lambda realm: _late(realm, LateJoiners("sensor-v1", "dev", 9)),
        "E_NOT_APPROVED",
    ),
    "release-that-the-mandate-does-not-name": (
        lambda realm: _other_release(realm),
        "E_NOT_APPROVED",
    ),
}


def _told_as_first(realm: Realm) -> tuple[InstallOrder, OrderRequest]:
    order, request = rollout(realm, leaf=Leaf(VICTIM, 2, (_digest(realm),)))
    bent = replace(order, leaf=str(Leaf(VICTIM, 1, (_digest(realm),))))
    return bent, replace(request, order=OrderSigner(realm.order_key, bent.epoch).sign(bent))


def _late(realm: Realm, terms: LateJoiners) -> tuple[InstallOrder, OrderRequest]:
    """No leaf, and terms that do not fit: the victim was enrolled before the approvals."""
    order, request = rollout(realm, terms={"late_joiners": terms})
    mandate = replace(mandate_of(request), late_joiners=terms)
    at = whole_now() + timedelta(minutes=5)
    approvals = tuple(realm.approval(name, mandate=mandate, approved_at=at) for name in ("alice", "bob"))
    bent = replace(order, mandate=mandate.id, leaf="", proof=Proof(0, ()))
    return bent, replace(request, approvals=approvals, order=OrderSigner(realm.order_key, 1).sign(bent))


def mandate_of(request: OrderRequest) -> Any:
    from fwctl_agent.protocol.statements import APPROVAL, Approval
    from fwctl_agent.trust.envelope import Sealed

    return Approval.from_wire(Sealed.open(request.approvals[0], APPROVAL).statement()).mandate


def _other_release(realm: Realm) -> tuple[InstallOrder, OrderRequest]:
    order, request = rollout(realm)
    other = _release(version="9.9.9", release_counter=9)(realm)
    bent = replace(order, release=other.digest)
    signed = tuple(sign_release(other, realm.signer(name)) for name in ("alice", "bob"))
    return bent, replace(request, releases=signed, order=OrderSigner(realm.order_key, 1).sign(bent))


@pytest.mark.parametrize(("attack", "code"), NOT_COVERED.values(), ids=NOT_COVERED)
def test_a23_agent_no_approved_place_for_this_device(
    realm: Realm, attack: Callable[[Realm], tuple[InstallOrder, OrderRequest]], code: str
) -> None:
    order, request = attack(realm)
    realm.refused(request, code, order=order.id)


# --- A14, A46: time ---


def test_a14_agent_an_order_that_has_expired(realm: Realm) -> None:
    for seconds in (0, 1, 3600):
        end = whole_now() - timedelta(seconds=seconds)
        order = realm.install(issued_at=end - timedelta(hours=1), expires=end)
        realm.refused(realm.request(order), "E_EXPIRED")


def test_a14_agent_an_order_that_is_valid_for_more_than_a_day(realm: Realm) -> None:
    for life in (timedelta(hours=24) + SECOND, timedelta(days=36500)):
        order = realm.install(issued_at=whole_now(), expires=whole_now() + life)
        realm.refused(realm.request(order), "E_EXPIRED")


@pytest.mark.parametrize("year", [2027, 2099, 9999])
def test_a46_agent_an_order_from_the_future(realm: Realm, year: int) -> None:
    """It is refused, and no clock is moved by it: `said()` holds the floor clock."""
    at = datetime(year, 1, 1, tzinfo=UTC)
    order = realm.install(issued_at=at, expires=at + timedelta(hours=1))
    realm.refused(realm.request(order), "E_CLOCK")


# --- A50: there is no way around ---


def test_a50_agent_no_option_of_the_agent_skips_a_check() -> None:
    """The options of the agent are these, and none of them weakens it; unknown ones end it."""
    for command, options in {
        "run": {"--config", "--help"},
        "status": {"--config", "--format", "--help"},
    }.items():
        said = subprocess.run(
            [sys.executable, "-m", "fwctl_agent", command, "--help"], capture_output=True, text=True, check=True
        ).stdout
        found = {word.strip("[],") for word in said.split() if word.strip("[],").startswith("--")}
        assert found == options
    for flag in ("--force", "--ignore-signatures", "--insecure", "--no-verify", "--now", "--yes"):
        ended = subprocess.run(
            [sys.executable, "-m", "fwctl_agent", "run", "--config", "/nonexistent", flag],
            capture_output=True,
            check=False,
        )
        assert ended.returncode == 2, flag


@pytest.mark.parametrize("query", ["?force=1", "?force=true&now=1", "?skip=approvals"])
def test_a50_agent_no_query_and_no_header_skips_a_check(realm: Realm, query: str) -> None:
    before, order = realm.disk(), realm.install()
    body = realm.request(approvals=[]).to_bytes()
    headers = {"X-Force": "1", "X-Fwctl-Bypass": "true", "Authorization": "Bearer root"}
    with realm.client() as client:
        status, reply = client.ask("PUT", f"/v1/orders/{order.id}{query}", body, headers)
    assert (status, reply["code"]) == (422, "E_SIG_MISSING")
    assert realm.disk() == before


@pytest.mark.parametrize("extra", ["force", "ignoreApprovals", "now", "policy"])
def test_a50_agent_a_request_with_more_than_belongs_into_it(realm: Realm, extra: str) -> None:
    body = json.loads(realm.request().to_bytes()) | {extra: True}
    realm.refused(json.dumps(body).encode(), "E_SCHEMA")


def test_a50_agent_an_image_without_an_order_is_not_taken(realm: Realm) -> None:
    before = realm.disk()
    with realm.client() as client:
        status, reply = client.push(realm.install(), b"evil" * 100)
    assert (status, reply["code"]) == (404, "E_UNKNOWN_ORDER")
    assert realm.disk() == before


def test_a50_cli_reconciler_no_flag_installs_what_nobody_approved(own: Realm) -> None:
    """Control can stop and revert; with `--now` too. What does not exist is a usage error."""
    for flag in ("--force", "--ignore-approvals", "--now", "--yes", "--no-verify"):
        before = own.standing_still()
        assert own.world.run("reconcile", "--once", flag).code == 2
        assert own.standing_still() == before
    own.reconciler_refuses("E_SIG_MISSING", exit_code=1)
    disk = own.disk()
    for command in ("promote", "resume", "pause", "abort", "rollback"):
        for now in ((), ("--now",)):
            own.world.run(command, "sensors", "--reason", "I want it", *now)
            assert (own.ledger_rows()["orders"], own.disk()) == ([], disk), command
    own.world.once(duration=5)
    assert (own.ledger_rows()["orders"], own.disk()) == ([], disk)


# --- what is no order at all ---

JUNK: dict[str, tuple[Callable[[Realm], bytes], str]] = {
    "empty": (lambda realm: b"", "E_SCHEMA"),
    "not-json": (lambda realm: b"<order/>", "E_SCHEMA"),
    "list": (lambda realm: b"[]", "E_SCHEMA"),
    "nan": (lambda realm: b'{"order": NaN}', "E_SCHEMA"),
    "deep": (lambda realm: b"[" * 100_000 + b"]" * 100_000, "E_LIMIT"),
    "too-large": (lambda realm: b" " * (MAX_ORDER_BODY + 1), "E_LIMIT"),
    "invalid-utf-8": (lambda realm: b'{"order": "\xff"}', "E_SCHEMA"),
    "duplicate-key": (lambda realm: realm.request().to_bytes().replace(b'{"', b'{"order":{},"', 1), "E_SCHEMA"),
    "65-approvals": (lambda realm: realm.request(approvals=realm.approvals() * 33).to_bytes(), "E_SCHEMA"),
    "17-signatures": (lambda realm: _many(realm), "E_SCHEMA"),
}


def _many(realm: Realm) -> bytes:
    request = realm.request()
    order = request.order | {"signatures": request.order["signatures"] * 17}
    return replace(request, order=order).to_bytes()


@pytest.mark.parametrize(("body", "code"), JUNK.values(), ids=JUNK)
def test_a11_agent_what_is_no_order(realm: Realm, body: Callable[[Realm], bytes], code: str) -> None:
    realm.refused(body(realm), code)


def test_a46_agent_a_device_whose_clock_lies_before_its_floor(own: Realm) -> None:
    """It says so, stays reachable, judges by the floor, and takes nothing that had ended by then."""
    world = own.world
    world.processes[-1].stop()
    for path in list((own.folder / "state").glob("journal.*")):
        path.unlink()  # never started: what it was enrolled with is all it knows of time
    toml = own.folder / "agent.toml"
    later = f"{whole_now() + timedelta(days=10):%Y-%m-%d}"
    enrolled = re.sub(r'(enrolledAt = ")[-0-9]+', rf"\g<1>{later}", toml.read_text())
    assert enrolled != toml.read_text()
    toml.write_text(enrolled)
    own.address = world.agent(VICTIM).address
    assert own.said()["clockSuspect"] is True
    own.refused(own.request(), "E_EXPIRED")
    assert own.said()["clockSuspect"] is True
