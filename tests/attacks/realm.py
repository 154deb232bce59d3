"""A fleet under a trust of two in three, with a real agent, a real repository, and all that an attack may change.

Whoever attacks holds every key that lies on the reconciler's machine: the order key, the freshness key, the
controller's certificate. Beside them he may hold one owner's key. Each door is asked for the same three things: that
it says no with the stable code, that nothing has changed, and (when all attacks are over) that a good order works.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from securesystemslib.signer import CryptoSigner, Signer

from fwctl.cli.context import Context
from fwctl.reconcile.commit import CommitState, Prepared
from fwctl.trust.authority import approval_folder, envelope_bytes
from fwctl.trust.keystore import FRESHNESS, ORDER
from fwctl.trust.signing import OrderSigner, sign_approval, sign_release
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import Approval, InstallOrder, Mandate, Order
from tests.attacks.forge import Forge, key_value
from tests.support.agents import Client
from tests.support.world import MODEL, REPO, Process, Ran, World, firmware

VICTIM, OTHER = "device-001", "device-002"
IMAGE = firmware("2.5.0", 20_000)
KEY = "dev/sensors"
Envelope = dict[str, Any]
SECOND = timedelta(seconds=1)
_ERROR = re.compile(r"error\[(?P<code>\w+)\]: (?P<message>.+)\n  --> (?P<place>.+)\nhelp: (?P<remedy>.+)")


def whole_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Realm:
    """The fleet. `commit()` and `restore()` change its repository; `device` is what stands on the victim's disk."""

    world: World
    now: datetime = field(default_factory=whole_now)
    people: dict[str, Signer] = field(default_factory=dict)
    second_key: CryptoSigner = field(default_factory=CryptoSigner.generate_ed25519)
    """the other key of alice"""
    stranger: CryptoSigner = field(default_factory=CryptoSigner.generate_ed25519)
    good: str = ""
    """the commit that is as it should be, apart from approvals"""
    address: str = ""
    base: int = 3
    """version of targets, policy, snapshot and timestamp that everybody trusts: an attack may lie below or above"""

    def build(self) -> Self:
        """Make repository, trust, devices, one release, one rollout that nobody has approved yet."""
        world = self.world
        world.init(timeout="5s")
        keys = world.keystore
        self.order_key, self.freshness_key = keys.signer(ORDER), keys.signer(FRESHNESS)
        self.people = {"alice": keys.signer("alice")} | {
            name: CryptoSigner.generate_ed25519() for name in ("bob", "carol")
        }
        self.write_trust(self.forge())
        keys.pin_root(self.forge().files()["1.root.json"])
        for name in (VICTIM, OTHER):
            world.enroll(name)
        world.add_firmware(IMAGE, "2.5.0")
        more = ("--device", VICTIM, "--strategy", "Direct")
        world.fwctl("rollout", "create", "sensors", "--firmware", f"{MODEL}@2.5.0", *more)
        world.fwctl("plan", "sensors", "--lock")
        world.commit("A rollout")
        self.write_releases([self.release_by("alice"), self.release_by("bob")])
        self.good = world.commit("Signed by two")
        return self

    def run_agent(self) -> Process:
        """Run the victim's agent, with the trust that the attacks will carry: they change nothing by being fresh."""
        process = self.world.agent(VICTIM)
        self.address = process.address
        status, reply = self.put_trust(self.forge().files())
        assert status == 200, reply
        return process

    # -- trust ------------------------------------------------------------------------------------------------------

    def policy(self) -> dict[str, Any]:
        """Two of three approve and release; alice has two keys."""
        people = {name: {"keys": [key_value(signer.public_key)]} for name, signer in self.people.items()}
        people["alice"]["keys"].append(key_value(self.second_key.public_key))
        two = {"group": "owners", "threshold": 2}
        return {
            "schema": 1,
            "repoId": REPO,
            "people": people,
            "groups": {"owners": sorted(people)},
            "approvalRules": [two | {"paths": "rollouts/**", "stage": 1}],
            "releaseSigners": {"*": two},
            "orderKeys": [key_value(self.order_key.public_key)],
            "algorithms": ["ed25519", "ecdsa-sha2-nistp256"],
            "floors": {},
            "withdrawn": [],
            "guardRails": [],
            "storage": [],
            "gitVerify": "off",
            "maxApprovalDays": 90,
        }

    def forge(self, **policy: Any) -> Forge:
        owners = list(self.people.values())
        made = Forge.of(now=self.now, owners=owners, freshness=self.freshness_key, policy=self.policy() | policy)
        return made.version(self.base)

    def next(self, **policy: Any) -> Forge:
        """Return a set that would be taken over: attacks change it, so that nothing but them is wrong."""
        return self.forge(**policy).version(self.base + 1)

    def write_trust(self, forge: Forge) -> None:
        for path in (self.world.repo / "trust").rglob("*.json"):
            path.unlink()
        for name, text in forge.files(fresh=False).items():
            path = self.world.repo / "trust" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    # -- statements -------------------------------------------------------------------------------------------------

    def signer(self, name: str) -> Signer:
        return {"alice-2": self.second_key, "mallory": self.stranger, "order": self.order_key}.get(name) or self.people[
            name
        ]

    def state(self) -> CommitState:
        settings = Context(str(self.world.repo), self.world.state, self.world.config)
        commit, files = settings.committed()
        return settings.read(files, commit)

    @property
    def prepared(self) -> Prepared:
        if not hasattr(self, "_prepared"):
            self._prepared = self.state().rollouts[KEY]
        return self._prepared

    @property
    def mandate(self) -> Mandate:
        assert self.prepared.mandate is not None
        return self.prepared.mandate

    def statement(self, name: str = "alice", **changes: Any) -> Approval:
        """Return what a person would sign."""
        approval = Approval(
            mandate=self.mandate,
            stage=1,
            approved_at=self.now - timedelta(minutes=1),
            expires=self.now + timedelta(days=30),
            signer=name.partition("-")[0],
            meaning="approved for release",
        )
        return replace(approval, **changes)

    def approval(self, name: str, **changes: Any) -> Envelope:
        return sign_approval(self.statement(name, **changes), self.signer(name))

    def release_by(self, name: str, **changes: Any) -> Envelope:
        return sign_release(replace(self.prepared.plan.release, **changes), self.signer(name))

    def approvals(self) -> list[Envelope]:
        return [self.approval("alice"), self.approval("bob")]

    def releases(self) -> list[Envelope]:
        return [self.release_by("alice"), self.release_by("bob")]

    def write_releases(self, envelopes: Sequence[Envelope]) -> None:
        folder = self.world.repo / "firmware" / MODEL
        for path in folder.glob("*.dsse.json"):
            path.unlink()
        for number, envelope in enumerate(envelopes):
            (folder / f"2.5.0.signer-{number}.dsse.json").write_bytes(envelope_bytes(envelope))

    def write_approvals(self, envelopes: Sequence[Envelope], *, mandate: Mandate | None = None) -> None:
        mandate = mandate or self.mandate
        folder = self.world.repo / approval_folder(mandate.env, mandate.name) / mandate.id.removeprefix("sha256:")
        folder.mkdir(parents=True, exist_ok=True)
        for number, envelope in enumerate(envelopes):
            (folder / f"signer-{number}.1.dsse.json").write_bytes(envelope_bytes(envelope))

    # -- the repository ---------------------------------------------------------------------------------------------

    def commit(self, message: str = "An attack") -> str:
        return self.world.commit(message)

    def restore(self, to: str = "") -> None:
        """Make the work tree what it was; the next commit says so. History is not what is attacked here."""
        self.world.git("read-tree", "-u", "--reset", to or self.good)
        self.world.git("clean", "-fdxq")

    def ledger_rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return what the ledger holds that an attack must not move: everything but events and the pass's own notes."""
        file = self.world.ledger_file
        if not file.exists():
            return {}
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
            return {
                table: ledger.execute(f"SELECT * FROM {table}").fetchall() for table in ("orders", "outcomes", "waves")
            }

    # -- the device -------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        return self.world.folder / "devices" / VICTIM

    def disk(self) -> dict[str, bytes]:
        """Return every file of the victim: journal, trust, slots, boot selection."""
        return contents(self.folder)

    def client(self) -> Client:
        return self.world.client(VICTIM, self.address)

    def said(self) -> dict[str, Any]:
        """Return what the victim says of itself, without what time alone changes."""
        with self.client() as client:
            document: dict[str, Any] = client.device()
        return {key: value for key, value in document.items() if key not in ("vitals", "facts")}

    def put_trust(self, bundle: Mapping[str, str]) -> tuple[int, Any]:
        with self.client() as client:
            return client.ask("PUT", "/v1/trust", json.dumps(dict(bundle)).encode())

    def install(self, *, epoch: int = 1, of: Prepared | None = None, **changes: Any) -> InstallOrder:
        """Return an install order for the victim that is right, but for `changes`."""
        of = of or self.prepared
        assert of.lock is not None
        assert of.mandate is not None
        index = of.index.get(VICTIM, 0)
        order = InstallOrder(
            device=VICTIM,
            mandate=of.mandate.id,
            release=of.plan.release.digest,
            attempt=1,
            leaf=str(of.lock.leaves[index]),
            proof=of.tree.proof(index),
            confirm_within=600,
            watch=0,
            probes="default",
            limits=(),
            activation="now",
            **OrderSigner(self.order_key, epoch).lifetime(whole_now()),
        )
        return replace(order, **changes)

    def request(
        self,
        order: Order | None = None,
        *,
        approvals: Iterable[Envelope] | None = None,
        releases: Iterable[Envelope] | None = None,
        trust: Mapping[str, str] | None = None,
    ) -> OrderRequest:
        order = order or self.install()
        return OrderRequest(
            OrderSigner(self.order_key, order.epoch).sign(order),
            tuple(self.approvals() if approvals is None else approvals),
            tuple(self.releases() if releases is None else releases),
            self.forge().files() if trust is None else dict(trust),
        )

    def send(self, request: OrderRequest | bytes, order: str = "") -> tuple[int, Any]:
        """Send what may be no order at all to the address of an order; return what the victim says."""
        body = request if isinstance(request, bytes) else request.to_bytes()
        with self.client() as client:
            return client.ask("PUT", f"/v1/orders/{order or self.install().id}", body)

    def refused(self, request: OrderRequest | bytes, code: str, *, order: str = "") -> str:
        """Send it, and assert the refusal, that nothing changed, and that the device still answers."""
        before, said = self.disk(), self.said()
        status, reply = self.send(request, order)
        assert status in (413, 422), reply
        assert (reply["class"], reply["code"]) == ("refused", code), reply
        assert self.disk() == before
        assert self.said() == said
        message: str = reply["message"]
        assert message
        return message

    def trust_refused(self, bundle: Mapping[str, str], code: str) -> None:
        """Send a trust bundle alone, and again with a good order: both are refused, and nothing changes."""
        before, said = self.disk(), self.said()
        status, reply = self.put_trust(bundle)
        assert (status, reply["class"], reply["code"]) == (422, "refused", code), reply
        assert reply["message"]
        status, reply = self.send(self.request(trust=bundle))
        assert (status, reply["class"], reply["code"]) == (422, "refused", code), reply
        assert self.disk() == before
        assert self.said() == said

    # -- the other doors --------------------------------------------------------------------------------------------

    def standing_still(self) -> tuple[Any, ...]:
        """Return all that no refused command may change: git, keys, ledger, the device's disk."""
        world, git = self.world, self.world.repo / ".git"
        heads = {path.name: path.read_bytes() for path in (git / "refs" / "heads").iterdir()}
        work = {name: data for name, data in contents(world.repo).items() if not name.startswith(".git/")}
        return heads, work, contents(world.config), self.ledger_rows(), self.disk()

    def cli_refuses(self, code: str, *command: object, exit_code: int = 4) -> dict[str, str]:
        """Run a command that must be refused; return its error: code, message, place and remedy, as people see it."""
        before = self.standing_still()
        ran = self.world.run(*command)
        assert ran.code == exit_code, ran.text
        found = _ERROR.search(ran.err)
        assert found, ran.text
        assert found["code"] == code, ran.text
        assert all(found.groupdict().values()), ran.text
        assert self.standing_still() == before
        return found.groupdict()

    def reconciler_refuses(self, code: str, *, exit_code: int) -> Ran:
        """Run one pass that must send nothing; its answer names the code."""
        before = self.standing_still()
        ran = self.world.once(duration=5)
        assert ran.code == exit_code, ran.text
        assert code in ran.out + ran.err, ran.text
        assert self.standing_still() == before
        return ran

    def works(self) -> None:
        """Let a good rollout through: what has been refused was refused for what was wrong with it."""
        self.restore()
        self.write_approvals(self.approvals())
        self.commit("Two approve")
        self.world.reconciled("--new-ledger") if not self.world.ledger_file.exists() else self.world.reconciled()
        assert self.world.active_bytes(VICTIM) == IMAGE


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder; of links, where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = str(path.readlink()).encode()
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found
