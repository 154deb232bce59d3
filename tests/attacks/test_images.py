"""Attacks on the bytes: an approved order, and an image that is not the one that was signed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException
from typing import Any

import pytest

from fwctl.trust.signing import OrderSigner
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import FollowVerb, InstallOrder
from tests.attacks.realm import IMAGE, VICTIM, Realm, whole_now
from tests.support.agents import outcome_of, until
from tests.support.world import firmware

pytestmark = pytest.mark.e2e

EVIL = firmware("evil", len(IMAGE))[: len(IMAGE)].ljust(len(IMAGE), b"!")


def bootable(realm: Realm) -> tuple[Any, ...]:
    """Return what decides what the victim runs: the slot it points to and its bytes, and what it says itself."""
    slots = realm.folder / "slots"
    said = realm.said()
    return (slots / "current").readlink(), realm.world.active_bytes(VICTIM), said["running"], said["floor"]


def attempts(realm: Realm) -> int:
    """Return the next attempt that the victim would accept."""
    marks = [mark["attempt"] for mark in realm.said()["marks"] if mark["verb"] == "install"]
    return 1 + max(marks, default=0)


def accepted(realm: Realm, **changes: Any) -> InstallOrder:
    order = realm.install(attempt=attempts(realm), **changes)
    status, reply = realm.send(realm.request(order), order.id)
    assert (status, reply["state"], reply["image"]) == (202, "accepted", {"offset": 0}), reply
    return order


def push(realm: Realm, order: InstallOrder, image: bytes, **span: int) -> None:
    """Send bytes; the agent may close on who sends what it does not want, maybe before all of it has left."""
    with suppress(OSError, HTTPException), realm.client() as client:
        client.push(order, image, **span)


def follow(realm: Realm, verb: FollowVerb, order: InstallOrder) -> tuple[int, Any]:
    """Send a follow-up with an attempt that is new for its verb: an old one answers with what was stored."""
    pen = OrderSigner(realm.order_key, order.epoch)
    made = pen.follow_up(verb, order, attempt=order.attempt, now=whole_now())
    trust = realm.forge().files() if verb == "activate" else {}
    return realm.send(OrderRequest(pen.sign(made), (), (), trust), made.id)


WRONG: dict[str, tuple[bytes, str]] = {
    "other-bytes": (EVIL, "E_HASH"),
    "first-byte": (bytes([IMAGE[0] ^ 1]) + IMAGE[1:], "E_HASH"),
    "middle-byte": (IMAGE[:9999] + bytes([IMAGE[9999] ^ 128]) + IMAGE[10000:], "E_HASH"),
    "last-byte": (IMAGE[:-1] + bytes([IMAGE[-1] ^ 1]), "E_HASH"),
    "zeros": (bytes(len(IMAGE)), "E_HASH"),
}


@pytest.mark.parametrize(("image", "code"), WRONG.values(), ids=WRONG)
def test_a12_a41_agent_other_bytes_of_the_signed_length(realm: Realm, image: bytes, code: str) -> None:
    before = bootable(realm)
    order = accepted(realm)
    push(realm, order, image)
    with realm.client() as client:
        until(lambda: client.poll(order, wait=0).outcome is not None)
        outcome = outcome_of(client.poll(order, wait=0))
    assert (outcome.result, outcome.klass, outcome.code) == ("failed", "download", code)
    assert bootable(realm) == before
    (standby,) = [slot for slot in realm.said()["slots"] if slot["name"] != before[0].stem]
    assert (standby["state"], standby["version"]) == ("empty", None)


def _one_more(realm: Realm, order: InstallOrder) -> None:
    push(realm, order, IMAGE + b"!", total=len(IMAGE))


def _without_end(realm: Realm, order: InstallOrder) -> None:
    """No length is told, and it does not end: the agent has to stop reading."""
    with suppress(OSError, HTTPException), realm.client() as client:
        body = iter(lambda: b"\0" * 65536, None)
        client.connection.request("PUT", f"/v1/orders/{order.id}/image", body, {}, encode_chunked=True)
        client.connection.getresponse()


@pytest.mark.parametrize("attack", [_one_more, _without_end], ids=["one-byte-more", "without-end"])
def test_a12_agent_more_bytes_than_were_signed(realm: Realm, attack: Callable[[Realm, InstallOrder], None]) -> None:
    before = bootable(realm)
    order = accepted(realm)
    attack(realm, order)
    assert bootable(realm) == before
    written = (realm.folder / "slots" / "b.img").stat().st_size if (realm.folder / "slots" / "b.img").exists() else 0
    assert written <= len(IMAGE)
    _over(realm, order)


@pytest.mark.parametrize("total", [len(IMAGE) - 1, len(IMAGE) + 1, 2**40])
def test_a12_agent_another_length_is_told(realm: Realm, total: int) -> None:
    before = bootable(realm)
    order = accepted(realm)
    with realm.client() as client:
        status, reply = client.push(order, IMAGE[:1], total=total)
    assert (status, reply["code"]) == (422, "E_LENGTH"), reply
    assert bootable(realm) == before
    _over(realm, order)


def test_a12_agent_a_truncated_image_is_waited_for_and_not_booted(realm: Realm) -> None:
    before = bootable(realm)
    order = accepted(realm)
    push(realm, order, IMAGE[:-1], total=len(IMAGE))
    with realm.client() as client:
        reply = client.poll(order, wait=0)
    assert (reply.state, reply.offset) == ("downloading", len(IMAGE) - 1)
    assert bootable(realm) == before
    push(realm, order, b"!", first=len(IMAGE) - 1)
    assert bootable(realm) == before
    _over(realm, order)


def _over(realm: Realm, order: InstallOrder) -> None:
    """End the order if it has not ended, so that the next one can come."""
    with realm.client() as client:
        if client.device()["state"] != "idle":
            status, reply = follow(realm, "cancel", order)
            assert status == 200, reply
        until(lambda: client.device()["state"] == "idle")


@pytest.mark.parametrize("at", [0, len(IMAGE) - 1])
def test_a42_agent_a_slot_that_is_rewritten_before_it_is_started(realm: Realm, at: int) -> None:
    """Verified and held; then somebody writes to the slot; then comes the order to start it."""
    before = bootable(realm)
    order = accepted(realm, activation="hold")
    push(realm, order, IMAGE)
    with realm.client() as client:
        until(lambda: client.poll(order, wait=0).state == "staged")
    (slot,) = [path for path in (realm.folder / "slots").glob("*.img") if path.stem != before[0].stem]
    with slot.open("r+b") as file:
        file.seek(at)
        file.write(bytes([IMAGE[at] ^ 1]))
    status, reply = follow(realm, "activate", order)
    assert status in (200, 202, 422), reply
    with realm.client() as client:
        until(lambda: client.device()["state"] == "idle")
    assert bootable(realm) == before
    codes = {reply.get("code"), *(one.code for one in _outcomes(realm))}
    assert "E_HASH" in codes


def _outcomes(realm: Realm) -> list[Any]:
    return [outcome_of({"outcome": envelope}) for envelope in realm.said()["outcomes"]]


def test_a41_reconciler_bytes_that_were_swapped_in_the_storage(own: Realm) -> None:
    """The storage serves others under the same name: the pass says so, names it, and the device boots nothing."""
    own.write_approvals(own.approvals())
    own.commit("Two approve")
    before = bootable(own)
    (stored,) = own.world.images
    for bad in (EVIL, IMAGE[:-1]):
        stored.write_bytes(bad)
        ran = own.world.once(duration=2)
        assert ran.code in (3, 5), ran.text
        assert any(code in ran.err for code in ("E_HASH", "E_LENGTH", "E_STORAGE")), ran.text
        assert bootable(own) == before
    stored.write_bytes(IMAGE)
    own.world.reconciled()
    assert own.world.active_bytes(VICTIM) == IMAGE, "once it is mended, the same order goes on"


def test_a12_cli_other_bytes_for_a_version_that_is_taken(realm: Realm) -> None:
    file = realm.world.folder / "evil.bin"
    file.write_bytes(EVIL)
    realm.commit("As it was")
    command = ("firmware", "add", file, "--model", "sensor-v1", "--version", "2.5.0", "--as", "alice")
    realm.cli_refuses("E_VERSION_TAKEN", *command, exit_code=3)
    file.write_bytes(b"")
    realm.cli_refuses("E_LENGTH", *(*command[:6], "9.9.9", *command[7:]), exit_code=3)


def test_a44_agent_an_archive_is_bytes_like_any_other(own: Realm) -> None:
    """Nothing looks into an image: it lies in the slot as it came, and nothing of it anywhere else."""
    import io
    import tarfile

    from fwctl_agent.protocol import canonical
    from tests.attacks.test_orders import rollout

    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name in ("../../escaped", "/tmp/fwctl-escaped", "link"):
            member = tarfile.TarInfo(name)
            member.size = 4 if name != "link" else 0
            member.type = tarfile.REGTYPE if name != "link" else tarfile.SYMTYPE
            member.linkname = "/etc/passwd" if name == "link" else ""
            archive.addfile(member, io.BytesIO(b"evil"[: member.size]))
    image = raw.getvalue()
    before = set(own.disk())
    changes = {"image": canonical.digest(image), "length": len(image), "version": "2.5.1", "release_counter": 9}
    order, request = rollout(own, replace(own.prepared.plan.release, **changes))  # type: ignore[arg-type]
    status, reply = own.send(request, order.id)
    assert status == 202, reply
    push(own, order, image)
    with own.client() as client:
        until(lambda: client.device()["state"] == "trial")
    assert {name for name in set(own.disk()) - before if not name.startswith(("state/", "slots/"))} == set()
    assert (own.folder / "slots" / "b.img").read_bytes()[: len(image)] == image
