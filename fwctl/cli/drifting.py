"""The work behind `drift`: the manifests of HEAD beside the ledger. Nothing is contacted and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain

from fwctl.cli.context import Context
from fwctl.gitrepo import Files
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import load_repo, prepare
from fwctl.rollouts.compile import release_of
from fwctl.rollouts.drift import PERIODS, Drift, Promise, Stranger, off, ordered, promises, silent, strangers, unheard
from fwctl.state import Ledger, ledger_path
from fwctl.state import straying as asked


@dataclass(frozen=True)
class Found:
    """What drifted, of how many, and how old the oldest look is that this rests on."""

    commit: str
    devices: int
    drifts: tuple[Drift, ...]
    quarantined: frozenset[str]
    oldest: datetime | None
    """when the device was contacted last that was contacted the longest ago; of those that answer"""
    period: timedelta
    now: datetime

    @property
    def stale(self) -> bool:
        """Say whether nobody has looked for so long that this tells little: no reconciler runs."""
        return self.oldest is not None and self.now - self.oldest > PERIODS * self.period


def find_drift(settings: Context) -> Found:
    """Return how the fleet differs from what HEAD says, by what the ledger knows.

    Raises:
        ManifestErrors: HEAD does not validate.
        InputError: `E_LEDGER_MISSING`, this machine has no ledger of the fleet.
    """
    commit, files = settings.committed()
    repo, now = load_repo(files), settings.now()
    spec = repo.fleet.spec
    with Ledger.open(ledger_path(settings.state_dir(spec.repo_id)), readonly=True) as ledger:
        found = ordered(_drifts(ledger, repo, files, commit, now))
        oldest = next(ledger.in_touch(now), None)
        return Found(
            commit,
            len(repo.devices),
            found,
            frozenset(row.device for row in ledger.quarantine()),
            oldest.tried_at if oldest else None,
            timedelta(seconds=spec.sweep.period),
            now,
        )


def _drifts(ledger: Ledger, repo: FleetRepo, files: Files, commit: str, now: datetime) -> Iterator[Drift]:
    period, known, devices = timedelta(seconds=repo.fleet.spec.sweep.period), set(ledger.known()), repo.devices
    gone = ledger.devices([device for device in known if device not in devices])
    strange = (Stranger(row.id, row.running_version, row.tried_at) for row in gone)
    standing = [(row.key, row.mandate, str(row.state), row.back_since) for row in ledger.rollouts()]
    holding = promises(_wanted(ledger, repo, files, commit), standing)
    declared = chain(*(off(one, asked.astray(ledger, one)) for one in holding))
    quiet = silent(asked.silent(ledger), period=period, now=now)
    yield from (one for one in chain(declared, quiet) if one.device in devices)
    yield from unheard(device for device in devices if device not in known)
    yield from strangers(strange, period=period, now=now)


def _wanted(ledger: Ledger, repo: FleetRepo, files: Files, commit: str) -> Iterator[Promise]:
    """Yield what each rollout of the commit means, from what passes wrote down of it or else compiled now."""
    written: Mapping[str, str] = {row.rollout: row.mandate for row in ledger.summaries() if row.commit == commit}
    for key, rollout in repo.rollouts.items():
        firmware = rollout.model.spec.firmware
        manifest = repo.firmware.get((firmware.model, firmware.version))
        mandate = written.get(key)
        if mandate is None:
            compiled = prepare(repo, rollout, files, None, Context.now()).mandate
            mandate = compiled.id if compiled else ""
        if manifest is not None and mandate:
            yield Promise(key, mandate, release_of(manifest.model).digest, firmware.version)
