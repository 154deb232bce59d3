"""A fleet whose secrets are marked, and everything that can go wrong in it, each with what the command answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fwctl.storage.choose import CA_FILE, QUERY_FILE
from tests.secrets.scanner import Mark, pem_marks
from tests.support.storage_server import StorageServer
from tests.support.token import PIN as TOKEN_PIN
from tests.support.token import SO_PIN
from tests.support.world import IDENTITY, Ran, World

PASSPHRASE = "CANARY-passphrase-Zr5/tq+81"
WRONG_PASSPHRASE = "CANARY-mistyped-9Qw=44xyz"
PIN = "CANARY-pin-20406080"
QUERY = "sig=CANARY-presigned-Kd93hfQz&se=2099"
TOKEN = "ghp-CANARY-token-0a1b2c3d4e"
ENVIRONMENT = "CANARY-environment-77aa88bb"
VARIABLES = ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "FWCTL_TEST_SECRET")
DEVICE = "unit-1"
BAD_FLEET = """\
apiVersion: fwctl/v1
kind: Fleet
metadata: {{name: acme}}
spec:
  repoId: acme
  storage: {{type: https, url: "{url}"}}
  delivery: pull
  deviceAddress: "{{id}}:8443"
  passInterval: 5m
  confirmWithin: 10m
  defaults:
    timeoutPerDevice: 5m
    retry: {{maxAttempts: 9, backoff: {{initial: 1s, factor: 1, max: 1s, jitter: 0}}}}
"""


class Marked:
    """The world, its marks, and what was said in it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, server: StorageServer) -> None:
        self.folder = folder
        self.patch = patch
        self.server = server
        self.world = World(folder / "world")
        self.world.folder.mkdir(parents=True)
        self.said: dict[str, str] = {}
        self.secrets = folder / "secrets"
        """files with secrets that the user has written, and names in environment variables"""
        self.secrets.mkdir()
        for name, value in IDENTITY.items():
            patch.setenv(name, value)
        for name in VARIABLES:
            patch.setenv(name, ENVIRONMENT)

    def secret(self, name: str, text: str) -> Path:
        path = self.secrets / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path

    def run(self, *arguments: object) -> Ran:
        ran = self.world.run(*arguments)
        self.said[f"{len(self.said)}: fwctl {' '.join(map(str, arguments))[:60]}"] = ran.text
        return ran

    def fails(self, *arguments: object) -> Ran:
        """Run what must go wrong: with a code, and not by a bug."""
        ran = self.run(*arguments)
        assert ran.code not in (0, 70), ran.text
        return ran

    @property
    def marks(self) -> list[Mark]:
        marks = [
            Mark("passphrase", PASSPHRASE.encode()),
            Mark("mistyped passphrase", WRONG_PASSPHRASE.encode()),
            Mark("PIN", PIN.encode()),
            Mark("PIN of the token", TOKEN_PIN.encode()),
            Mark("PIN of its officer", SO_PIN.encode()),
            Mark("presigned query", b"CANARY-presigned-Kd93hfQz"),
            Mark("token in an address", TOKEN.encode()),
            Mark("environment", ENVIRONMENT.encode()),
        ]
        for path in self.private_keys():
            marks += pem_marks(path.name, path.read_bytes())
        return marks

    def private_keys(self) -> list[Path]:
        """Return the files that hold private keys: users', of the authorities, of devices."""
        found = [path for path in self.folder.rglob("*") if path.is_file() and _is_private_key(path)]
        assert len(found) >= 6, found
        return found

    def meant(self) -> list[Path]:
        """All places that are meant to hold a secret; each is one file, readable by its owner only."""
        return [self.secrets, self.folder / "server", self.world.repo / ".git" / "config", *self.private_keys()]


def _is_private_key(path: Path) -> bool:
    return (
        path.suffix == ".pem" and re.search(rb"-----BEGIN (EC |ENCRYPTED )?PRIVATE KEY", path.read_bytes()) is not None
    )


@contextmanager
def marked(folder: Path) -> Iterator[Marked]:
    """Make a fleet with one device that pulls its image from a storage with a secret query."""
    (folder / "server").mkdir()
    with pytest.MonkeyPatch.context() as patch, StorageServer(folder / "server") as server:
        scene = Marked(folder, patch, server)
        with scene.world as world:
            patch.setenv(QUERY_FILE, str(scene.secret("query", QUERY)))
            patch.setenv(CA_FILE, str(server.ca))
            world.init(timeout="2s")
            world.enroll(DEVICE)
            toml = world.folder / "devices" / DEVICE / "agent.toml"
            toml.write_text(toml.read_text() + f'\n[download]\nca = "{server.ca}"\n')
            world.commit("Enrol")
            allow(scene, server)
            yield scene


def allow(scene: Marked, server: StorageServer) -> None:
    """Have the policy list the storage, and the fleet use it."""
    policy = json.loads((scene.world.repo / "trust/policy/policy.json").read_text())
    policy["storage"] = [server.entry()]
    edited = scene.folder / "policy.json"
    edited.write_text(json.dumps(policy))
    assert scene.run("trust", "policy", edited).code == 0, scene.said
    (scene.world.repo / "fleet.yaml").write_text(BAD_FLEET.format(url=server.url))
    scene.world.commit("Pull")
