"""What a device reads: orders and trust from the network, its own configuration, statements and policy."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fwctl_agent.config import ConfigError, read_settings
from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.enrolment import SETTINGS, enrolment_files
from fwctl_agent.protocol.messages import OrderRequest, bundle_from_wire
from fwctl_agent.protocol.statements import APPROVAL
from fwctl_agent.trust.approvals import tally
from fwctl_agent.trust.envelope import Sealed
from fwctl_agent.trust.metadata import TrustedMetadata
from fwctl_agent.trust.policy import Policy
from tests.contract.samples import signer
from tests.fuzz.run import ACCEPTED, Target, Wrong
from tests.support.signing import ENV, HARDWARE, MODEL, NOW, REPO, Fleet
from tests.unit.agent.bench import DEVICE, FACTORY, IMAGE, Bench, Disk, Inode


def code_of(refusal: Refusal) -> str:
    """Return the code; a refusal without a code, a sentence or a class is a finding."""
    if (
        not refusal.code.startswith("E_")
        or not refusal.message
        or refusal.klass not in ("refused", "deferred", "resync")
    ):
        raise Wrong(f"not a well-formed refusal: {refusal!r}")
    refusal.message.encode()
    return refusal.code


def same_fleet() -> Fleet:
    """Return a fleet whose keys are the same in every run, so that a seed always means the same cases."""
    return Fleet(people={"alice": signer("alice")}, order=signer("order"), freshness=signer("freshness"))


@dataclass
class Probed:
    """A device that knows the fleet's metadata and awaits an order; put back after each order that it accepts."""

    fleet: Fleet = field(default_factory=same_fleet)

    def __post_init__(self) -> None:
        self.bench = Bench(fleet=self.fleet, signer=signer("device"))
        self.request, self.order, _ = self.fleet.install_request(DEVICE, IMAGE)
        self.bench.device.put_trust(self.request.trust)
        self.disk = self.content()
        self.record = self.bench.device.record
        self.trusted = self.bench.device.trust.trusted
        self.follow = self.fleet.follow_up("revert", self.order)

    def content(self) -> dict[str, bytes]:
        return {name: bytes(inode.data) for name, inode in self.bench.disk.names.items()}

    def put_back(self) -> None:
        names = {name: Inode(bytearray(data), data) for name, data in self.disk.items()}
        self.bench.disk = Disk(names=names, durable=dict(names))
        self.bench.power_on()

    def check_unchanged(self, what: str) -> None:
        """After a refusal: the same record, the same slots; trust of the same versions, saying the same.

        Metadata comes before the order and stands by itself: bytes in it that nobody signs (blanks, the case of a
        signature's digits) may be others, and are stored as they came.
        """
        device, content = self.bench.device, self.content()
        if device.record == self.record and content == self.disk:
            return
        changed = {name for name in {*content, *self.disk} if content.get(name) != self.disk.get(name)}
        said = device.trust.trusted
        again = self.bench.power_on()
        same = all(
            (trusted.versions, trusted.policy) == (self.trusted.versions, self.trusted.policy)
            for trusted in (said, again.trust.trusted)
        )
        fine = same and device.record == self.record and all(name.startswith("state/trust") for name in changed)
        self.put_back()
        if not fine:
            raise Wrong(f"the device has changed, though it refused ({what})")

    def check_accepted(self) -> None:
        """What was accepted is exactly what the people approved."""
        job = self.bench.device.record.job
        found = job and (job.order, job.release.digest)
        self.put_back()
        if found != (self.order, self.order.release):
            raise Wrong("the device accepted an order that nobody gave")


def order() -> Target:
    """Whole bodies of `PUT /v1/orders/{id}`, as the device's core judges them."""
    probed = Probed()

    def judge(body: bytes) -> str:
        try:
            probed.bench.device.put_order(probed.order.id, OrderRequest.from_bytes(body))
        except Refusal as refusal:
            probed.check_unchanged(refusal.code)
            return code_of(refusal)
        probed.check_accepted()
        return ACCEPTED

    return Target("order", (probed.request.to_bytes(), probed.follow.to_bytes()), judge, share=3)


