"""The golden vectors are fresh, our readers take them, and so does code that shares nothing with ours."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Lock, Proof, verify_inclusion
from fwctl_agent.protocol.messages import BusyReply, DeviceDocument, OrderReply, OrderRequest, RefusedReply
from fwctl_agent.protocol.statements import (
    OUTCOME,
    RELEASE,
    Approval,
    Mandate,
    Outcome,
    Release,
    RunningImage,
    order_from_wire,
)
from fwctl_agent.trust.approvals import tally, verify_release
from fwctl_agent.trust.envelope import Sealed
from fwctl_agent.trust.keys import load_key
from fwctl_agent.trust.metadata import TrustedMetadata
from fwctl_agent.trust.policy import Policy
from fwctl_agent.trust.verifier import DeviceContext, TrustedTime, judge_follow_up, judge_install
from tests.contract.generate import SCHEMAS, VECTORS, generate, generate_schemas

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ORDERS = ("install", "install-pull", "install-bounded", "activate", "confirm", "revert", "cancel")


def vector(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def policy() -> Policy:
    return Policy.parse(vector("policy")["text"].encode())


def test_vectors_are_what_the_generator_writes_today() -> None:
    on_disk = {path.name: path.read_text("utf-8") for path in VECTORS.iterdir()}
    assert on_disk == generate(), "run `make vectors`; a change of an existing vector is a change of the protocol"


def test_schemas_are_what_the_generator_writes_today() -> None:
    on_disk = {path.name: path.read_text("utf-8") for path in SCHEMAS.iterdir()}
    assert on_disk == generate_schemas(), "run `make vectors`"


# --- our own readers ---------------------------------------------------------------------------------------------


def test_canonical_values_and_digests() -> None:
    for case in vector("canonical"):
        assert canonical.encode(case["value"]).decode() == case["canonical"]
        assert canonical.decode(case["canonical"].encode(), what="vector") == case["value"]
        assert canonical.digest_of(case["value"]) == case["digest"]


def test_release_is_read_and_verified() -> None:
    for case in vector("release").values():
        release, signed = verify_release(case["envelopes"], digest=case["digest"], policy=policy())
        assert release.to_wire() == case["statement"]
        assert signed == {"alice", "bob"}


def test_approvals_are_read_and_counted() -> None:
    case = vector("approval")
    judged, mandate = tally(case["envelopes"], mandate=case["mandateId"], policy=policy(), now=NOW)
    assert mandate == Mandate.from_wire(case["mandate"])
    assert mandate is not None
    assert mandate.path == case["path"]
    votes = judged.approved(policy(), case["path"], 1)
    assert [vote.approval.to_wire() for vote in votes] == case["statements"]


def test_trust_bundle_is_accepted_and_restored() -> None:
    case = vector("trust")
    pinned = TrustedMetadata.bootstrap(case["bundle"]["1.root.json"])
    trusted = pinned.advance(case["bundle"], now=NOW, fresh=True)
    assert trusted.policy is not None
    assert trusted.policy.repo_id == vector("policy")["target"]["repoId"]
    assert TrustedMetadata.restore(trusted.files).versions == trusted.versions


def test_locks_and_proofs() -> None:
    for case in vector("merkle").values():
        lock = Lock.parse(case["lock"].encode())
        assert lock.raw == case["lock"].encode()
        assert (lock.tree().root, lock.tree().size) == (case["root"], case["size"])
        for proof in case["proofs"]:
            place = Proof(proof["index"], tuple(proof["hashes"]))
            verify_inclusion(proof["leaf"], place, root=case["root"], size=case["size"])
            assert lock.tree().proof(proof["index"]) == place


def test_lock_file_belongs_to_the_mandate() -> None:
    raw = (VECTORS / "sensor-2.5.0.lock").read_bytes()
    mandate = Mandate.from_wire(vector("approval")["mandate"])
    assert canonical.digest(raw) == mandate.lock
    assert Lock.parse(raw).tree().root == mandate.lock_root


@pytest.mark.parametrize("verb", ORDERS)
def test_order_request_is_read_and_written_back_byte_for_byte(verb: str) -> None:
    case = vector(f"order-{verb}")
    request = OrderRequest.from_bytes(case["body"].encode())
    assert request.to_bytes().decode() == case["body"]
    assert order_from_wire(case["statement"]).to_wire() == case["statement"]
    assert order_from_wire(case["statement"]).id == case["id"]


@pytest.mark.parametrize("verb", ORDERS)
def test_order_is_accepted_by_the_judge(verb: str) -> None:
    case, release = vector(f"order-{verb}"), vector("release")["stop"]
    request = OrderRequest.from_bytes(case["body"].encode())
    trusted = TrustedMetadata.bootstrap(request.trust["1.root.json"]).advance(request.trust, now=NOW, fresh=True)
    assert trusted.policy is not None
    wire = release["statement"]
    context = DeviceContext(
        id="device-002",
        repo_id="acme",
        model="sensor-v1",
        hardware="rev-a",
        env="dev",
        enrolled_at=NOW,
        running=RunningImage(release["digest"], wire["image"]["digest"], "2.4.0", case["statement"]["mandate"]),
        floor=1,
        release_counters={},
        epochs={},
        spent=frozenset(),
        marks={},
        running_approved_at=None,
    )
    time = TrustedTime(NOW, suspect=False)
    if verb in ("install", "install-pull", "install-bounded"):
        install = judge_install(request, context=context, policy=trusted.policy, time=time)
        assert install.release.version == "2.5.0"
        assert install.approvers == ("alice", "bob")
    else:
        follow_up = judge_follow_up(request, context=context, policy=trusted.policy, time=time, release=None)
        assert follow_up.order.refers_to == vector("order-install")["id"]


def test_outcomes_are_read_and_verified() -> None:
    keys = vector("keys")
    device = load_key({name: keys["device"][name] for name in ("keytype", "scheme", "keyval")})
    for case in vector("outcome").values():
        sealed = Sealed.open(case["envelope"], OUTCOME)
        assert sealed.signers([device]) == {device.keyid}
        assert Outcome.from_wire(sealed.statement()).to_wire() == case["statement"]


def test_device_documents_are_read() -> None:
    for wire in vector("device").values():
        assert DeviceDocument.from_wire(wire).to_wire() == wire


def test_replies_are_read() -> None:
    readers = {"refused": RefusedReply, "deferred": RefusedReply, "resync": RefusedReply, "busy": BusyReply}
    for name, wire in vector("replies").items():
        assert readers.get(name, OrderReply).from_wire(wire).to_wire() == wire  # type: ignore[attr-defined]


def test_a_statement_of_one_type_is_none_of_another_a09() -> None:
    approval = vector("approval")["envelopes"][0]
    with pytest.raises(Refusal, match="E_SIG_TYPE"):
        Sealed.open(approval, RELEASE)
    edited = approval | {"payloadType": RELEASE}
    assert not Sealed.open(edited, RELEASE).signers(policy().people["alice"])


def test_statements_round_trip_through_their_types() -> None:
    assert [Approval.from_wire(one).to_wire() for one in vector("approval")["statements"]] == vector("approval")[
        "statements"
    ]
    for case in vector("release").values():
        assert Release.from_wire(case["statement"]).digest == case["digest"]


# --- the same without any of our code, securesystemslib or tuf -----------------------------------------------------


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def plain_canonical(value: object) -> bytes:
    """Write canonical JSON with the standard library: equal to OLPC's where no control character stands."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def raw_dsse(envelope: dict[str, Any], keys: dict[str, Ed25519PublicKey]) -> tuple[Any, list[str]]:
    """Return statement and signers by the DSSE specification: Ed25519 over the pre-authentication encoding."""
    kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"], validate=True)
    pae = b" ".join((b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload))
    found = []
    for signature in envelope["signatures"]:
        keys[signature["keyid"]].verify(base64.b64decode(signature["sig"], validate=True), pae)
        found.append(signature["keyid"])
    return json.loads(payload), found


