"""The work behind `list` and `show`: what git says and what the ledger recorded, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from itertools import islice
from typing import Literal, get_args

from fwctl.cli.context import Context
from fwctl.cli.placing import NOT_JUDGED, Judge, context_of, judges
from fwctl.errors import InputError
from fwctl.manifests.fields import did_you_mean
from fwctl.manifests.repo import Device, FleetRepo, LoadedFirmware, LoadedGroup
from fwctl.manifests.targets import group_ids, group_mask
from fwctl.reconcile.commit import Prepared, load_repo, prepare
from fwctl.reconcile.glancing import glance
from fwctl.reconcile.summarising import standing_of
from fwctl.reconcile.summary import RolloutResult
from fwctl.reconcile.views import rollout_view
from fwctl.rollouts.compile import release_of
from fwctl.rollouts.decide import decide
from fwctl.rollouts.standing import Standing, StandingState
from fwctl.rollouts.view import RolloutView
from fwctl.state import DeviceRow, Ledger, QuarantineRow
from fwctl.trust.authority import Authority

STATES = (*get_args(StandingState), "idle", "unseen", "unreachable", "quarantined")
"""all that a device can be: its standing in a rollout, or without one what the ledger knows; quarantined beside it"""
_FEW, _MANY = 100, 1000
"""devices that are read and judged together: at first, and when it is clear that there are many"""


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
    """A fleet's manifests, read once. The rest is derived on demand, and of the devices only those asked for."""

    settings: Context
    repo: FleetRepo
    files: Mapping[str, bytes]
    authority: Authority | None
    now: datetime

    @property
    def repo_id(self) -> str:
        return self.repo.fleet.spec.repo_id

    @cached_property
    def prepared(self) -> Mapping[str, Prepared]:
        """The rollouts, compiled and judged."""
        return {
            key: prepare(self.repo, rollout, self.files, self.authority, self.now)
            for key, rollout in self.repo.rollouts.items()
        }

    def devices(self, ids: Iterable[str]) -> Iterator[DeviceLine]:
        """Yield these devices with where they stand; read and judged in parts, so that a first page comes at once."""
        left = iter(ids)
        with self.settings.ledger(self.repo_id) as ledger:
            held = {row.device: row for row in ledger.quarantine()} if ledger else {}
            groups = {group.name: group_mask(self.repo, group) for group in self.repo.groups.values()}
            members = {name: self.repo.devices.bits(mask) for name, mask in groups.items()}
            judging = partial(judges, self.prepared, ledger, held, self.now, judged=self.authority is not None)
            bench, size = judging(many=False), _FEW
            while part := tuple(islice(left, size)):
                rows = {row.id: row for row in ledger.devices(part)} if ledger else {}
                bench = bench if size > _FEW else tuple(judge.about(part) for judge in bench)
                for device in part:
                    row, at = rows.get(device), self.repo.devices.index(device)
                    rollout, standing = _place(bench, device, row)
                    names = tuple(name for name, bits in members.items() if bits[at])
                    yield DeviceLine(self.repo.devices[device], row, names, rollout, standing, held.get(device))
                if size == _FEW:
                    bench, size = judging(many=True), _MANY

    def device(self, device: str) -> DeviceLine:
        """Return one device that the inventory has."""
        return next(self.devices([device]))

    def firmware(self) -> tuple[FirmwareLine, ...]:
        return tuple(self._firmware(one) for one in self.repo.firmware.values())

    def rollouts(self, only: str = "") -> tuple[RolloutLine, ...]:
        """Return the rollouts, or the one with this key."""
        with self.settings.ledger(self.repo_id) as ledger:
            return tuple(self._rollout(one, ledger) for one in self.prepared.values() if only in ("", one.key))

    def groups(self) -> tuple[GroupLine, ...]:
        return tuple(self._group(one) for one in self.repo.groups.values())

    def _rollout(self, prepared: Prepared, ledger: Ledger | None) -> RolloutLine:
        view = context_of(ledger, prepared, judged=self.authority is not None)
        view = view if ledger is None else replace(view, devices=glance(ledger, prepared).devices)
        row = ledger.rollout(prepared.key) if ledger else None
        decision = decide(prepared.plan, view, self.now)
        standings = tuple(decision.standings.values())
        if self.authority is None and prepared.lock is not None:
            return RolloutLine(prepared, "not-judged", NOT_JUDGED, standings, judged=False)
        state, reason = standing_of(prepared, view, decision, row)
        return RolloutLine(prepared, state, reason, standings, judged=self.authority is not None)

    def _group(self, group: LoadedGroup) -> GroupLine:
        users = [key for key, one in self.repo.rollouts.items() if group.name in one.model.spec.targets.groups]
        return GroupLine(group, group_ids(self.repo, group), tuple(users))

    @cached_property
    def _running(self) -> Counter[str]:
        with self.settings.ledger(self.repo_id) as ledger:
            return Counter(row.running_release for row in ledger.stream_devices()) if ledger else Counter()

    def _firmware(self, one: LoadedFirmware) -> FirmwareLine:
        release, spec = release_of(one.model), one.model.spec
        users = [
            key
            for key, other in self.repo.rollouts.items()
            if (other.model.spec.firmware.model, other.model.spec.firmware.version) == (spec.model, spec.version)
        ]
        signers, verdict = _signed(self.authority, one)
        prefix = f"firmware/{spec.model}/{spec.version}."
        if self.authority is None:
            names = (p.removeprefix(prefix) for p in self.files if p.startswith(prefix) and p.endswith(".dsse.json"))
            signers = tuple(name.removesuffix(".dsse.json") for name in sorted(names))
        return FirmwareLine(one, release.digest, signers, verdict, tuple(users), self._running[release.digest])


def _place(bench: Iterable[Judge], device: str, row: DeviceRow | None) -> tuple[str, Standing | None]:
    found = [place for judge in bench if (place := judge.place(device, row)) is not None]
    return found[-1] if found else ("", None)


def open_book(settings: Context) -> Book:
    """Read the work tree (or the newest commit of a remote), and its trust if a root is pinned.

    Raises:
        ManifestErrors: it does not validate.
        TrustRefused: its trust files are refused.
    """
    files = settings.files()
    repo = load_repo(files)
    return Book(settings, repo, files, settings.authority(repo.fleet.spec.repo_id, files), settings.now())


def view_of(ledger: Ledger | None, prepared: Prepared, authority: Authority | None) -> RolloutView:
    """Return what `decide` sees of a rollout; without a ledger no device was ever seen."""
    context = context_of(ledger, prepared, judged=authority is not None)
    return replace(context, devices=rollout_view(ledger, prepared).devices) if ledger is not None else context


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
