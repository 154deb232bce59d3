"""JSON Schemas (draft 2020-12) of every wire message and statement, for implementers who do not read Python.

Written out by hand against ADR-0001, not derived from the readers, so that each checks the other: the patterns alone
are shared. `python -m tests.contract.generate` writes them to `schemas/wire/`.
"""

from __future__ import annotations

import re
from typing import Any, Final

from fwctl_agent.protocol.fields import DIGEST, HEX64, ID, TIME, VERSION, WORD
from fwctl_agent.protocol.statements.order import MAX_URL, URL
from fwctl_agent.trust.policy import ARMOUR, LINE

Schema = dict[str, Any]
MAX_INT: Final = 9007199254740991


def pattern(expression: re.Pattern[str]) -> Schema:
    return {"type": "string", "pattern": f"^(?:{expression.pattern})$"}


def number(low: int = 0, high: int = MAX_INT) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high}


def text(limit: int = 256) -> Schema:
    return {"type": "string", "maxLength": limit}


def items(schema: Schema, limit: int, low: int = 0) -> Schema:
    return {"type": "array", "items": schema, "maxItems": limit} | ({"minItems": low} if low else {})


def mapping(schema: Schema, limit: int) -> Schema:
    return {"type": "object", "additionalProperties": schema, "maxProperties": limit}


def one_of(*values: Any) -> Schema:
    return {"enum": list(values)}


def maybe(schema: Schema) -> Schema:
    return {"anyOf": [{"type": "null"}, schema]}


def obj(**fields: Schema) -> Schema:
    """Return an object in which every field stands, and no other."""
    return {"type": "object", "properties": fields, "required": sorted(fields), "additionalProperties": False}


def optional(schema: Schema, *names: str) -> Schema:
    """Let fields be missing: those that the first releases did not write."""
    return schema | {"required": [name for name in schema["required"] if name not in names]}


def renamed(schema: Schema, **names: str) -> Schema:
    """Give fields the names that Python does not allow as keywords."""
    fields = {names.get(name, name): value for name, value in schema["properties"].items()}
    return schema | {"properties": fields, "required": sorted(fields)}