def metadata() -> Target:
    """Trust bundles, from a pinned root and from a set that knows more."""
    fleet = same_fleet()
    old, new = fleet.bundle(1), fleet.bundle(2)
    pinned = TrustedMetadata.bootstrap(fleet.files()["1.root.json"])
    known = pinned.advance(old, now=NOW, fresh=True)
    before, good = dict(known.files), known.policy

    def judge(data: bytes) -> str:
        found: list[str] = []
        bundle: dict[str, str] = {}
        steps: tuple[Callable[[], TrustedMetadata], ...] = (
            lambda: known.advance(bundle, now=NOW, fresh=True),
            lambda: pinned.advance(bundle, now=NOW, fresh=False),
            lambda: TrustedMetadata.restore({**bundle, "1.root.json": bundle.get("1.root.json", "")}),
        )
        try:
            bundle = bundle_from_wire(canonical.decode(data, what="bundle", max_bytes=4 << 20))
        except Refusal as refusal:
            return code_of(refusal)
        for step in steps:
            try:
                after = step()
            except Refusal as refusal:
                found.append(code_of(refusal))
                continue
            found.append(ACCEPTED)
            if after.policy != good and after.policy is not None:
                raise Wrong("another policy is trusted")
        if dict(known.files) != before or known.policy != good:
            raise Wrong("the trusted set has changed")
        return ACCEPTED if found == [ACCEPTED] * 3 else next(code for code in found if code != ACCEPTED)

    return Target("metadata", (canonical.dump(old), canonical.dump(new)), judge, share=2)


def roots() -> Target:
    """The pinned root, as it is read once from a file."""
    fleet = same_fleet()
    sample = fleet.files()["1.root.json"]
    good = TrustedMetadata.bootstrap(sample).root.signed

    def judge(data: bytes) -> str:
        try:
            found = TrustedMetadata.bootstrap(data.decode(errors="surrogateescape"))
        except Refusal as refusal:
            return code_of(refusal)
        if found.root.signed != good:
            raise Wrong("a root that its keys have not signed")
        return ACCEPTED

    return Target("root", (sample.encode(),), judge)


def policy() -> Target:
    """The policy target; who signs it may write anything."""
    fleet = same_fleet()

    def judge(data: bytes) -> str:
        try:
            found = Policy.parse(data)
        except Refusal as refusal:
            return code_of(refusal)
        if not found.order_keys or any(not rule.quorum.threshold for rule in found.approval_rules):
            raise Wrong("a policy without order keys, or a quorum of nobody")
        return ACCEPTED

    compact = canonical.dump(fleet.policy)
    rich = fleet.policy | {"storage": [{"scheme": "https", "host": "images.example", "port": 443, "cidr": None}]}
    return Target("policy", (compact, canonical.dump(rich | {"floors": {MODEL: 3}})), judge)


def envelope() -> Target:
    """Approval envelopes: what counts is exactly what was signed."""
    fleet = same_fleet()
    release = fleet.release(IMAGE)
    mandate = fleet.mandate(fleet.lock(release, [DEVICE]))
    sample, rules = fleet.approval(mandate), Policy.parse(canonical.dump(fleet.policy))
    more = fleet.approval(mandate, stage=2)
    good = [tally([one], mandate=mandate.id, policy=rules, now=NOW)[0].votes for one in (sample, more)]

    def judge(data: bytes) -> str:
        try:
            value = canonical.decode(data, what="envelope")
            Sealed.open(value, APPROVAL)
        except Refusal as refusal:
            return code_of(refusal)
        found, _ = tally([value], mandate=mandate.id, policy=rules, now=NOW)
        if found.votes and found.votes not in good:
            raise Wrong("an approval counts that nobody signed")
        return ACCEPTED if found.votes else found.ignored[0].code

    return Target("envelope", (canonical.dump(sample), canonical.dump(more)), judge)


def settings_file() -> Target:
    """`agent.toml`."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    values: dict[str, Any] = {
        "device_id": DEVICE, "repo_id": REPO, "model": MODEL, "hardware": HARDWARE, "env": ENV, "enrolled_at": NOW,
        "key_pem": b"", "certificate_pem": b"", "controller_ca_pem": b"", "root": "", "factory_image": FACTORY,
        "factory_version": "1.0.0",
    }  # fmt: skip
    plain = enrolment_files(**values)[SETTINGS]
    check = b'\n[[probes.default.checks]]\nname = "app"\ntype = "http"\nurl = "http://127.0.0.1:8080/"\nstatus = 200\n'

    def judge(data: bytes) -> str:
        (folder / SETTINGS).write_bytes(data)
        try:
            found = read_settings(folder)
        except ConfigError as error:
            if not (error.place and error.why and error.remedy):
                raise Wrong(f"not a well-formed error: {error}") from error
            return "ConfigError"
        if not 0 <= found.port <= 65535 or not found.id:
            raise Wrong("settings out of bounds")
        canonical.decode(canonical.dump(dict(found.facts)), what="facts")
        return ACCEPTED

    check += b'[facts]\nbattery = 80\nsite = "north"\n'
    plain = plain.partition(b"[facts]")[0]
    return Target("agent.toml", (plain, plain + check), judge, json=False)