def raw_keys() -> dict[str, Ed25519PublicKey]:
    """Return the public keys, each derived from its seed, by the key id that TUF defines."""
    found = {}
    for entry in vector("keys").values():
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(entry["seed"])).public_key()
        body = {"keytype": "ed25519", "keyval": {"public": key.public_bytes_raw().hex()}, "scheme": "ed25519"}
        assert hashlib.sha256(plain_canonical(body)).hexdigest() == entry["keyid"]
        found[entry["keyid"]] = key
    return found


def envelopes() -> list[tuple[str, dict[str, Any], Any]]:
    """Return (name of the signing key's owner, envelope, statement) of every DSSE envelope in the vectors."""
    found: list[tuple[str, dict[str, Any], Any]] = []
    for case in vector("release").values():
        found += [(who, one, case["statement"]) for who, one in zip(("alice", "bob"), case["envelopes"], strict=True)]
    approval = vector("approval")
    signed = zip(("alice", "bob"), approval["envelopes"], approval["statements"], strict=True)
    found += list(signed)
    for verb in ORDERS:
        case = vector(f"order-{verb}")
        found.append(("order", json.loads(case["body"])["order"], case["statement"]))
    found += [("device", case["envelope"], case["statement"]) for case in vector("outcome").values()]
    return found