DIGEST_: Final = pattern(DIGEST)
ID_: Final = pattern(ID)
WORD_: Final = pattern(WORD)
VERSION_: Final = pattern(VERSION)
TIME_: Final = pattern(TIME)
ENVELOPE: Final = obj(
    payload={"type": "string", "contentEncoding": "base64"},
    payloadType=one_of(
        *(f"application/vnd.fwctl.{kind}.v1+json" for kind in ("release", "approval", "order", "outcome"))
    ),
    signatures=items(obj(keyid=text(), sig={"type": "string", "contentEncoding": "base64", "maxLength": 1024}), 16, 1),
)
RELEASE: Final = obj(
    model=ID_,
    version=VERSION_,
    image=obj(digest=DIGEST_, length=number(1)),
    hardware=items(WORD_, 64),
    releaseCounter=number(),
    securityVersion=number(),
    requiresFrom=maybe(obj(atLeast=maybe(VERSION_), below=maybe(VERSION_))),
    data=obj(writes=number(), reads=items(number(), 64)),
    sbom=maybe(DIGEST_),
)
MANDATE: Final = obj(
    repoId=ID_,
    env=ID_,
    name=WORD_,
    manifest=DIGEST_,
    lock=DIGEST_,
    lockRoot=DIGEST_,
    lockSize=number(1),
    plan=DIGEST_,
    releases=items(DIGEST_, 256),
    round=number(1),
    terms=obj(
        rollback=one_of("allowed", "forbidden"),
        lateJoiners=maybe(optional(obj(model=ID_, env=ID_, max=number(1), stage=number(2)), "stage")),
    ),
)
APPROVAL: Final = obj(
    mandate=MANDATE, stage=number(1, 999), approvedAt=TIME_, expires=TIME_, signer=WORD_, meaning=text(200)
)
ORDER_FIELDS: Final[dict[str, Schema]] = {
    "id": DIGEST_,
    "device": ID_,
    "mandate": DIGEST_,
    "release": DIGEST_,
    "attempt": number(1, 9999),
    "epoch": number(1),
    "issuedAt": TIME_,
    "expires": TIME_,
}
INSTALL: Final = obj(
    **ORDER_FIELDS,
    verb=one_of("install"),
    leaf=text(128 + 72 * 16),
    proof=obj(index=number(), hashes=items(pattern(HEX64), 64)),
    delivery={"oneOf": [obj(type=one_of("push")), obj(type=one_of("pull"), url=pattern(URL) | {"maxLength": MAX_URL})]},
    confirmWithin=number(1, 7 * 86400),
    watch=number(0, 30 * 86400),
    probes=optional(
        obj(set=WORD_, limits=mapping(number(-MAX_INT), 64), minima=mapping(number(-MAX_INT), 64)), "minima"
    ),
    activation=one_of("now", "hold"),
)
FOLLOW_UP: Final = obj(**ORDER_FIELDS, verb=one_of("activate", "confirm", "revert", "cancel"), refersTo=DIGEST_)
ORDER: Final[Schema] = {"oneOf": [INSTALL, FOLLOW_UP]}
RUNNING: Final = obj(release=maybe(DIGEST_), image=DIGEST_, version=VERSION_, mandate=maybe(DIGEST_))
SLOT: Final = obj(
    name=WORD_, state=one_of("empty", "writing", "verified"), image=maybe(DIGEST_), version=maybe(VERSION_)
)
OUTCOME: Final = renamed(
    obj(
        device=ID_,
        repoId=ID_,
        order=DIGEST_,
        mandate=DIGEST_,
        result=one_of("staged", "confirmed", "reverted", "failed", "cancelled"),
        klass=one_of(
            None, "refused", "deferred", "unreachable", "download", "install", "health", "unconfirmed", "silent-revert"
        ),
        code=maybe(WORD_),
        running=RUNNING,
        slots=items(SLOT, 8),
        evidence=items(obj(probe=WORD_, ok={"type": "boolean"}, detail=text(500), value=maybe(number(-MAX_INT))), 64),
        phases=items(obj(name=WORD_, start=TIME_, millis=number()), 32),
        counter=number(1),
    ),
    klass="class",
)
STATE: Final = one_of(
    "idle", "accepted", "downloading", "verified", "staged", "trial", "confirmed", "reverting", "reverted", "failed"
)
BUNDLE: Final = mapping({"type": "string"}, 300)
REQUEST: Final = obj(order=ENVELOPE, approvals=items(ENVELOPE, 64), releases=items(ENVELOPE, 64), trust=BUNDLE)
REPLY: Final = obj(
    order=DIGEST_,
    state=STATE,
    image=maybe(obj(offset=number())),
    outcome=maybe(ENVELOPE),
    resumeAfter=maybe(number()),
)
REFUSED: Final = renamed(
    obj(klass=one_of("refused", "deferred", "resync"), code=WORD_, message=text(2000)), klass="class"
)
BUSY: Final = obj(code=one_of("E_BUSY"), running=DIGEST_)
TRUST_VERSIONS: Final = obj(root=number(), targets=number(), policy=number(), snapshot=number(), timestamp=number())
DEVICE: Final = obj(
    id=ID_,
    model=ID_,
    hardware=WORD_,
    env=ID_,
    enrolledAt=TIME_,
    agent=VERSION_,
    protocol=number(1, 999),
    state=STATE,
    order=maybe(DIGEST_),
    running=RUNNING,
    slots=items(SLOT, 8),
    trust=TRUST_VERSIONS,
    highestTimestamp=maybe({"type": "string"}),
    highestOrders=items(ENVELOPE, 16),
    floor=number(),
    floorClock=TIME_,
    clockSuspect={"type": "boolean"},
    spent=items(obj(mandate=DIGEST_, reason=one_of("ordered", "health", "watch")), 256),
    marks=items(obj(mandate=DIGEST_, verb=WORD_, attempt=number(1)), 256),
    outcomes=items(ENVELOPE, 64),
    facts=mapping({"anyOf": [text(), number(-MAX_INT), {"type": "boolean"}]}, 64),
    vitals=mapping(number(-MAX_INT), 64),
    counter=number(),
)
KEY: Final = obj(
    keytype=one_of("ed25519", "ecdsa"), scheme=one_of("ed25519", "ecdsa-sha2-nistp256"), keyval=obj(public=text(1000))
)
QUORUM: Final[dict[str, Schema]] = {"group": WORD_, "threshold": number(1, 1000)}
POLICY: Final = optional(
    obj(
        schema=one_of(1),
        repoId=ID_,
        people=mapping(obj(keys=items(KEY, 8)), 1000),
        groups=mapping(items(WORD_, 1000), 200),
        approvalRules=items(obj(**QUORUM, paths=text(), stage=number(1, 999)), 500),
        releaseSigners=mapping(obj(**QUORUM), 1000),
        orderKeys=items(KEY, 16, 1),
        algorithms=items(one_of("ed25519", "ecdsa-sha2-nistp256"), 8, 1),
        floors=mapping(number(), 1000),
        withdrawn=items(DIGEST_, 10000),
        guardRails=items(DIGEST_, 1000),
        storage=items(obj(scheme=one_of("https"), host=text(), port=number(1, 65535), cidr=maybe(text())), 100),
        gitVerify=one_of("off", "head", "strict"),
        gitSigners=items(pattern(LINE), 1000),
        gitKeys=items(pattern(ARMOUR), 200),
        revoked=items(DIGEST_, 10000),
        deviceCas=items(DIGEST_, 16),
        maxApprovalDays=number(1, 3650),
    ),
    "gitSigners",
    "gitKeys",
    "revoked",
    "deviceCas",
)
TITLES: Final[dict[str, tuple[str, Schema]]] = {
    "envelope": ("DSSE envelope of any statement", ENVELOPE),
    "release": ("Release statement (DSSE payload)", RELEASE),
    "approval": ("Approval statement over a mandate (DSSE payload)", APPROVAL),
    "order": ("Order statement of any verb (DSSE payload)", ORDER),
    "outcome": ("Outcome statement of a device (DSSE payload)", OUTCOME),
    "policy": ("Policy target", POLICY),
    "trust-bundle": ("PUT /v1/trust: file name below trust/ to exact text", BUNDLE),
    "trust-versions": ("PUT /v1/trust: reply 200", TRUST_VERSIONS),
    "order-request": ("PUT /v1/orders/{id}: body", REQUEST),
    "order-reply": ("Replies 200, 202 and 416 about an order", REPLY),
    "refused-reply": ("Replies 404 and 422", REFUSED),
    "busy-reply": ("Reply 409", BUSY),
    "device-document": ("GET /v1/device", DEVICE),
    "request-reply": ("PUT /v1/identity/request: reply 200", obj(request=text(16 << 10))),
    "new-certificate": ("PUT /v1/identity: body", obj(certificate=text(16 << 10))),
    "identity-reply": ("PUT /v1/identity: reply 200", obj(key=DIGEST_, notAfter=TIME_)),
}


def schemas() -> dict[str, Schema]:
    """Return file name -> schema."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {f"{name}.schema.json": head | {"title": title} | schema for name, (title, schema) in TITLES.items()}
