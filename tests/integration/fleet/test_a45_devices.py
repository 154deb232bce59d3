"""A45 at the reconciler's door: whoever answers without being the device gets no byte of HTTP."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwctl.fleet.certificates import DeviceIssuer, read_device_certificate
from fwctl.fleet.interface import LinkError
from fwctl.fleet.link import Links
from tests.integration.fleet.devices import (
    DEVICE,
    FAST,
    REPO,
    Pki,
    Scripted,
    document,
    response,
    server_context,
    serving,
)
from tests.support.certificates import CLIENT, SERVER, forged

NAME = f"{DEVICE}.devices.{REPO}.fwctl"
HOUR = timedelta(hours=1)
NOW = datetime.now(UTC)


def by_device_ca(pki: Pki, names: list[str], begin: datetime | None = None, end: datetime | None = None) -> str:
    paths = pki.authorities
    return forged(paths.device_ca, paths.device_ca_key, names, SERVER, begin=begin, end=end)


def under_a_device(pki: Pki, folder: Path) -> str:
    """A device's own certificate as if it were an authority."""
    key, certificate = DeviceIssuer.load(pki.keystore, REPO).issue("device-002", enrolled_at=pki.now, now=pki.now)
    (folder / "key.pem").write_bytes(key)
    (folder / "cert.pem").write_bytes(certificate)
    return forged(folder / "cert.pem", folder / "key.pem", [NAME], SERVER, chain=certificate.decode())


def foreign(pki: Pki, folder: Path) -> str:
    other = Pki.make(folder / "other")
    return by_device_ca(other, [NAME])


def by_controller_ca(pki: Pki, _: Path) -> str:
    return forged(pki.authorities.controller_ca, pki.authorities.controller_ca_key, [NAME], SERVER)


IMPOSTORS: dict[str, tuple[Callable[[Pki, Path], str], str]] = {
    "expired": (lambda pki, _: by_device_ca(pki, [NAME], begin=NOW - 3 * HOUR, end=NOW - HOUR), "E_CERT_EXPIRED"),
    "not valid yet": (lambda pki, _: by_device_ca(pki, [NAME], begin=NOW + HOUR, end=NOW + 3 * HOUR), "E_TLS"),
    "another fleet's CA": (foreign, "E_TLS"),
    "signed by itself": (lambda pki, _: forged(None, None, [NAME], SERVER), "E_TLS"),
    "signed by a device": (under_a_device, "E_TLS"),
    "signed by the controller CA": (by_controller_ca, "E_TLS"),
    "for clients": (
        lambda pki, _: forged(pki.authorities.device_ca, pki.authorities.device_ca_key, [NAME], CLIENT),
        "E_TLS",
    ),
    "another device": (lambda pki, _: by_device_ca(pki, [f"device-002.devices.{REPO}.fwctl"]), "E_TLS"),
    "two names": (lambda pki, _: by_device_ca(pki, [NAME, f"device-002.devices.{REPO}.fwctl"]), "E_TLS"),
    "every name": (lambda pki, _: by_device_ca(pki, [f"*.devices.{REPO}.fwctl"]), "E_TLS"),
    "its name and every name": (lambda pki, _: by_device_ca(pki, [NAME, f"*.devices.{REPO}.fwctl"]), "E_TLS"),
    "the controller itself": (
        lambda pki, _: pki.authorities.controller_key.read_text() + pki.authorities.controller.read_text(),
        "E_TLS",
    ),
}


@pytest.mark.parametrize(
    ("who", "lapsed"),
    # A renewal forgives one thing: see below.
    [(who, lapsed) for who in IMPOSTORS for lapsed in (False, True) if not (lapsed and who == "expired")],
)
async def test_a45_an_impostor_is_told_nothing(pki: Pki, tmp_path: Path, who: str, lapsed: bool) -> None:
    make, code = IMPOSTORS[who]
    device = Scripted(response(200, document().to_wire()))
    links = Links(pki.authorities, REPO, timeouts=FAST, lapsed=lapsed)
    context = server_context(make(pki, tmp_path), pki.authorities.controller_ca)
    async with serving(device, context) as address, links.open(DEVICE, address) as link:
        with pytest.raises(LinkError) as caught:
            await link.device()
    assert (caught.value.code, caught.value.kind, caught.value.reached) == (code, "tls", False)
    assert device.requests == []


async def test_a45_a_device_past_its_end_is_named_with_the_command_that_renews_it(pki: Pki) -> None:
    pem = by_device_ca(pki, [NAME], begin=NOW - 3 * HOUR, end=NOW - HOUR)
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, server_context(pem, pki.authorities.controller_ca)) as address:
        async with pki.links().open(DEVICE, address) as link:
            with pytest.raises(LinkError) as caught:
                await link.connect()
        assert caught.value.code == "E_CERT_EXPIRED"
        assert f"fwctl device renew {DEVICE}" in caught.value.remedy
        async with Links(pki.authorities, REPO, timeouts=FAST, lapsed=True).open(DEVICE, address) as link:
            await link.connect()
            assert read_device_certificate(link.peer_certificate or "").device == DEVICE
    assert device.requests == []


@pytest.mark.parametrize("lapsed", [False, True])
async def test_a45_a_revoked_device_is_told_nothing(pki: Pki, lapsed: bool) -> None:
    issuer = DeviceIssuer.load(pki.keystore, REPO)
    key, certificate = issuer.issue(DEVICE, enrolled_at=pki.now, now=pki.now)
    digest = read_device_certificate(certificate.decode()).key
    device = Scripted(response(200, document().to_wire()))
    context = server_context((key + certificate).decode(), pki.authorities.controller_ca)
    async with serving(device, context) as address:
        links = Links(pki.authorities, REPO, timeouts=FAST, revoked=[digest], lapsed=lapsed)
        async with links.open(DEVICE, address) as link:
            with pytest.raises(LinkError) as caught:
                await link.device()
        assert (caught.value.code, caught.value.reached, device.requests) == ("E_REVOKED", False, [])
        others = Links(pki.authorities, REPO, timeouts=FAST, revoked=["sha256:" + "0" * 64])
        async with others.open(DEVICE, address) as link:
            assert (await link.device()).id == DEVICE


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("newest", "allowed"), [("TLSv1_1", "none"), ("TLSv1_2", "1.2"), ("TLSv1_3", "both")])
async def test_a45_old_tls_is_refused(pki: Pki, newest: str, allowed: str) -> None:
    context = pki.server()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion[newest]
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    device = Scripted(response(200, document().to_wire()))
    async with serving(device, context) as address:
        for oldest in ("1.3", "1.2"):
            links = Links(pki.authorities, REPO, timeouts=FAST, oldest="1.2" if oldest == "1.2" else "1.3")
            async with links.open(DEVICE, address) as link:
                if allowed in (oldest, "both"):
                    assert (await link.device()).id == DEVICE
                    continue
                with pytest.raises(LinkError) as caught:
                    await link.device()
                assert caught.value.code == "E_TLS"
