"""The work behind `device renew` and `device rotate`: reach the device, see which key it proves, issue, hand over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from fwctl.cli.context import Context
from fwctl.cli.planning import load_or_refuse
from fwctl.cli.requesting import checked_key, revoked_keys
from fwctl.errors import DeviceError, FwctlError, InputError, UsageError, WorldError
from fwctl.fleet.certificates import (
    Authorities,
    DeviceCertificate,
    DeviceIssuer,
    key_digest,
    read_device_certificate,
)
from fwctl.fleet.link import HttpsLink, Links
from fwctl.fleet.loop import run
from fwctl.fleet.pki import PublicKey
from fwctl.fleet.register import Book, Entry, Register
from fwctl.manifests.repo import FleetRepo
from fwctl_agent.protocol.identity import IdentityReply
from fwctl_agent.protocol.messages import BusyReply, RefusedReply

_AT_ONCE: Final = 16
What = Literal["renewed", "rotated", "current", "failed"]


@dataclass(frozen=True)
class Line:
    """What became of one device. `end` is that of the certificate it has now, as far as is known."""

    device: str
    what: What
    end: datetime | None = None
    key: str = ""
    error: FwctlError | None = None


@dataclass(frozen=True)
class Renewals:
    """What became of all that were asked for."""

    lines: tuple[Line, ...]
    now: datetime

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(line.device for line in self.lines if line.what == "failed")


@dataclass(frozen=True)
class _Desk:
    """What it takes to issue and to hand over."""

    repo: FleetRepo
    authorities: Authorities
    issuer: DeviceIssuer
    revoked: frozenset[str]
    book: Book
    now: datetime

    @property
    def repo_id(self) -> str:
        return self.issuer.repo_id

    @property
    def register(self) -> Register:
        return Register(self.authorities.folder)

    @classmethod
    def open(cls, settings: Context) -> _Desk:
        """Read everything that is needed, before anybody is called.

        Raises:
            InputError: `E_NO_CA_KEY`: this machine does not hold what issues certificates, or what connects.
        """
        repo = load_or_refuse(settings.files())
        repo_id = repo.fleet.spec.repo_id
        keystore = settings.keystore(repo_id)
        paths = Authorities(keystore.pki)
        needed = {
            "the device CA's key": paths.device_ca_key,
            "the controller's certificate": paths.controller,
            "the controller's key": paths.controller_key,
        }
        for what, path in needed.items():
            if not path.exists():
                raise InputError(
                    f"this machine does not hold {what}",
                    code="E_NO_CA_KEY",
                    place=str(path),
                    remedy="Run it where devices are enrolled. That machine also needs the controller's certificate "
                    "and key, and a way to the devices (docs/how-to/identities.md).",
                )
        return cls(
            repo,
            paths,
            DeviceIssuer.load(keystore, repo_id),
            revoked_keys(settings, repo_id),
            Register(paths.folder).read(),
            settings.now().replace(microsecond=0),
        )

    def links(self, *, lapsed: bool) -> Links:
        oldest = self.repo.fleet.spec.tls
        return Links(self.authorities, self.repo_id, revoked=self.revoked, oldest=oldest, lapsed=lapsed)

    def known(self, name: str) -> str:
        """Return the address of a device.

        Raises:
            InputError: `E_NO_DEVICE`.
        """
        if name in self.repo.devices:
            return self.repo.devices[name].address
        raise InputError(
            f"the inventory has no device called {name[:80]}",
            code="E_NO_DEVICE",
            place="devices/",
            remedy="See: fwctl device list",
        )


def renew_all(settings: Context, names: Sequence[str], *, everyone: bool, expiring: str) -> Renewals:
    """Renew certificates; what one device fails at does not keep the others waiting.

    Raises:
        UsageError: nobody is named, or somebody and everybody.
        InputError: `E_NO_CA_KEY`, `E_NO_DEVICE`.
    """
    if bool(names) + everyone + bool(expiring) != 1:
        raise UsageError(
            "say which devices",
            code="E_USAGE",
            remedy="fwctl device renew NAME..., or --expiring 30d, or --all",
        )
    window = _window(expiring)
    desk = _Desk.open(settings)
    chosen = list(dict.fromkeys(names)) if names else list(desk.repo.devices)
    for name in chosen:
        desk.known(name)
    if window is not None:
        ends = {name: desk.book.end(name) for name in chosen}
        # One whose certificate was issued elsewhere is asked what it shows.
        chosen = [name for name in chosen if (end := ends[name]) is None or end <= desk.now + window]
    links = desk.links(lapsed=True)
    return Renewals(run(_each(chosen, lambda name: _renew(desk, links, name, window))), desk.now)


def rotate_one(settings: Context, name: str) -> Renewals:
    """Give a device a new key.

    Raises:
        InputError: `E_NO_CA_KEY`, `E_NO_DEVICE`.
    """
    desk = _Desk.open(settings)
    desk.known(name)
    links = desk.links(lapsed=False)
    return Renewals(run(_each([name], lambda one: _rotate(desk, links, one))), desk.now)


def _window(expiring: str) -> timedelta | None:
    if not expiring:
        return None
    from fwctl.cli.following import seconds

    return timedelta(seconds=seconds(expiring, place="--expiring"))


async def _each(names: Sequence[str], work: Callable[[str], Awaitable[Line]]) -> tuple[Line, ...]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> Line:
        async with places:
            try:
                return await work(name)
            except FwctlError as error:
                return Line(name, "failed", error=error)

    return tuple(await asyncio.gather(*(one(name) for name in names)))


async def _renew(desk: _Desk, links: Links, name: str, window: timedelta | None) -> Line:
    async with links.open(name, desk.known(name)) as link:
        shown = await _shown(desk, link, name)
        if window is not None and shown.end > desk.now + window:
            return Line(name, "current", shown.end, shown.key)
        pem = desk.issuer.certify(name, shown.public_key, enrolled_at=shown.enrolled_at, now=desk.now).decode()
        new = read_device_certificate(pem)
        if new.end <= shown.end:
            return Line(name, "current", shown.end, shown.key)
        return await _hand_over(desk, link, pem, new, "renewed")


async def _rotate(desk: _Desk, links: Links, name: str) -> Line:
    async with links.open(name, desk.known(name)) as link:
        shown = await _shown(desk, link, name)
        reply = await link.new_key()
        if isinstance(reply, RefusedReply):
            raise _refused(name, reply)
        key = checked_key(
            reply, desk.authorities, desk.repo_id, name, revoked=desk.revoked, place=f"the request of {name}"
        )
        if key == shown.public_key or key_digest(key) in desk.book.superseded(name):
            raise DeviceError(
                "the device asks for a certificate for a key that it has had",
                code="E_REPORT",
                place=name,
                remedy="Look at the device: it must make a new key. Nothing was issued.",
            )
        return await _hand_over(desk, link, *_issued(desk, name, key, shown.enrolled_at), "rotated")


def _issued(desk: _Desk, name: str, key: PublicKey, enrolled_at: datetime) -> tuple[str, DeviceCertificate]:
    pem = desk.issuer.certify(name, key, enrolled_at=enrolled_at, now=desk.now).decode()
    return pem, read_device_certificate(pem)


async def _shown(desk: _Desk, link: HttpsLink, name: str) -> DeviceCertificate:
    """Return the certificate whose key the device has just proved.

    Raises:
        DeviceError: `E_REPORT`: it is for another fleet, or for a key that was superseded.
    """
    await link.connect()
    shown = read_device_certificate(link.peer_certificate or "")
    current = desk.book.current(name)
    old = bool(current) and shown.key not in current
    if (shown.device, shown.repo_id) != (name, desk.repo_id) or old:
        raise DeviceError(
            "it shows a key that a later one has replaced" if old else f"it is {shown.device} of {shown.repo_id}",
            code="E_REPORT",
            place=name,
            remedy=f"Nothing was issued. Find out who answers there; `fwctl device revoke {name} --old` shuts it out."
            if old
            else "Check the address.",
        )
    return shown


async def _hand_over(desk: _Desk, link: HttpsLink, pem: str, new: DeviceCertificate, what: What) -> Line:
    register = desk.register
    register.add([Entry.of("issued", new, desk.now)])  # before it leaves: what is lost must be known to be revoked
    reply = await link.put_identity(pem)
    if not isinstance(reply, IdentityReply):
        raise _refused(new.device, reply)
    if (reply.key, reply.end) != (new.key, new.end):
        raise DeviceError(
            "it says that another certificate is in force than the one that it was given",
            code="E_REPORT",
            place=new.device,
            remedy="Look at the device's log, then run the same command again.",
        )
    register.add([Entry.of("inForce", new, desk.now)])
    return Line(new.device, what, new.end, new.key)


def _refused(name: str, reply: RefusedReply | BusyReply) -> FwctlError:
    if isinstance(reply, BusyReply):
        return WorldError(
            "an order runs there, whose outcome its present key is expected to sign",
            code="E_BUSY",
            place=name,
            remedy="Wait until it has ended (fwctl status), then run the same command again.",
        )
    if reply.code in ("E_NO_DEVICE_CA", "E_NOT_FOUND"):
        return DeviceError(
            "the device was enrolled before devices could take a new certificate",
            code="E_NO_DEVICE_CA",
            place=name,
            remedy="Put the fleet's device CA certificate (pki/device-ca.cert.pem) on the device as "
            "identity/device-ca.pem; an agent of an earlier release must be replaced first.",
        )
    return DeviceError(
        f"the device refuses it: {reply.message}",
        code=reply.code,
        place=name,
        remedy="Nothing was changed on the device. See the message, and `fwctl explain CODE`.",
    )
