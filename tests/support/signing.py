"""Real keys and real signatures for tests: a small fleet's trust, and statements made under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from securesystemslib.signer import CryptoSigner

from fwctl.trust.repository import Signers, build, development_policy, mint_freshness
from fwctl.trust.signing import OrderSigner, sign_approval, sign_release
from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.lock import Leaf, Lock
from fwctl_agent.protocol.messages import OrderRequest
from fwctl_agent.protocol.statements import Approval, FollowVerb, InstallOrder, Mandate, Order, Release
from fwctl_agent.trust.metadata import TrustedMetadata

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
REPO = "acme"
MODEL = "sensor-v1"
HARDWARE = "rev-a"
ENV = "dev"


def image_of(text: str, size: int = 4096) -> bytes:
    """Return a small firmware image, different for every text."""
    return (text.encode() + b"\n") * (size // (len(text) + 1) + 1)


@dataclass
class Fleet:
    """One fleet's keys, policy and trust files; every statement that a test needs is made from it."""

    people: dict[str, CryptoSigner] = field(default_factory=lambda: {"alice": CryptoSigner.generate_ed25519()})
    order: CryptoSigner = field(default_factory=CryptoSigner.generate_ed25519)
    freshness: CryptoSigner = field(default_factory=CryptoSigner.generate_ed25519)
    now: datetime = NOW
    epoch: int = 1
    policy: dict[str, Any] = field(default_factory=dict)
    version: int = 1

    def __post_init__(self) -> None:
        publics = {name: signer.public_key for name, signer in self.people.items()}
        self.policy = development_policy(repo_id=REPO, people=publics, order_key=self.order.public_key) | self.policy

    @property
    def signers(self) -> Signers:
        alice = [self.people["alice"]]
        return Signers(alice, alice, alice, self.freshness.public_key, {})

    def files(self) -> dict[str, str]:
        """Return what stands below `trust/` in git."""
        if not hasattr(self, "_files"):
            self._files = build(self.signers, self.policy, now=self.now, version=self.version)
        return self._files

    def trusted(self) -> TrustedMetadata:
        pinned = TrustedMetadata.bootstrap(self.files()["1.root.json"])
        return pinned.advance(self.files(), now=self.now, fresh=False)

    def bundle(self, version: int = 1) -> dict[str, str]:
        """Return the trust files with fresh snapshot and timestamp of `version`."""
        return self.files() | mint_freshness(self.trusted(), self.freshness, version=version, now=self.now)

    def release(self, image: bytes, version: str = "2.5.0", **changes: Any) -> Release:
        release = Release(
            model=MODEL,
            version=version,
            image=canonical.digest(image),
            length=len(image),
            hardware=(HARDWARE,),
            release_counter=1,
            security_version=1,
            requires_from=None,
            data_writes=1,
            data_reads=(1,),
            sbom=None,
        )
        return replace(release, **changes)

    def signed_release(self, release: Release, by: Sequence[str] = ("alice",)) -> tuple[dict[str, Any], ...]:
        return tuple(sign_release(release, self.people[name]) for name in by)

    def lock(self, release: Release, devices: Sequence[str], stage: int = 1) -> Lock:
        return Lock.of(Leaf(device, stage, (release.digest,)) for device in devices)

    def mandate(self, lock: Lock, name: str = "sensor-2.5.0", **changes: Any) -> Mandate:
        tree = lock.tree()
        mandate = Mandate(
            repo_id=REPO,
            env=ENV,
            name=name,
            manifest=canonical.digest(b"manifest"),
            lock=canonical.digest(lock.raw),
            lock_root=tree.root,
            lock_size=tree.size,
            plan=canonical.digest(b"plan"),
            releases=tuple(sorted({digest for leaf in lock.leaves for digest in leaf.chain})),
            round=1,
            rollback="allowed",
            late_joiners=None,
        )
        return replace(mandate, **changes)

    def approval(self, mandate: Mandate, by: str = "alice", **changes: Any) -> dict[str, Any]:
        approval = Approval(
            mandate=mandate,
            stage=1,
            approved_at=self.now - timedelta(minutes=5),
            expires=self.now + timedelta(days=30),
            signer=by,
            meaning="approved for release",
        )
        return sign_approval(replace(approval, **changes), self.people[by])

    def install(self, device: str, release: Release, lock: Lock, mandate: Mandate, **changes: Any) -> InstallOrder:
        index = next((i for i, leaf in enumerate(lock.leaves) if leaf.device == device), 0)
        order = InstallOrder(
            device=device,
            mandate=mandate.id,
            release=release.digest,
            attempt=1,
            leaf=str(lock.leaves[index]),
            proof=lock.tree().proof(index),
            confirm_within=600,
            watch=0,
            probes="default",
            limits=(),
            activation="now",
            **OrderSigner(self.order, self.epoch).lifetime(self.now),
        )
        return replace(order, **changes)

    def sign_order(self, order: Order) -> dict[str, Any]:
        return OrderSigner(self.order, self.epoch).sign(order)

    def request(
        self,
        order: Order,
        *,
        approvals: Sequence[Mapping[str, Any]] = (),
        releases: Sequence[Mapping[str, Any]] = (),
        trust: Mapping[str, str] | None = None,
    ) -> OrderRequest:
        return OrderRequest(
            order=self.sign_order(order),
            approvals=tuple(dict(one) for one in approvals),
            releases=tuple(dict(one) for one in releases),
            trust=self.bundle() if trust is None else dict(trust),
        )

    def install_request(
        self, device: str, image: bytes, *, trust: Mapping[str, str] | None = None, **changes: Any
    ) -> tuple[OrderRequest, InstallOrder, Release]:
        """Return a request that a device named `device` must accept, its order and its release."""
        release = self.release(image)
        lock = self.lock(release, sorted({device, "device-000", "device-999"}))
        mandate = self.mandate(lock)
        order = self.install(device, release, lock, mandate, **changes)
        request = self.request(
            order, approvals=[self.approval(mandate)], releases=self.signed_release(release), trust=trust
        )
        return request, order, release

    def follow_up(self, verb: FollowVerb, install: InstallOrder, attempt: int = 1) -> OrderRequest:
        order = OrderSigner(self.order, self.epoch).follow_up(verb, install, attempt=attempt, now=self.now)
        return self.request(order)
