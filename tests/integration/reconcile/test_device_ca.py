"""Whose word it is that a certificate is a device's: the signed policy says so, not the machine that reconciles."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fwctl.fleet.certificates import Authorities, create_authorities
from fwctl.trust.keystore import KeyStore
from tests.support.world import REPO, World, firmware


def test_a45_an_authority_that_the_policy_does_not_name_makes_no_devices(tmp_path: Path) -> None:
    """Who can write to the reconciler's folder cannot have devices of their own counted as the fleet's."""
    with World(tmp_path) as world:
        world.init()
        world.enroll("device-001")
        world.agent("device-001")
        world.release(firmware("2.5.0"))
        before = world.active_bytes("device-001")
        stranger = KeyStore.of(REPO, tmp_path / "stranger")
        own, other = Authorities(world.keystore.pki), create_authorities(stranger, REPO, datetime.now(UTC))
        kept = own.device_ca.read_bytes()
        own.device_ca.write_bytes(other.device_ca.read_bytes())
        ran = world.once()
        assert (ran.code, "E_DEVICE_CA" in ran.err, str(own.device_ca) in ran.err) == (4, True, True), ran.text
        with world.ledger() as ledger:
            assert ledger.orders() == ()
        assert world.active_bytes("device-001") == before
        own.device_ca.write_bytes(kept)
        world.reconciled()
        assert world.active_bytes("device-001") != before
