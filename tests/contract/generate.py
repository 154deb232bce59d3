"""Write the golden vectors and the wire schemas: `python -m tests.contract.generate` (what `make vectors` runs).

The vectors are the contract of ADR-0001 in bytes. A change here that is not an addition is a new protocol version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fwctl.rollouts.compile import mandate_of
from fwctl.trust.repository import key_object
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import format_time
from fwctl_agent.protocol.lock import Leaf, Lock
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import APPROVAL, FOLLOW_UPS, Approval, Order, Release
from fwctl_agent.trust.envelope import Sealed
from fwctl_agent.trust.metadata import POLICY_TARGET
from tests.contract import samples
from tests.contract.samples import FLEET, INSTALL, LOCK, MANDATE, NAMES, RELEASE, STOP
from tests.contract.wire_schemas import schemas
from tests.unit.rollouts import fleets as planned

VECTORS = Path(__file__).parent / "vectors"
SCHEMAS = Path(__file__).parents[2] / "schemas" / "wire"
SIZES = (1, 2, 3, 5, 8, 100)
VALUES: tuple[Any, ...] = (
    {},
    [],
    "",
    None,
    {"b": [1, -2, True, False, None], "a": {"z": "", "B": "upper case sorts first"}},
    {"é": "Küche", "quote": '"', "backslash": "\\", "astral": "\U0001f527", "max": 9007199254740991},
    {"spec": {"strategy": {"type": "Direct"}}, "waves": [{"name": "wave-1", "devices": ["device-001"]}]},
)


def generate() -> dict[str, str]:
    """Return file name -> text of every vector."""
    files = {
        "keys.json": {name: _key(name) for name in NAMES},
        "canonical.json": [_canonical(value) for value in VALUES],
        "release.json": {"stop": _release(STOP), "final": _release(RELEASE)},
        "approval.json": _approval(),
        "policy.json": _policy(),
        "trust.json": _trust(),
        "plan.json": _plan(),
        "merkle.json": {str(size): _merkle(_lock(size)) for size in SIZES},
        "device.json": {name: document.to_wire() for name, document in samples.DOCUMENTS.items()},
        "outcome.json": {
            name: {"statement": outcome.to_wire(), "envelope": samples.SIGNED_OUTCOMES[name]}
            for name, outcome in samples.OUTCOMES.items()
        },
        "replies.json": {name: reply.to_wire() for name, reply in samples.REPLIES.items()},
        "identity.json": {name: message.to_wire() for name, message in samples.IDENTITY.items()},
        "order-install.json": _order(INSTALL),
        "order-install-pull.json": _order(samples.PULLED),
        "order-install-bounded.json": _order(samples.BOUNDED),
    }
    for verb in FOLLOW_UPS:
        files[f"order-{verb}.json"] = _order(samples.follow_up(verb))
    return {name: _text(content) for name, content in files.items()} | {"sensor-2.5.0.lock": LOCK.raw.decode()}


def _text(content: object) -> str:
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def _key(name: str) -> dict[str, Any]:
    public = samples.signer(name).public_key
    return {"seed": samples.seed(name).hex(), "keyid": public.keyid} | key_object(public)


def _canonical(value: object) -> dict[str, Any]:
    return {"value": value, "canonical": canonical.encode(value).decode(), "digest": canonical.digest_of(value)}


def _release(release: Release) -> dict[str, Any]:
    return {
        "statement": release.to_wire(),
        "digest": release.digest,
        "envelopes": list(FLEET.signed_release(release, ("alice", "bob"))),
    }


def _approval() -> dict[str, Any]:
    envelopes = [FLEET.approval(MANDATE, by) for by in ("alice", "bob")]
    statements = [Approval.from_wire(Sealed.open(one, APPROVAL).statement()) for one in envelopes]
    return {
        "mandate": MANDATE.to_wire(),
        "mandateId": MANDATE.id,
        "path": MANDATE.path,
        "statements": [statement.to_wire() for statement in statements],
        "envelopes": envelopes,
    }


def _policy() -> dict[str, Any]:
    text = FLEET.files()[POLICY_TARGET]
    return {"target": json.loads(text), "text": text, "digest": canonical.digest(text.encode())}


def _trust() -> dict[str, Any]:
    return {"now": format_time(FLEET.now), "bundle": FLEET.bundle(4)}


def _plan() -> dict[str, Any]:
    """From the files of a commit to the digests that approvals sign: the same for every fwctl of this version."""
    sources = planned.files(["device-001", "device-002", "device-003"])
    plan = planned.plan_of(["device-001", "device-002", "device-003"])
    mandate = mandate_of(plan, manifest=sources["rollouts/dev/sensors.yaml"], lock=plan.lock())
    return {
        "files": {path: data.decode() for path, data in sources.items()},
        "plan": plan.to_json(),
        "digest": plan.digest,
        "lock": plan.lock().raw.decode(),
        "mandate": mandate.to_wire(),
        "mandateId": mandate.id,
    }


def _lock(size: int) -> Lock:
    """Every third device passes through a stop, every fifth belongs to stage 2."""
    return Lock.of(
        Leaf(
            f"device-{number:03}",
            2 if number % 5 == 0 else 1,
            (STOP.digest, RELEASE.digest) if number % 3 == 0 else (RELEASE.digest,),
        )
        for number in range(1, size + 1)
    )


def _merkle(lock: Lock) -> dict[str, Any]:
    tree = lock.tree()
    chosen = range(tree.size) if tree.size <= 8 else (0, 1, 31, 32, 63, 64, 95, 96, 98, 99)
    return {
        "lock": lock.raw.decode(),
        "digest": canonical.digest(lock.raw),
        "root": tree.root,
        "size": tree.size,
        "proofs": [
            {"leaf": str(lock.leaves[index]), "index": index, "hashes": list(tree.proof(index).hashes)}
            for index in chosen
        ],
    }


def _order(order: Order) -> dict[str, Any]:
    """An install carries everything; the other verbs carry the order and the trust bundle."""
    install = order in (INSTALL, samples.PULLED, samples.BOUNDED)
    request: OrderRequest = FLEET.request(
        order,
        approvals=_approval()["envelopes"] if install else (),
        releases=FLEET.signed_release(RELEASE, ("alice", "bob")) if install else (),
        trust=FLEET.bundle(4),
    )
    return {"id": order.id, "statement": order.to_wire(), "body": request.to_bytes().decode()}


def generate_schemas() -> dict[str, str]:
    """Return file name -> text of every JSON Schema of the wire."""
    return {name: _text(schema) for name, schema in schemas().items()}


def main() -> None:
    """Write all vectors and wire schemas, and leave nothing else in their folders."""
    for folder, files in ((VECTORS, generate()), (SCHEMAS, generate_schemas())):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in {path.name for path in folder.iterdir()} - set(files):
            (folder / stale).unlink()
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    main()
