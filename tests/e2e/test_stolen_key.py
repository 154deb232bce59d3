"""A thief holds all that a reconciler holds: order key, freshness key, its certificate, and everything in git.

He can replay what was approved. He cannot make a real agent run anything that nobody approved for that device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.cli.context import Context
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.trust.keystore import FRESHNESS, ORDER
from fwctl.trust.repository import Signers, build, development_policy, held_by, mint_freshness
from fwctl.trust.signing import OrderSigner, sign_approval, sign_release
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Leaf, Lock, Proof
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import Approval, InstallOrder, Order
from tests.support.agents import Client
from tests.support.world import REPO, World, firmware, until

pytestmark = pytest.mark.e2e

VICTIM, OTHER = "device-001", "device-002"
EVIL = firmware("evil")


@dataclass
class Thief:
    """Signs with the stolen keys whatever he likes, and speaks to the agents with the stolen certificate."""

    world: World
    addresses: Mapping[str, str]
    first: str
    """the commit whose approved release, 2.5.0, ran before"""
    second: str
    """the commit whose approved release, 2.6.0, runs now"""
    stamp: int = 1000

    def __post_init__(self) -> None:
        keys = self.world.keystore
        self.order_key, self.freshness_key = keys.signer(ORDER), keys.signer(FRESHNESS)
        self.state: CommitState = self.read()

    def read(self, ref: str = "HEAD") -> CommitState:
        settings = Context(str(self.world.repo), self.world.state, self.world.config)
        commit, files = settings.committed(ref)
        return settings.read(files, commit)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    def prepared(self, name: str) -> Prepared:
        return self.state.rollouts[f"dev/{name}"]

    def install(self, device: str, of: Prepared, *, epoch: int = 500, **changes: Any) -> InstallOrder:
        assert of.lock is not None
        assert of.mandate is not None
        index = of.index.get(device, 0)
        order = InstallOrder(
            device=device,
            mandate=of.mandate.id,
            release=of.plan.release.digest,
            attempt=1,
            leaf=str(of.lock.leaves[index]),
            proof=of.tree.proof(index),
            confirm_within=600,
            watch=0,
            probes="default",
            limits=(),
            activation="now",
            **OrderSigner(self.order_key, epoch).lifetime(self.now),
        )
        return replace(order, **changes)

    def trust(self) -> dict[str, str]:
        self.stamp += 1
        trusted = self.state.authority.trusted
        return self.state.authority.bundle(1) | mint_freshness(
            trusted, self.freshness_key, version=self.stamp, now=self.now
        )

    def request(self, order: Order, of: Prepared, **changes: Any) -> OrderRequest:
        envelope = OrderSigner(self.order_key, order.epoch).sign(order)
        request = OrderRequest(envelope, of.approvals, of.statements(order.release), self.trust())
        return replace(request, **changes)

    def client(self, device: str) -> Client:
        return self.world.client(device, self.addresses[device])

    def attempt(self, order: Order, request: OrderRequest, image: bytes) -> tuple[int, Any]:
        """Send an order, and push the image whatever the agent says; return what it said to the order."""
        with self.client(order.device) as client:
            answer = client.put(order, request)
            if isinstance(order, InstallOrder):
                # The agent closes on who sends what it does not want, maybe before all of it has left.
                with self.client(order.device) as again, suppress(OSError, HTTPException):
                    again.push(order, image)
        return answer


def belongings(thief: Thief, device: str) -> dict[str, Any]:
    """Return everything of a device that matters, as it says itself and as it lies on its disk."""
    with thief.client(device) as client:
        said = client.device()
    slots = thief.world.folder / "devices" / device / "slots"
    kept = {key: said[key] for key in ("running", "slots", "state", "order", "floor", "spent", "marks", "outcomes")}
    return (
        kept | {path.name: path.read_bytes() for path in slots.glob("*.img")} | {"at": (slots / "current").readlink()}
    )


@pytest.fixture(scope="module")
def thief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thief]:
    """2.6.0 runs on both after 2.5.0; 2.7.0 is approved for device-002 alone, 2.8.0 is signed and not approved."""
    with World(tmp_path_factory.mktemp("stolen")) as world:
        world.init()
        for name in (VICTIM, OTHER):
            world.enroll(name)
        agents = {name: world.agent(name) for name in (VICTIM, OTHER)}
        first = world.release(firmware("2.5.0"))
        world.reconciled()
        moment = datetime.now(UTC).replace(microsecond=0)
        until(lambda: datetime.now(UTC) >= moment + timedelta(seconds=1), what="approvals that differ by a second")
        second = world.release(firmware("2.6.0"), "2.6.0")
        world.reconciled()
        world.git("rm", "--quiet", "rollouts/dev/sensors.yaml", "rollouts/dev/sensors.lock")
        for name, version, device in (("only-other", "2.7.0", OTHER), ("waiting", "2.8.0", VICTIM)):
            world.add_firmware(firmware(version), version)
            world.fwctl(
                "rollout",
                "create",
                name,
                "--firmware",
                f"sensor-v1@{version}",
                "--device",
                device,
                "--strategy",
                "Direct",
            )
            world.fwctl("plan", name, "--lock")
        world.commit()
        world.fwctl("approve", "only-other", "--yes")
        yield Thief(world, {name: agent.address for name, agent in agents.items()}, first, second)


Forgery = Callable[[Thief], tuple[InstallOrder, OrderRequest, bytes]]


def _mandate(thief: Thief, *, device: str = VICTIM, image: bytes = EVIL) -> tuple[Prepared, InstallOrder]:
    """Return a whole rollout of the thief's own making, as good as he can make it."""
    base = thief.prepared("only-other")
    assert base.mandate is not None
    release = replace(
        base.plan.release, version="9.9.9", image=canonical.digest(image), length=len(image), release_counter=99
    )
    lock = Lock.of([Leaf(device, 1, (release.digest,))])
    tree = lock.tree()
    mandate = replace(
        base.mandate, lock=canonical.digest(lock.raw), lock_root=tree.root, lock_size=1, releases=(release.digest,)
    )
    approval = Approval(mandate, 1, thief.now, thief.now + timedelta(days=30), "alice", "approved for release")
    own = Prepared(
        base.rollout,
        base.plan,
        lock,
        mandate,
        base.verdict,
        None,
        approvals=(sign_approval(approval, thief.order_key),),
        releases={release.digest: (sign_release(release, thief.order_key),)},
    )
    return own, thief.install(device, own, release=release.digest)


