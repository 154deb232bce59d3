"""Makes `recorded.json` again: what comes of a real rollout and cannot be made twice with the same bytes.

`python -m tests.fuzz.record`, when the form of the evidence or of the certificates has changed: the targets then say
that no sample is accepted. All keys in it are those of the golden vectors.
"""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import CryptoSigner

from fwctl.fleet.certificates import Authorities, DeviceIssuer, create_authorities
from fwctl.trust.keystore import KeyStore
from fwctl_agent.trust.identity import make_request, read_request
from tests.contract.samples import signer
from tests.support.signing import NOW, REPO
from tests.support.world import World, firmware
from tests.unit.agent.bench import DEVICE

FILE: Final = Path(__file__).with_name("recorded.json")
PASSPHRASE: Final = "open sesame"
ENROLLED: Final = NOW - timedelta(days=30)


def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


def evidence(folder: Path) -> dict[str, Any]:
    """Return the evidence about a rollout on two devices, by file in base64, and the root that it holds with."""
    with World(folder) as world:
        world.init()
        world.enroll_simulated(2)
        world.simulator("--memory")
        world.release(firmware("2.5.0"))
        assert world.once().code == 0
        out = folder / "evidence"
        world.fwctl("audit", "export", "--rollout", "sensors", "--out", out)
        files = {
            path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
        }
        return {
            "root": (world.repo / "trust" / "1.root.json").read_text(),
            "files": {name: base64.b64encode(data).decode() for name, data in files.items()},
        }


def identity(folder: Path) -> dict[str, str]:
    """Return a device's certificate, a renewed one, one for its next key, and their authority."""
    keystore = KeyStore(folder)
    create_authorities(keystore, REPO, ENROLLED)
    issuer = DeviceIssuer.load(keystore, REPO)

    def certified(key: CryptoSigner, days: int) -> str:
        request = make_request(key._private_key, DEVICE, REPO)  # type: ignore[arg-type]
        public = read_request(request, DEVICE, REPO)
        return issuer.certify(DEVICE, public, enrolled_at=ENROLLED, now=ENROLLED + timedelta(days=days)).decode()

    return {
        "authority": Authorities(keystore.pki).device_ca.read_text(),
        "current": certified(signer("device"), 0),
        "renewed": certified(signer("device"), 20),
        "rotated": certified(signer("bob"), 20),
    }


def private_key() -> str:
    """Return a private key under a passphrase that is tried once only: a case must not take a second."""
    argv = ["openssl", "pkcs8", "-topk8", "-iter", "1", "-passout", f"pass:{PASSPHRASE}"]
    return subprocess.run(argv, input=signer("alice").private_bytes, capture_output=True, check=True).stdout.decode()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as top:
        made: dict[str, Any] = {"evidence": evidence(Path(top, "world")), "identity": identity(Path(top, "keys"))}
        made |= {"key": private_key(), "ecdsa": CryptoSigner.generate_ecdsa().public_key.keyval["public"]}
    FILE.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
