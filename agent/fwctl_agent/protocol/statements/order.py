"""Orders: install, and the follow-ups about an install order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal, cast

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import HEX64, ID, WORD, Fields, format_time, matching, signed
from fwctl_agent.protocol.lock import MAX_CHAIN, Proof

ORDER: Final = "application/vnd.fwctl.order.v1+json"


Verb = Literal["install", "activate", "confirm", "revert", "cancel"]
FollowVerb = Literal["activate", "confirm", "revert", "cancel"]
FOLLOW_UPS: Final = ("activate", "confirm", "revert", "cancel")
MAX_URL: Final = 4096
"""characters of the address in a delivery"""
URL: Final = re.compile(r"https://[!-~]+")


@dataclass(frozen=True)
class Push:
    """The reconciler sends the image."""

    def to_wire(self) -> dict[str, Any]:
        return {"type": "push"}


@dataclass(frozen=True)
class Pull:
    """The device fetches the image itself. The query of `url` may be a secret."""

    url: str

    def to_wire(self) -> dict[str, Any]:
        return {"type": "pull", "url": self.url}

    def __repr__(self) -> str:
        return "Pull(...)"


Delivery = Push | Pull


def order_id(*, device: str, mandate: str, verb: str, release: str, attempt: int) -> str:
    """Return the content-derived id: freshness fields stay outside it, so re-sending is harmless."""
    return canonical.digest_of([device, mandate, verb, release, attempt])


@dataclass(frozen=True, kw_only=True)
class _Order(canonical.Written):
    device: str
    mandate: str
    release: str
    attempt: int
    epoch: int
    issued_at: datetime
    expires: datetime

    def _common(self, verb: str, id_: str) -> dict[str, Any]:
        return {
            "id": id_,
            "verb": verb,
            "device": self.device,
            "mandate": self.mandate,
            "release": self.release,
            "attempt": self.attempt,
            "epoch": self.epoch,
            "issuedAt": format_time(self.issued_at),
            "expires": format_time(self.expires),
        }


@dataclass(frozen=True, kw_only=True)
class InstallOrder(_Order):
    """Fetch, verify and write the release; with `activation` now also try it."""

    leaf: str
    """the device's lock line; empty for a late joiner"""
    proof: Proof
    confirm_within: int
    """seconds from entering the trial until it reverts alone"""
    watch: int
    """seconds of probing after confirm"""
    probes: str
    """name of the probe set in the device's own configuration"""
    limits: tuple[tuple[str, int], ...]
    """absolute maxima of numeric probes, by name"""
    activation: Literal["now", "hold"]
    minima: tuple[tuple[str, int], ...] = ()
    """absolute minima of numeric probes, by name; on the wire only where there are some"""
    delivery: Delivery = Push()
    """how the bytes come; the id does not depend on it, so an order sent again may name another address"""
    verb: Literal["install"] = "install"

    @cached_property
    def id(self) -> str:
        return order_id(
            device=self.device,
            mandate=self.mandate,
            verb=self.verb,
            release=self.release,
            attempt=self.attempt,
        )

    def to_wire(self) -> dict[str, Any]:
        minima = {"minima": dict(self.minima)} if self.minima else {}
        return self._common(self.verb, self.id) | {
            "leaf": self.leaf,
            "proof": {"index": self.proof.index, "hashes": list(self.proof.hashes)},
            "delivery": self.delivery.to_wire(),
            "confirmWithin": self.confirm_within,
            "watch": self.watch,
            "probes": {"set": self.probes, "limits": dict(self.limits)} | minima,
            "activation": self.activation,
        }


@dataclass(frozen=True, kw_only=True)
class FollowUp(_Order):
    """Activate, confirm, revert or cancel what the install order `refers_to` began."""

    verb: FollowVerb
    refers_to: str

    @cached_property
    def id(self) -> str:
        return order_id(
            device=self.device,
            mandate=self.mandate,
            verb=self.verb,
            release=self.release,
            attempt=self.attempt,
        )

    def to_wire(self) -> dict[str, Any]:
        return self._common(self.verb, self.id) | {"refersTo": self.refers_to}


Order = InstallOrder | FollowUp


def order_from_wire(value: object) -> Order:
    """Read an order of any verb.

    Raises:
        Refusal: `E_SCHEMA`, also when the stated id is not the digest of the content.
    """
    top = Fields(value, "order")
    stated, verb = top.digest("id"), top.choice("verb", ("install", *FOLLOW_UPS))
    common: dict[str, Any] = {
        "device": top.text("device", ID),
        "mandate": top.digest("mandate"),
        "release": top.digest("release"),
        "attempt": top.integer("attempt", 1, 9999),
        "epoch": top.integer("epoch", 1),
        "issued_at": top.time("issuedAt"),
        "expires": top.time("expires"),
    }
    order: Order
    if verb == "install":
        order = _install(top, common)
    else:
        order = FollowUp(**common, verb=cast(FollowVerb, verb), refers_to=top.digest("refersTo"))
    top.done()
    if order.id != stated:
        raise Refusal("E_SCHEMA", "order.id is not the digest of the order's content")
    return order


def _install(top: Fields, common: dict[str, Any]) -> InstallOrder:
    proof = Fields(top.take("proof"), "order.proof")
    probes = Fields(top.take("probes"), "order.probes")
    order = InstallOrder(
        **common,
        leaf=top.text("leaf", limit=128 + 72 * MAX_CHAIN),
        proof=Proof(proof.integer("index"), proof.items("hashes", matching(HEX64, "order.proof.hashes"), limit=64)),
        confirm_within=top.integer("confirmWithin", 1, 7 * 86400),
        watch=top.integer("watch", 0, 30 * 86400),
        probes=probes.text("set", WORD),
        limits=_bounds(probes, "limits"),
        minima=_bounds(probes, "minima") if probes.has("minima") else (),
        activation=cast(Literal["now", "hold"], top.choice("activation", ("now", "hold"))),
        delivery=_delivery(Fields(top.take("delivery"), "order.delivery")),
    )
    for fields in (proof, probes):
        fields.done()
    return order


def _bounds(probes: Fields, name: str) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(probes.mapping(name, signed, limit=64).items()))


def _delivery(fields: Fields) -> Delivery:
    pull = fields.choice("type", ("push", "pull")) == "pull"
    delivery = Pull(fields.text("url", URL, limit=MAX_URL)) if pull else Push()
    fields.done()
    return delivery
