"""A thief who has copied a reconciler's whole configuration and can read the repository tries to install things.

    python thief.py --stolen FOLDER --fleet REPOSITORY --images FOLDER --json FILE NAME=HOST:PORT NAME=HOST:PORT

FOLDER is what lay in the reconciler's config folder under the fleet's id: order key, freshness key, its certificate.
The first NAME is the device that the newest rollout is approved for, the second one is not in its lock.
He signs orders with the real key and is let in by the devices with the real certificate. Each device judges by itself.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from fwctl.fleet.certificates import device_name
from fwctl.gitrepo import open_repo
from fwctl.reconcile.commit import CommitState, Prepared, read_commit
from fwctl.trust.keystore import FRESHNESS, ORDER
from fwctl.trust.repository import mint_freshness
from fwctl.trust.signing import OrderSigner, sign_approval, sign_release
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Leaf, Lock, Proof
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import APPROVAL, RELEASE, Approval, InstallOrder, Mandate, Release
from fwctl_agent.trust.envelope import Sealed

ROLLOUT = "prod-eu/sensors"
SECONDS = 20


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Loot:
    """What was stolen, and what everybody who reads the repository can read."""

    stolen: Path
    fleet: Path
    images: Path

    def __post_init__(self) -> None:
        self.order_key, self.freshness_key = self._key(ORDER), self._key(FRESHNESS)
        self.repo = open_repo(str(self.fleet), cache=self.stolen / "cache")
        self.newest = self.read("HEAD")
        # Versions of freshness metadata are his to choose: he has the key.
        self.stamp = 1_000_000

    def _key(self, name: str) -> CryptoSigner:
        return CryptoSigner(load_pem_private_key((self.stolen / "keys" / f"{name}.pem").read_bytes(), None))

    @property
    def repo_id(self) -> str:
        return self.newest.repo.fleet.spec.repo_id

    def read(self, ref: str) -> CommitState:
        commit = self.repo.resolve(ref)
        pinned = (self.stolen / "root.json").read_text()
        return read_commit(self.repo.tree(commit).files(), commit=commit, pinned=pinned, now=now())

    def before(self, subject: str) -> CommitState:
        """Return what the repository said before the commit of this subject."""
        argv = ["git", "-C", str(self.fleet), "log", "-1", "--format=%P", f"--grep=^{subject}$"]
        return self.read(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip())

    def image(self, digest: str) -> bytes:
        name = digest.removeprefix("sha256:")
        return next(path for path in self.images.rglob("*") if name in path.name and path.is_file()).read_bytes()

    def trust(self, state: CommitState) -> dict[str, str]:
        self.stamp += 1
        minted = mint_freshness(state.authority.trusted, self.freshness_key, version=self.stamp, now=now())
        return state.authority.bundle(1) | minted


@dataclass(frozen=True)
class Attempt:
    """One order, what goes with it, and the bytes that he wants to see running."""

    name: str
    what: str
    order: InstallOrder
    request: OrderRequest
    image: bytes


def mandate_of(of: Prepared) -> Mandate:
    if of.mandate is None:
        raise SystemExit(f"{of.key} has no lock")
    return of.mandate


def install(loot: Loot, device: str, of: Prepared, **changes: Any) -> InstallOrder:
    """Return an order that is as right as he can make it."""
    index = of.index.get(device, 0)
    order = InstallOrder(
        device=device,
        mandate=mandate_of(of).id,
        release=of.plan.release.digest,
        attempt=77,
        leaf=of.lock.lines[index] if of.lock else "",
        proof=of.tree.proof(index),
        confirm_within=600,
        watch=0,
        probes="default",
        limits=(),
        activation="now",
        **OrderSigner(loot.order_key, 1_000_000).lifetime(now()),
    )
    return replace(order, **changes)


def attempt(
    loot: Loot, name: str, what: str, order: InstallOrder, of: Prepared, *, image: bytes = b"", **changes: Any
) -> Attempt:
    """Seal an order with what goes with it; `trust` is the commit whose trust goes with it, the newest by default."""
    state = changes.pop("trust", loot.newest)
    envelope = OrderSigner(loot.order_key, order.epoch).sign(order)
    request = replace(OrderRequest(envelope, of.approvals, of.statements(order.release), loot.trust(state)), **changes)
    return Attempt(name, what, order, request, image or loot.image(of.plan.release.image))


def own_mandate(loot: Loot, device: str, base: Prepared, release: str) -> tuple[Mandate, InstallOrder]:
    """Return a mandate of his own making, this release for this device, and the order under it."""
    lock = Lock.of([Leaf(device, 1, (release,))])
    tree, digest = lock.tree(), canonical.digest(lock.raw)
    mandate = replace(mandate_of(base), lock=digest, lock_root=tree.root, lock_size=1, releases=(release,))
    leaf = {"leaf": lock.lines[0], "proof": tree.proof(0)}
    return mandate, install(loot, device, base, mandate=mandate.id, release=release, **leaf)


def of_another(loot: Loot, outside: str, real: Prepared) -> Iterator[Attempt]:
    """Yield what was approved for one device, sent to another one."""
    order = install(loot, outside, real)
    yield attempt(loot, "approved-for-another", "2.7.0, approved for another device, with its leaf", order, real)
    leaf = str(Leaf(outside, 1, (real.plan.release.digest,)))
    order = replace(order, leaf=leaf, proof=Proof(1, ("ab" * 32,)))
    yield attempt(loot, "own-leaf", "2.7.0, with a leaf and a proof of his own", order, real)


def of_his_own(loot: Loot, inside: str, real: Prepared) -> Iterator[Attempt]:
    """Yield what nobody approved: his own image, and one that is signed and nothing more."""
    evil = b"what the thief would like to run\n" * 4096
    fake = replace(
        real.plan.release, version="9.9.9", release_counter=99, image=canonical.digest(evil), length=len(evil)
    )
    signed = (sign_release(fake, loot.order_key),)
    mandate, order = own_mandate(loot, inside, real, fake.digest)
    yes = tuple(
        sign_approval(Approval(mandate, 1, now(), now() + timedelta(days=9), name, "approved"), loot.order_key)
        for name in ("alice", "carol", "dave")
    )
    what = "his image, approved by himself in three names"
    yield attempt(loot, "own-approvals", what, order, real, image=evil, approvals=yes, releases=signed)
    order = replace(order, mandate=mandate_of(real).id)
    releases = (*real.statements(real.plan.release.digest), *signed)
    yield attempt(
        loot, "own-image", "his image, under the approved mandate", order, real, image=evil, releases=releases
    )

    envelopes = loot.newest.authority.releases("sensor-v1", "2.8.0")
    release = Release.from_wire(Sealed.open(envelopes[0], RELEASE).statement())
    _, order = own_mandate(loot, inside, real, release.digest)
    what, data = "2.8.0, signed by erin, approved by nobody", loot.image(release.image)
    yield attempt(loot, "unapproved-release", what, order, real, image=data, approvals=(), releases=envelopes)


def of_before(loot: Loot, inside: str) -> Iterator[Attempt]:
    """Yield what was right once."""
    then, old = loot.before("Roll out 2.7.0"), loot.before("Roll out 2.6.0")
    real, first = then.rollouts[ROLLOUT], old.rollouts[ROLLOUT]
    with_bob = tuple(one for one in real.approvals if signer(one) != "carol")
    order = install(loot, inside, real)
    what = "2.6.0 by alice, dave and bob, who is revoked"
    yield attempt(loot, "revoked-approver", what, order, real, approvals=with_bob)
    what += "; with the policy from before"
    yield attempt(loot, "old-trust", what, order, real, approvals=with_bob, trust=old)
    yield attempt(loot, "old-mandate", "2.5.0, which ran before 2.6.0", install(loot, inside, first), first)


def signer(envelope: dict[str, Any]) -> str:
    return str(Sealed.open(envelope, APPROVAL).statement()["signer"])


def connected(loot: Loot, device: str, address: str) -> http.client.HTTPConnection:
    """Connect with the stolen certificate."""
    pki, (host, _, port) = loot.stolen / "pki", address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(pki / "device-ca.cert.pem")
    context.load_cert_chain(pki / "controller.cert.pem", pki / "controller.key.pem")
    connection = http.client.HTTPConnection(host, int(port), timeout=SECONDS)
    raw = socket.create_connection((host, int(port)), timeout=SECONDS)
    connection.sock = context.wrap_socket(raw, server_hostname=device_name(device, loot.repo_id))
    return connection


def tried(loot: Loot, one: Attempt, address: str) -> dict[str, Any]:
    """Send the order, push the image whatever the device says, and return what it said to the order."""
    connection = connected(loot, one.order.device, address)
    connection.request("PUT", f"/v1/orders/{one.order.id}", one.request.to_bytes())
    response = connection.getresponse()
    said: dict[str, Any] = json.loads(response.read()) | {
        "status": response.status,
        "what": one.what,
        "device": one.order.device,
    }
    connection.close()
    # A device closes on who sends what it does not want, maybe before all of it has left.
    with suppress(OSError, http.client.HTTPException):
        again = connected(loot, one.order.device, address)
        span = {"Content-Range": f"bytes 0-{len(one.image) - 1}/{len(one.image)}"}
        again.request("PUT", f"/v1/orders/{one.order.id}/image", one.image, span)
        again.getresponse().read()
        again.close()
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("--stolen", "--fleet", "--images", "--json"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("devices", nargs=2, metavar="NAME=HOST:PORT")
    given = parser.parse_args(arguments)
    addresses = dict(text.split("=", 1) for text in given.devices)
    loot = Loot(given.stolen, given.fleet, given.images)
    inside, outside = addresses
    newest = loot.newest.rollouts[ROLLOUT]
    tries = (*of_another(loot, outside, newest), *of_his_own(loot, inside, newest), *of_before(loot, inside))
    found = {one.name: tried(loot, one, addresses[one.order.device]) for one in tries}
    for said in found.values():
        sys.stdout.write(f"{said['device']} <- {said['what']}\n")
        sys.stdout.write(f"  {said['status']} {said.get('code', said.get('state'))}: {said.get('message', '')}\n")
    given.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
