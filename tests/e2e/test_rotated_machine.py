"""The reconciler after a rotation: with keys of before it does nothing, with the new ones it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from fwctl.trust.public_key import PublicKeyFile
from tests.support.world import World, firmware


@pytest.mark.parametrize("name", ["order", "freshness"])
def test_a_pass_with_a_key_of_before_a_rotation_asks_no_device(tmp_path: Path, name: str) -> None:
    signer, public = CryptoSigner.generate_ed25519(), tmp_path / "new.json"
    public.write_bytes(PublicKeyFile("reconciler", signer.public_key).to_bytes())
    with World(tmp_path) as world:
        world.init()
        world.enroll("device-001")
        world.release(firmware("2.5.0"))
        world.fwctl("trust", "rotate-root", f"--{name}", public)
        refused = world.once()
        assert (refused.code, "E_KEY_NOT_TRUSTED" in refused.text, f"reconciler-{name}" in refused.text) == (
            4,
            True,
            True,
        )
        keys = world.config / "acme" / "keys"
        for old in keys.glob(f"reconciler-{name}.*"):
            old.unlink()
        (keys / f"reconciler-{name}.pem").write_bytes(signer.private_bytes)
        (keys / f"reconciler-{name}.pem").chmod(0o600)
        world.agent("device-001")
        assert world.reconciled()["rollouts"][0]["counts"] == {"reached": 1}