def _all(of: Prepared) -> tuple[dict[str, Any], ...]:
    return tuple(one for statements in of.releases.values() for one in statements)


def self_approved(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    own, order = _mandate(thief)
    return order, thief.request(order, own), EVIL


def approved_by_others_for_something_else(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    own, order = _mandate(thief)
    return order, thief.request(order, own, approvals=thief.prepared("only-other").approvals), EVIL


def under_an_approved_mandate(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    real, (own, order) = thief.prepared("only-other"), _mandate(thief)
    assert real.mandate is not None
    order = replace(order, mandate=real.mandate.id)
    return order, thief.request(order, real, releases=(*_all(real), *_all(own))), EVIL


def with_a_policy_of_his_own(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    own, order = _mandate(thief)
    his = CryptoSigner.generate_ed25519()
    key, freshness = held_by(thief.order_key.public_key, ""), thief.freshness_key
    policy = development_policy(repo_id=REPO, people={"alice": key}, order_key=key)
    signers = Signers([his], [freshness], [freshness], held_by(freshness.public_key, ""), {})
    made = build(signers, policy, now=thief.now, version=7)
    trust = thief.trust() | {name: made[name] for name in made if name != "1.root.json"}
    return order, thief.request(order, own, trust=trust), EVIL


def signed_release_without_approval(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    waiting = thief.prepared("waiting")
    assert waiting.releases
    order = thief.install(VICTIM, waiting)
    return order, thief.request(order, waiting), firmware("2.8.0")


def _for_another(thief: Thief, **changes: Any) -> tuple[InstallOrder, OrderRequest, bytes]:
    other = thief.prepared("only-other")
    order = thief.install(VICTIM, other, **changes)
    return order, thief.request(order, other), firmware("2.7.0")


def with_the_leaf_of_another(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    return _for_another(thief)


def without_a_leaf(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    return _for_another(thief, leaf="", proof=Proof(0, ()))


def with_a_leaf_of_his_own(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    digest = thief.prepared("only-other").plan.release.digest
    return _for_another(thief, leaf=str(Leaf(VICTIM, 1, (digest,))))


def with_a_made_up_proof(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    digest = thief.prepared("only-other").plan.release.digest
    return _for_another(thief, leaf=str(Leaf(VICTIM, 1, (digest,))), proof=Proof(1, ("ab" * 32,)))


def an_older_release_again(thief: Thief) -> tuple[InstallOrder, OrderRequest, bytes]:
    """2.5.0 was approved for this device once; 2.6.0 was approved later and runs."""
    old = thief.read(thief.first).rollouts["dev/sensors"]
    order = thief.install(VICTIM, old, attempt=7)
    return order, thief.request(order, old), firmware("2.5.0")


@pytest.mark.parametrize(
    ("forgery", "code"),
    [
        (self_approved, "E_SIG_THRESHOLD"),
        (approved_by_others_for_something_else, "E_APPROVAL_STALE"),
        (under_an_approved_mandate, "E_NOT_APPROVED"),
        (with_a_policy_of_his_own, "E_SIG_THRESHOLD"),
        (signed_release_without_approval, "E_SIG_MISSING"),
        (with_the_leaf_of_another, "E_NOT_APPROVED"),
        (without_a_leaf, "E_NOT_APPROVED"),
        (with_a_leaf_of_his_own, "E_NOT_APPROVED"),
        (with_a_made_up_proof, "E_NOT_APPROVED"),
        (an_older_release_again, "E_ORDER_REPLAY"),
    ],
)
def test_what_nobody_approved_for_this_device_does_not_reach_its_slots(
    thief: Thief, forgery: Forgery, code: str
) -> None:
    before = belongings(thief, VICTIM)
    order, request, image = forgery(thief)
    status, reply = thief.attempt(order, request, image)
    assert status == 422, reply
    assert (reply["class"], reply["code"]) == ("refused", code), reply
    assert belongings(thief, VICTIM) == before


def test_no_order_goes_back_behind_an_epoch_or_an_attempt_that_the_device_has_seen(thief: Thief) -> None:
    before = belongings(thief, VICTIM)
    with thief.client(VICTIM) as client:
        marks = client.device()["marks"]
    assert {mark["verb"] for mark in marks} == {"install", "confirm"}
    now = thief.read(thief.second).rollouts["dev/sensors"]
    lower = thief.install(VICTIM, now, epoch=1, attempt=2)
    status, reply = thief.attempt(lower, thief.request(lower, now), EVIL)
    assert (status, reply["code"], "epoch" in reply["message"]) == (422, "E_ORDER_REPLAY", True), reply
    known = thief.install(VICTIM, now)
    status, reply = thief.attempt(known, thief.request(known, now), EVIL)
    assert (status, reply["state"]) == (200, "confirmed"), "the stored outcome is the answer (I3)"
    assert belongings(thief, VICTIM) == before


def test_other_bytes_under_an_approved_order_do_not_become_bootable(thief: Thief) -> None:
    """He may replay an approved order; what he pushes under it is judged by the signed digest."""
    approved = thief.prepared("only-other")
    running = belongings(thief, OTHER)["running"]
    for attempt, image in enumerate((EVIL, EVIL[:1], firmware("2.7.0")[:-1] + b"!"), start=1):
        order = thief.install(OTHER, approved, attempt=attempt)
        padded = image.ljust(len(firmware("2.7.0")), b"\0")[: len(firmware("2.7.0"))]
        thief.attempt(order, thief.request(order, approved), padded)
        after = belongings(thief, OTHER)
        assert after["running"] == running
        standby = next(slot for slot in after["slots"] if slot["image"] != running["image"])
        assert standby["state"] == "empty"
    order = thief.install(OTHER, approved, attempt=4)
    thief.attempt(order, thief.request(order, approved), firmware("2.7.0"))
    with thief.client(OTHER) as client:
        assert client.device()["running"]["version"] == "2.7.0", "what was approved, he can replay"


def test_a_mandate_that_was_taken_back_is_spent(thief: Thief) -> None:
    """Goes last: one step back, once, is all that the key alone can do."""
    now = thief.read(thief.second).rollouts["dev/sensors"]
    installed = thief.install(VICTIM, now)
    for attempt, expected in ((1, 200), (2, 422)):
        back = OrderSigner(thief.order_key, 500).follow_up("revert", installed, attempt=attempt, now=thief.now)
        request = OrderRequest(OrderSigner(thief.order_key, 500).sign(back), (), (), {})
        with thief.client(VICTIM) as client:
            status, reply = client.put(back, request)
        assert status == expected, reply
    before = belongings(thief, VICTIM)
    assert before["running"]["version"] == "2.5.0"
    assert before["spent"] == [{"mandate": installed.mandate, "reason": "ordered"}]
    again = thief.install(VICTIM, now, attempt=2)
    status, reply = thief.attempt(again, thief.request(again, now), firmware("2.6.0"))
    assert (status, reply["code"]) == (422, "E_ORDER_REPLAY"), reply
    assert belongings(thief, VICTIM) == before
