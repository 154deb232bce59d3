"""The published schemas and our readers agree: on the vectors, and on every field removed, added or of a wrong type."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.identity import IdentityReply, NewCertificate, RequestReply
from fwctl_agent.protocol.messages import (
    BusyReply,
    DeviceDocument,
    OrderReply,
    OrderRequest,
    RefusedReply,
    TrustVersions,
    bundle_from_wire,
)
from fwctl_agent.protocol.statements import Approval, Outcome, Release, order_from_wire
from fwctl_agent.trust.policy import Policy
from tests.contract.generate import SCHEMAS, generate_schemas
from tests.contract.test_vectors import ORDERS, envelopes, vector


def samples() -> list[tuple[str, Any]]:
    """Return (schema name, value) for everything in the vectors."""
    found: list[tuple[str, Any]] = [("envelope", envelope) for _, envelope, _ in envelopes()]
    found += [("release", case["statement"]) for case in vector("release").values()]
    found += [("approval", statement) for statement in vector("approval")["statements"]]
    found += [("order", vector(f"order-{verb}")["statement"]) for verb in ORDERS]
    found += [("order-request", json.loads(vector(f"order-{verb}")["body"])) for verb in ORDERS]
    found += [("outcome", case["statement"]) for case in vector("outcome").values()]
    found += [("policy", vector("policy")["target"]), ("trust-bundle", vector("trust")["bundle"])]
    found += [("device-document", document) for document in vector("device").values()]
    found += [("trust-versions", document["trust"]) for document in vector("device").values()]
    kinds = {"refused": "refused-reply", "deferred": "refused-reply", "resync": "refused-reply", "busy": "busy-reply"}
    found += [(kinds.get(name, "order-reply"), reply) for name, reply in vector("replies").items()]
    kinds = {"request": "request-reply", "certificate": "new-certificate", "inForce": "identity-reply"}
    found += [(kinds[name], message) for name, message in vector("identity").items()]
    return found


READERS: dict[str, Callable[[Any], object]] = {
    "release": Release.from_wire,
    "approval": Approval.from_wire,
    "order": order_from_wire,
    "outcome": Outcome.from_wire,
    "policy": lambda value: Policy.parse(canonical.dump(value)),
    "trust-bundle": bundle_from_wire,
    "trust-versions": TrustVersions.from_wire,
    "order-request": lambda value: OrderRequest.from_bytes(canonical.dump(value)),
    "order-reply": OrderReply.from_wire,
    "refused-reply": RefusedReply.from_wire,
    "busy-reply": BusyReply.from_wire,
    "device-document": DeviceDocument.from_wire,
    "request-reply": RequestReply.from_wire,
    "new-certificate": lambda value: NewCertificate.from_bytes(canonical.dump(value)),
    "identity-reply": IdentityReply.from_wire,
}


ENVELOPES = ("order", "approvals", "releases", "outcome", "outcomes", "highestOrders")


def valid(name: str, value: Any) -> bool:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def read(name: str, value: Any) -> bool:
    try:
        READERS[name](value)
    except Refusal:
        return False
    return True


def test_every_schema_is_a_schema_and_has_a_sample() -> None:
    for path in SCHEMAS.iterdir():
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text("utf-8")))
    assert {path.name for path in SCHEMAS.iterdir()} == {f"{name}.schema.json" for name, _ in samples()}
    assert {path.name for path in SCHEMAS.iterdir()} == set(generate_schemas())


def test_vectors_are_valid() -> None:
    for name, value in samples():
        schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
        jsonschema.Draft202012Validator(schema).validate(value)


def variants(value: Any) -> list[tuple[str, Any]]:
    """Return (what was done, changed value): one field removed, added or of a wrong type, at every place."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        found += [(f"without {name}", {k: v for k, v in value.items() if k != name}) for name in value]
        found.append(("one field more", value | {"unknown-field": None}))
    wrongs: tuple[Any, ...] = (None, True, -1, "", "?", [], [None], {}, 2**53 - 1)
    for wrong in wrongs:
        found.append((f"{wrong!r}", wrong))
    for name, item in inner:
        for what, changed in variants(item):
            whole = dict(value) if isinstance(value, dict) else list(value)
            whole[name] = changed
            found.append((f"{name}: {what}", whole))
    return found


@pytest.mark.parametrize("name", sorted(READERS))
def test_schema_and_reader_refuse_the_same(name: str) -> None:
    checked = 0
    for value in [value for kind, value in samples() if kind == name]:
        for what, changed in variants(value):
            by_schema, by_reader = valid(name, changed), read(name, changed)
            checked += 1
            if by_schema and not by_reader:
                assert name in ("order", "policy"), (name, what)  # ids, references between fields and key material
            if by_reader and not by_schema:
                assert name in ("order-request", "order-reply", "device-document"), (name, what)
                assert what.split(":")[0] in ENVELOPES, what  # opened by the next layer
    assert checked > 10
