"""Any sequence of changes, by any people in any order: trust moves when all thresholds hold, and never between."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from securesystemslib.signer import CryptoSigner

from fwctl.errors import FwctlError, TrustRefused
from fwctl.trust import changes
from fwctl.trust.authority import Authority
from fwctl.trust.proposal import PROPOSAL, new_trust
from fwctl.trust.repository import RolePlan, TrustPlan, development_policy
from tests.support.changing import Realm
from tests.support.signing import NOW, REPO

NAMES = ("alice", "bob", "carol", "dave")
PEOPLE = {name: CryptoSigner.generate_ed25519() for name in NAMES}
SECOND = {name: CryptoSigner.generate_ed25519() for name in NAMES}
MACHINES = [CryptoSigner.generate_ed25519() for _ in range(4)]
ROLE = st.sampled_from(changes.ROLES)


def begin() -> Realm:
    """Return a trust of three people, signed by all of them."""
    publics = {name: PEOPLE[name].public_key for name in ("alice", "bob", "carol")}
    policy = development_policy(repo_id=REPO, people=publics, order_key=MACHINES[0].public_key)
    plan = TrustPlan(RolePlan(publics, 2), RolePlan(publics, 2), RolePlan(publics, 2), MACHINES[1].public_key, policy)
    files = new_trust(plan, now=NOW)
    realm = Realm(files, NOW)
    for name in publics:
        realm.sign(PEOPLE[name])
    realm.complete()
    return realm


CHANGES = st.one_of(
    st.builds(
        lambda name, role: changes.add_key(name, PEOPLE[name].public_key, groups=(), roles=(role,)),
        st.sampled_from(NAMES),
        ROLE,
    ),
    st.builds(
        lambda name, role: changes.add_key(name, SECOND[name].public_key, groups=(), roles=(role,)),
        st.sampled_from(NAMES),
        ROLE,
    ),
    st.builds(
        lambda name: changes.add_key(name, PEOPLE[name].public_key, groups=("owners",), roles=()),
        st.sampled_from(NAMES),
    ),
    st.builds(changes.revoke, st.sampled_from(NAMES)),
    st.builds(changes.remove_from_role, ROLE, st.sampled_from(NAMES)),
    st.builds(changes.set_threshold, ROLE, st.integers(1, 4)),
    st.builds(lambda at: changes.set_freshness(MACHINES[at].public_key), st.integers(0, 3)),
    st.builds(lambda at: changes.set_order_key(MACHINES[at].public_key), st.integers(0, 3)),
    st.builds(changes.raise_floor, st.just("sensor-v1"), st.integers(0, 5)),
    st.builds(lambda roles: changes.renew(tuple(sorted(roles))), st.sets(ROLE, min_size=1)),
)


class Changing(RuleBasedStateMachine):
    """People propose, sign, complete and drop; the oracle counts keys in the raw JSON."""

    @initialize()
    def begin(self) -> None:
        self.realm = begin()
        self.signed: set[str] = set()
        self.trust = self.standing()

    def standing(self) -> dict[str, bytes]:
        return {path: data for path, data in self.realm.files.items() if not path.startswith(PROPOSAL)}

    @property
    def open(self) -> bool:
        return any(path.startswith(PROPOSAL) for path in self.realm.files)

    @precondition(lambda self: not self.open)
    @rule(change=CHANGES, more=st.none() | CHANGES)
    def propose(self, change: changes.Change, more: changes.Change | None) -> None:
        try:
            self.realm.propose(changes.all_of(change, *([more] if more else [])))
        except FwctlError:
            assert not self.open  # the edit makes no sense: nothing was written
            return
        self.signed = set()
        try:
            self.realm.proposal  # noqa: B018  it is judged when it is read
        except FwctlError:
            self.realm.drop()

    @precondition(lambda self: self.open)
    @rule(signers=st.lists(st.sampled_from([*PEOPLE.values(), *SECOND.values()]), min_size=1, max_size=8))
    def sign(self, signers: list[CryptoSigner]) -> None:
        for signer in signers:
            self.realm.sign(signer)
            self.signed.add(signer.public_key.keyid)

    @precondition(lambda self: self.open)
    @rule()
    def drop(self) -> None:
        self.realm.drop()
        assert not self.open

    @precondition(lambda self: self.open)
    @rule()
    def complete(self) -> None:
        expected = all(len(self.signed & keys) >= threshold for threshold, keys in self.thresholds())
        changed = {path.removeprefix(PROPOSAL) for path in self.realm.files if path.startswith(PROPOSAL)}
        try:
            self.realm.complete()
        except TrustRefused:
            assert not expected, "every threshold holds, so it must become trust"
            return
        assert expected, "a threshold does not hold, so it must not become trust"
        assert not self.open
        after = self.standing()
        assert {path for path in after if after[path] != self.trust.get(path)} <= {f"trust/{name}" for name in changed}
        self.trust = after

    def thresholds(self) -> list[tuple[int, set[str]]]:
        """Read from the JSON alone which keys must sign what is proposed."""

        def read(name: str) -> Mapping[str, object]:
            files = self.realm.files
            return json.loads(files.get(f"{PROPOSAL}{name}") or files[f"trust/{name}"])["signed"]  # type: ignore[no-any-return]

        def quorum(roles: object, role: str) -> tuple[int, set[str]]:
            entry = roles[role]  # type: ignore[index]
            return entry["threshold"], set(entry["keyids"])

        version = max(int(p.split("/")[1].split(".")[0]) for p in self.trust if p.endswith(".root.json"))
        old = json.loads(self.trust[f"trust/{version}.root.json"])["signed"]["roles"]
        proposed = f"{PROPOSAL}{version + 1}.root.json" in self.realm.files
        new = read(f"{version + 1}.root.json")["roles"] if proposed else old
        found = [quorum(old, "root"), quorum(new, "root")] if proposed else []
        if f"{PROPOSAL}targets.json" in self.realm.files:
            found.append(quorum(new, "targets"))
        if f"{PROPOSAL}policy.json" in self.realm.files:
            roles = {role["name"]: role for role in read("targets.json")["delegations"]["roles"]}  # type: ignore[index]
            found.append(quorum(roles, "policy"))
        return found

    @invariant()
    def the_trust_of_before_stands(self) -> None:
        """Every commit verifies as everybody does it, and only a completed proposal changes a trusted byte."""
        if not hasattr(self, "realm"):
            return
        assert self.standing() == self.trust
        authority = Authority.verify(self.realm.files, pinned=self.realm.pinned, now=NOW)
        assert authority.bundle(0).keys() == {path.removeprefix("trust/") for path in self.trust}
        if self.open:
            assert self.realm.proposal is not None
            assert self.realm.proposal.wasted() == ()


TestChanging = Changing.TestCase
TestChanging.settings = settings(
    max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
