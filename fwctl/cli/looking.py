"""The work behind `list` and `show`: what git says and what the ledger recorded, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal, get_args

from fwctl.cli.context import Context
from fwctl.errors import InputError
from fwctl.manifests.fields import did_you_mean
from fwctl.manifests.repo import Device, FleetRepo, LoadedFirmware, LoadedGroup
from fwctl.manifests.targets import group_members
from fwctl.reconcile.commit import Prepared, load_repo, prepare
from fwctl.reconcile.summarising import standing_of
from fwctl.reconcile.summary import RolloutResult
from fwctl.reconcile.views import rollout_view
from fwctl.rollouts.compile import release_of
from fwctl.rollouts.decide import decide
from fwctl.rollouts.standing import Standing, StandingState
from fwctl.rollouts.view import RolloutView
from fwctl.state import DeviceRow, Ledger, QuarantineRow, RolloutRow
from fwctl.trust.authority import Authority

STATES = (*get_args(StandingState), "idle", "unseen", "unreachable", "quarantined")
"""all that a device can be: its standing in a rollout, or without one what the ledger knows; quarantined beside it"""
NOT_JUDGED = "approvals are not judged: no root of trust is pinned here"


@dataclass(frozen=True)
class DeviceLine:
    """One device. `row` is None while the ledger has never heard of it."""

    device: Device
    row: DeviceRow | None
    groups: tuple[str, ...]
    rollout: str
    standing: Standing | None
    quarantine: QuarantineRow | None = None

    @property
    def state(self) -> str:
        """One word: where it stands in its rollout, else what is known of it."""
        if self.standing is not None:
            return self.standing.state
        if self.row is None:
            return "unseen"
        return "idle" if self.row.reachable else "unreachable"

    @property
    def runs(self) -> str:
        return self.row.running_version if self.row and self.row.running_version else "unknown"


@dataclass(frozen=True)
class FirmwareLine:
    """One firmware manifest, who signed its release, who uses and who runs it."""

    firmware: LoadedFirmware
    release: str
    signers: tuple[str, ...]
    verdict: str
    """empty: the policy accepts it; else why not, or that nobody could judge"""
    rollouts: tuple[str, ...]
    running: int


@dataclass(frozen=True)
class GroupLine:
    """One group with its members today."""

    group: LoadedGroup
    members: tuple[str, ...]
    rollouts: tuple[str, ...]


@dataclass(frozen=True)
class RolloutLine:
    """One rollout: what it wants, how far it is."""

    prepared: Prepared
    state: RolloutResult | Literal["not-judged"]
    reason: str
    standings: tuple[Standing, ...]
    judged: bool
    """a root of trust is pinned here, so approvals could be verified"""


@dataclass(frozen=True)
class Book:
    """A fleet read once. Everything below is derived on demand."""

    settings: Context
    repo: FleetRepo
    files: Mapping[str, bytes]
    authority: Authority | None
    now: datetime
    rows: Mapping[str, DeviceRow]
    prepared: Mapping[str, Prepared]
    views: Mapping[str, RolloutView]
    recorded: Mapping[str, RolloutRow]
    held: Mapping[str, QuarantineRow]
    """devices in quarantine"""

    @cached_property
    def places(self) -> Mapping[str, tuple[str, Standing]]:
        """Device -> the rollout that holds it, and where it stands there. A replacing rollout wins."""
        found: dict[str, tuple[str, Standing]] = {}
        replaced = {
            f"{one.rollout.env}/{one.rollout.model.spec.replaces}"
            for one in self.prepared.values()
            if one.rollout.model.spec.replaces
        }
        for key in sorted(self.prepared, key=lambda key: (key not in replaced, key)):
            for device, standing in decide(self.prepared[key].plan, self.views[key], self.now).standings.items():
                found[device] = (key, standing)
        return found

    @cached_property
    def memberships(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for group in self.repo.groups.values():
            for device in group_members(self.repo, group):
                found.setdefault(device.id, []).append(group.name)
        return {device: tuple(names) for device, names in found.items()}

    def devices(self) -> tuple[DeviceLine, ...]:
        return tuple(self.line(device) for device in self.repo.devices.values())

    def line(self, device: Device) -> DeviceLine:
        rollout, standing = self.places.get(device.id, ("", None))
        row, groups = self.rows.get(device.id), self.memberships.get(device.id, ())
        return DeviceLine(device, row, groups, rollout, standing, self.held.get(device.id))

    def firmware(self) -> tuple[FirmwareLine, ...]:
        return tuple(self._firmware(one) for one in self.repo.firmware.values())

    def rollouts(self) -> tuple[RolloutLine, ...]:
        return tuple(self._rollout(one) for one in self.prepared.values())

    def groups(self) -> tuple[GroupLine, ...]:
        return tuple(self._group(one) for one in self.repo.groups.values())

    def _rollout(self, prepared: Prepared) -> RolloutLine:
        view, row = self.views[prepared.key], self.recorded.get(prepared.key)
        decision = decide(prepared.plan, view, self.now)
        standings = tuple(decision.standings.values())
        if self.authority is None and prepared.lock is not None:
            return RolloutLine(prepared, "not-judged", NOT_JUDGED, standings, judged=False)
        state, reason = standing_of(prepared, view, decision, row)
        return RolloutLine(prepared, state, reason, standings, judged=self.authority is not None)

    def _group(self, group: LoadedGroup) -> GroupLine:
        users = [key for key, one in self.prepared.items() if group.name in one.rollout.model.spec.targets.groups]
        return GroupLine(group, tuple(device.id for device in group_members(self.repo, group)), tuple(users))

    def _firmware(self, one: LoadedFirmware) -> FirmwareLine:
        release, spec = release_of(one.model), one.model.spec
        users = [key for key, other in self.prepared.items() if other.plan.release.digest == release.digest]
        running = sum(row.running_release == release.digest for row in self.rows.values())
        signers, verdict = _signed(self.authority, one)
        prefix = f"firmware/{spec.model}/{spec.version}."
        if self.authority is None:
            names = (p.removeprefix(prefix) for p in self.files if p.startswith(prefix) and p.endswith(".dsse.json"))
            signers = tuple(name.removesuffix(".dsse.json") for name in sorted(names))
        return FirmwareLine(one, release.digest, signers, verdict, tuple(users), running)


def open_book(settings: Context) -> Book:
    """Read the work tree (or the newest commit of a remote), its trust if a root is pinned, and the ledger if any.

    Raises:
        ManifestErrors: it does not validate.
        TrustRefused: its trust files are refused.
    """
    files = settings.files()
    repo = load_repo(files)
    repo_id, now = repo.fleet.spec.repo_id, settings.now()
    authority = settings.authority(repo_id, files)
    prepared = {key: prepare(repo, rollout, files, authority, now) for key, rollout in repo.rollouts.items()}
    with settings.ledger(repo_id) as ledger:
        rows = {row.id: row for row in ledger.devices()} if ledger else {}
        recorded = {row.key: row for row in ledger.rollouts()} if ledger else {}
        views = {key: view_of(ledger, one, authority) for key, one in prepared.items()}
        held = {row.device: row for row in ledger.quarantine()} if ledger else {}
    return Book(settings, repo, files, authority, now, rows, prepared, views, recorded, held)


def view_of(ledger: Ledger | None, prepared: Prepared, authority: Authority | None) -> RolloutView:
    """Return what `decide` sees of a rollout; without a ledger no device was ever seen."""
    if ledger is not None and authority is not None:
        return rollout_view(ledger, prepared)
    why = prepared.not_approved if authority or prepared.lock is None else NOT_JUDGED
    if ledger is None:
        return RolloutView(approved_stage=prepared.approved_stage, not_approved=why, devices={})
    known = rollout_view(ledger, prepared)
    return RolloutView(
        approved_stage=0, not_approved=why, stopped=known.stopped, finished=known.finished, devices=known.devices
    )


def unknown(name: str, known: Sequence[str], *, what: str, code: str, place: str, see: str) -> InputError:
    """Return the error for a name that nothing has."""
    hint = did_you_mean(name, known)
    return InputError(
        f"there is no {what} called {name[:80]}",
        code=code,
        place=place,
        remedy=f"{hint} See: {see}" if hint else f"See: {see}",
    )


def _signed(authority: Authority | None, firmware: LoadedFirmware) -> tuple[tuple[str, ...], str]:
    from fwctl.errors import TrustRefused

    if authority is None:
        return (), "not judged: no root of trust is pinned here"
    try:
        return authority.check_release(release_of(firmware.model)), ""
    except TrustRefused as error:
        return (), f"{error.code}: {error.message}"
