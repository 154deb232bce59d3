"""Mutated request bytes: a refusal, or the very same order. Nothing else may ever leave the judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fwctl_agent.errors import Refusal
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.messages import BusyReply, DeviceDocument, OrderReply, OrderRequest, RefusedReply
from fwctl_agent.protocol.statements import ORDER as KIND
from fwctl_agent.trust.envelope import seal
from fwctl_agent.trust.metadata import TrustedMetadata
from fwctl_agent.trust.verifier import AcceptedInstall, TrustedTime, judge_install
from tests.contract.generate import VECTORS
from tests.support.signing import NOW, Fleet, image_of
from tests.unit.trust.test_verifier import CONTEXT, DEVICE

FLEET = Fleet()
REQUEST, ORDER, RELEASE = FLEET.install_request(DEVICE, image_of("2.5.0"))
BODY = REQUEST.to_bytes()
PINNED = TrustedMetadata.bootstrap(FLEET.files()["1.root.json"])
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=8), st.just([]), st.just({}),
    st.lists(st.none(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(-1, 1), max_size=2),
)  # fmt: skip


def judge(body: bytes) -> AcceptedInstall:
    """Do with the bytes what a device does, from the first to the last check."""
    request = OrderRequest.from_bytes(body)
    trusted = PINNED.advance(request.trust, now=NOW, fresh=True)
    assert trusted.policy is not None
    return judge_install(request, context=CONTEXT, policy=trusted.policy, time=TrustedTime(NOW, suspect=False))


GOOD = judge(BODY)


def same_or_refused(body: bytes) -> None:
    try:
        found = judge(body)
    except Refusal:
        return
    assert (found.order, found.release, found.mandate) == (GOOD.order, GOOD.release, GOOD.mandate)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a11_flipped_inserted_and_removed_bytes(data: st.DataObject) -> None:
    raw = bytearray(BODY)
    for _ in range(data.draw(st.integers(1, 3))):
        at, what = (
            data.draw(st.integers(0, len(raw) - 1)),
            data.draw(st.sampled_from(("flip", "drop", "insert", "cut"))),
        )
        if what == "flip":
            raw[at] ^= data.draw(st.integers(1, 255))
        elif what == "drop":
            del raw[at]
        elif what == "insert":
            raw.insert(at, data.draw(st.integers(0, 255)))
        else:
            del raw[at : at + data.draw(st.integers(1, 200))]
        if not raw:
            break
    same_or_refused(bytes(raw))


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] * bool(here) + [place for name, item in inner for place in places(item, (*here, name))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    copy = json.loads(json.dumps(value))
    at = copy
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = new
    return copy


WIRE = json.loads(BODY)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(places(WIRE)), JUNK)
def test_junk_values_anywhere_in_a_request(place: tuple[Any, ...], junk: Any) -> None:
    same_or_refused(json.dumps(put(WIRE, place, junk)).encode(errors="replace"))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_junk_values_anywhere_in_an_order_that_the_order_key_signed(data: st.DataObject) -> None:
    """A stolen order key signs whatever it likes: what is accepted is still what people approved."""
    statement = ORDER.to_wire()
    place = data.draw(st.sampled_from(places(statement)))
    hostile = put(statement, place, data.draw(JUNK))
    try:
        payload = canonical.encode(hostile)
    except Refusal:
        return
    body = canonical.dump(WIRE | {"order": seal(payload, KIND, FLEET.order)})
    try:
        found = judge(body)
    except Refusal:
        return
    assert (found.release, found.mandate, found.order.device) == (GOOD.release, GOOD.mandate, DEVICE)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_a_device_says_is_read_or_refused(data: st.DataObject) -> None:
    """A device answers garbage: the reconciler's readers know a refusal and nothing else."""
    readers: list[tuple[str, Callable[[object], Any]]] = [
        ("device", DeviceDocument.from_wire),
        ("replies", OrderReply.from_wire),
        ("replies", RefusedReply.from_wire),
        ("replies", BusyReply.from_wire),
    ]
    name, read = data.draw(st.sampled_from(readers))
    samples = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))
    value = samples[data.draw(st.sampled_from(sorted(samples)))]
    hostile = put(value, data.draw(st.sampled_from(places(value))), data.draw(JUNK))
    try:
        found = read(canonical.decode(canonical.dump(hostile), what="reply"))
    except Refusal:
        return
    assert found.to_wire() == hostile