def test_every_envelope_verifies_with_cryptography_alone() -> None:
    keys, names = raw_keys(), {entry["keyid"]: name for name, entry in vector("keys").items()}
    assert len(envelopes()) == 15
    for who, envelope, statement in envelopes():
        decoded, signers = raw_dsse(envelope, keys)
        assert decoded == statement
        assert plain_canonical(statement) == base64.b64decode(envelope["payload"])
        assert [names[keyid] for keyid in signers] == [who]
        with pytest.raises(InvalidSignature):
            raw_dsse(envelope | {"payloadType": envelope["payloadType"] + " "}, keys)


def test_tuf_metadata_verifies_with_cryptography_alone() -> None:
    bundle, keys = vector("trust")["bundle"], raw_keys()
    names = ("1.root.json", "targets.json", "policy.json", "snapshot.json", "timestamp.json")
    for name in names:
        metadata = json.loads(bundle[name])
        assert metadata["signatures"]
        for signature in metadata["signatures"]:
            keys[signature["keyid"]].verify(bytes.fromhex(signature["sig"]), plain_canonical(metadata["signed"]))
    target = json.loads(bundle["policy.json"])["signed"]["targets"]["policy/policy.json"]
    assert sha256(bundle["policy/policy.json"].encode()) == "sha256:" + target["hashes"]["sha256"]
    assert len(bundle["policy/policy.json"].encode()) == target["length"]


def test_ids_are_plain_digests() -> None:
    approval = vector("approval")
    assert sha256(plain_canonical(approval["mandate"])) == approval["mandateId"]
    for case in vector("release").values():
        assert sha256(plain_canonical(case["statement"])) == case["digest"]
    for verb in ORDERS:
        order = vector(f"order-{verb}")["statement"]
        parts = [order[name] for name in ("device", "mandate", "verb", "release", "attempt")]
        assert sha256(plain_canonical(parts)) == order["id"]
    for case in vector("canonical"):
        assert sha256(plain_canonical(case["value"])) == case["digest"]


def merkle(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word: split at the largest power of two below n."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + merkle(leaves[:split]) + merkle(leaves[split:])).digest()


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*path(index, leaves[:split]), merkle(leaves[split:])]
    return [*path(index - split, leaves[split:]), merkle(leaves[:split])]


def test_merkle_trees_by_the_definition() -> None:
    for size, case in vector("merkle").items():
        leaves = cast(str, case["lock"]).encode().splitlines()
        assert len(leaves) == int(size) == case["size"]
        assert leaves == sorted(leaves)
        assert "sha256:" + merkle(leaves).hex() == case["root"]
        assert sha256(case["lock"].encode()) == case["digest"]
        for proof in case["proofs"]:
            assert leaves[proof["index"]].decode() == proof["leaf"]
            assert [node.hex() for node in path(proof["index"], leaves)] == proof["hashes"]


def test_vectors_hold_no_secret_but_the_published_seeds() -> None:
    for file in Path(VECTORS).iterdir():
        assert "PRIVATE" not in file.read_text("utf-8")


def test_a_plan_digest_is_the_digest_of_its_canonical_json_and_stands_in_the_mandate() -> None:
    plan = vector("plan")
    text = json.dumps(plan["plan"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert plan["digest"] == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert plan["mandate"]["plan"] == plan["digest"]
    assert plan["mandate"]["lock"] == "sha256:" + hashlib.sha256(plan["lock"].encode()).hexdigest()
    manifest = plan["files"]["rollouts/dev/sensors.yaml"].encode()
    assert plan["mandate"]["manifest"] == "sha256:" + hashlib.sha256(manifest).hexdigest()
    assert plan["mandateId"] == canonical.digest_of(plan["mandate"])


def test_how_an_image_is_delivered_is_no_part_of_the_order_id() -> None:
    assert vector("order-install-pull")["id"] == vector("order-install")["id"]
