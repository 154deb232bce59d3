"""Somebody holds a key of the reconciler and signs whatever he likes: it is refused, or what people approved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.statements import ORDER, Approval, Mandate, Outcome, Release, order_from_wire
from fwctl_agent.protocol.statements.order import Pull, Push, order_id
from fwctl_agent.trust.envelope import Sealed, seal
from fwctl_agent.trust.metadata import TrustedMetadata
from tests.contract.generate import VECTORS
from tests.fuzz.device_targets import Probed, code_of, same_fleet
from tests.fuzz.run import ACCEPTED, Target, Wrong
from tests.support.signing import NOW, Fleet
from tests.unit.agent.bench import DEVICE


def signed_orders() -> Target:
    """Orders of any content that the order key signed, with the true approvals and releases."""
    probed = Probed()

    def judge(data: bytes) -> str:
        try:
            statement = canonical.decode(data, what="order")
            name = _named(statement)
            sealed = seal(canonical.encode(statement), ORDER, probed.fleet.order)
            probed.bench.device.put_order(name, replace(probed.request, order=sealed))
        except Refusal as refusal:
            probed.check_unchanged(refusal.code)
            return code_of(refusal)
        job = probed.bench.device.record.job
        found = job and (job.order.device, job.order.mandate, job.release.digest, job.order.delivery)
        probed.put_back()
        if found != (DEVICE, probed.order.mandate, probed.order.release, Push()):
            raise Wrong("the device does what nobody approved")
        return ACCEPTED

    pull = replace(probed.order, delivery=Pull("https://images.example/a.img")).to_wire()
    revert = Sealed.open(probed.follow.order, ORDER).statement()
    samples = tuple(canonical.dump(value) for value in (probed.order.to_wire(), pull, revert))
    return Target("signed orders", samples, judge, share=2)


def _named(statement: Any) -> str:
    """Give the order the id of its content, where it has one: else nothing after that check would ever be reached."""
    names = ("device", "mandate", "verb", "release", "attempt")
    if not isinstance(statement, dict) or not all(name in statement for name in names):
        return canonical.digest(b"")
    statement["id"] = order_id(**{name: statement[name] for name in names})
    return str(statement["id"])


def signed_freshness() -> Target:
    """Snapshot and timestamp of any content, signed by the freshness key."""
    fleet = same_fleet()
    old, new = fleet.bundle(2), fleet.bundle(3)
    known = TrustedMetadata.bootstrap(fleet.files()["1.root.json"]).advance(old, now=NOW, fresh=True)

    def judge(data: bytes) -> str:
        try:
            value = canonical.decode(data, what="freshness")
            both = {name: _signed(value[name], fleet) for name in ("snapshot.json", "timestamp.json")}
        except Refusal as refusal:
            return code_of(refusal)
        except (FormatError, TypeError, KeyError, ValueError, AttributeError):
            return "cannot be signed"
        try:
            after = known.advance(new | both, now=NOW, fresh=True)
        except Refusal as refusal:
            return code_of(refusal)
        ours, theirs = known.versions, after.versions
        if after.policy != known.policy or theirs.timestamp < ours.timestamp or theirs.snapshot < ours.snapshot:
            raise Wrong("the freshness key has changed a policy, or gone back")
        TrustedMetadata.restore(after.files)
        return ACCEPTED

    parts = [
        {name: json.loads(files[name])["signed"] for name in ("snapshot.json", "timestamp.json")}
        for files in (old, new)
    ]
    return Target("signed freshness", tuple(canonical.dump(part) for part in parts), judge, share=2)


def _signed(value: Any, fleet: Fleet) -> str:
    text = str(encode_canonical(value)).encode()
    signature = fleet.freshness.sign(text)
    return json.dumps({"signed": value, "signatures": [{"keyid": signature.keyid, "sig": signature.signature}]})


def statements() -> Target:
    """What is signed, read from any JSON: refused, or read exactly as it is written."""
    readers: dict[str, Callable[[object], Any]] = {
        "approval": Approval.from_wire,
        "release": Release.from_wire,
        "outcome": Outcome.from_wire,
        "order-install": order_from_wire,
        "order-install-pull": order_from_wire,
        "order-activate": order_from_wire,
    }
    values = [_payload(name) for name in readers]
    every = (*dict.fromkeys(readers.values()), Mandate.from_wire)
    samples = tuple(canonical.dump(value) for value in (*values, values[0]["mandate"]))

    def judge(data: bytes) -> str:
        codes = []
        for read in every:
            try:
                value = canonical.decode(data, what="statement")
                found = read(value)
            except Refusal as refusal:
                codes.append(code_of(refusal))
                continue
            if found.to_wire() != value:
                raise Wrong("read otherwise than it was written")
            return ACCEPTED
        return codes[0]

    return Target("statements", samples, judge)


def _payload(name: str) -> Any:
    """Return one statement of a golden vector."""
    vector = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))
    while not {"statement", "statements"} & set(vector):
        vector = next(iter(vector.values()))
    return vector["statement"] if "statement" in vector else vector["statements"][0]
