"""The work behind `validate`: the findings of manifests, plans, and, where a root is pinned, of signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fwctl.cli.context import Context
from fwctl.cli.observed import read_observed, strangers, ways
from fwctl.cli.provenance import signature_line, signatures
from fwctl.errors import InputError, TrustRefused, UsageError
from fwctl.manifests import lifecycle
from fwctl.manifests.codes import CODES
from fwctl.manifests.diagnostic import Diagnostic, Place, ordered
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import check_files, compiled
from fwctl.render.words import span
from fwctl.rollouts.compile import lock_path, release_of
from fwctl.rollouts.rails.findings import findings_of_rails, findings_of_rollout
from fwctl.rollouts.rails.rules import guard, rails_of
from fwctl.trust.authority import Authority

_SIGNED_STATES = ("released", "deprecated")
"""drafts and candidates need no signature yet; sunset and withdrawn firmware goes nowhere"""


@dataclass(frozen=True)
class Checked:
    """All findings, what was left unchecked, and the exit code that follows."""

    diagnostics: tuple[Diagnostic, ...]
    remarks: tuple[str, ...]
    collected: int

    @property
    def explained(self) -> tuple[str, ...]:
        """The codes among the errors that `explain` knows more about."""
        errors = (found.code for found in self.diagnostics if found.severity == "error")
        return tuple(code for code in dict.fromkeys(errors) if code in CODES)

    @property
    def exit_code(self) -> int:
        if not self.collected:
            return 3
        return int(any(found.severity == "error" for found in self.diagnostics))


def check(settings: Context, folder: Path | None, ref: str, against: str = "", observed: Path | None = None) -> Checked:
    """Check a folder, a commit, or the work tree; a remote without a work tree at its newest commit.

    With `against`, also who signed each commit that came since; with `observed`, whether the devices of that file have
    a legal path to what rollouts want of them.

    Raises:
        UsageError: a folder and a commit at once.
        InputError: there is no such folder, repository or commit; what `read_observed` raises.
    """
    seen = read_observed(observed) if observed is not None else None
    files = _files(settings, folder, ref, against)
    loaded, found = check_files(files)
    if loaded.repo is None:
        return Checked(found, (), loaded.collected)
    more, unchecked = _signatures(settings, loaded.repo, files)
    more = (*more, *lifecycle.findings(loaded.repo, locked_in(loaded.repo, files), settings.now().date()))
    unsigned, signed = _provenance(settings, folder, ref or "HEAD", against)
    unknown = strangers(loaded.repo, seen) if seen is not None else ()
    remarks = (*unchecked, *signed, *unknown, detection(loaded.repo))
    return Checked(
        ordered([*found, *more, *ways(settings, loaded.repo, files, seen), *unsigned]), remarks, loaded.collected
    )


def _provenance(
    settings: Context, folder: Path | None, ref: str, against: str
) -> tuple[tuple[Diagnostic, ...], tuple[str, ...]]:
    """Return what is to be said of signatures of commits; a folder of manifests has none."""
    if against:
        return signatures(settings, ref, against)
    if folder is not None:
        return (), ()
    told = signature_line(settings, ref)
    return (), (told,) if told else ()


def detection(repo: FleetRepo) -> str:
    """Say what the pass interval means for the time until a failure is noticed."""
    spec = repo.fleet.spec
    every, alone = (span(timedelta(seconds=s)) for s in (spec.pass_interval, spec.confirm_seconds))
    return (
        f"passInterval {every}: what happens on a device is seen at most {every} later;\n"
        f"a device that nobody confirms goes back by itself after {alone}.\n"
        f"A gate stops the fleet at most {every} after the failures that break it, or at once while a pass runs;\n"
        "what goes wrong in a soak each device takes back by itself, without waiting for a pass."
    )


def _files(settings: Context, folder: Path | None, ref: str, against: str) -> Mapping[str, bytes]:
    if folder is not None and (ref or against):
        raise UsageError("a folder or a commit, not both", code="E_USAGE", remedy="fwctl validate --ref REF")
    if folder is not None:
        _must_be_folder(folder)
        return settings.edited(folder)
    return settings.committed(ref)[1] if ref else settings.files()


def locked_in(repo: FleetRepo, files: Mapping[str, bytes]) -> Callable[[str], bool]:
    """Return what tells the rollouts that have a lock."""
    return lambda key: lock_path(repo.rollouts[key].path) in files


def _must_be_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(
            "this is no folder",
            code="E_NO_FILE",
            place=str(folder),
            remedy="Name the folder that holds fleet.yaml; a commit is --ref REF.",
        )


def _signatures(
    settings: Context, repo: FleetRepo, files: Mapping[str, bytes]
) -> tuple[tuple[Diagnostic, ...], tuple[str, ...]]:
    """Return findings about signatures, and what could not be judged."""
    try:
        authority = settings.authority(repo.fleet.spec.repo_id, files)
    except TrustRefused as error:
        return (_finding(error),), ()
    if authority is None:
        why = "no root of trust of this fleet is pinned here"
        return (), (f"Signatures not checked: {why}.",)
    from fwctl.cli.linting import errors  # where nothing is pinned, none of this is needed

    found = (*_storage(repo, authority), *_releases(repo, authority), *errors(repo, authority))
    return (*found, *_guard_rails(repo, files, authority)), ()


def _guard_rails(repo: FleetRepo, files: Mapping[str, bytes], authority: Authority) -> Iterator[Diagnostic]:
    """Judge the plans by the guard rails that are signed, never by what the commit says of them (A27)."""
    rails = rails_of(repo, authority.policy.guard_rails)
    yield from findings_of_rails(repo, rails)
    for rollout in repo.rollouts.values():
        try:
            made = compiled(repo, rollout, files)
        except InputError:
            continue  # `check_plan` has said why
        yield from findings_of_rollout(repo, rollout, guard(rails, made.plan))


def _storage(repo: FleetRepo, authority: Authority) -> Iterator[Diagnostic]:
    """Judge the storage's address by the signed policy, never by what the commit says of it (A27)."""
    spec = repo.fleet.spec.storage
    if spec.type != "https":
        return
    from fwctl.storage import HttpsStorage

    try:
        HttpsStorage(spec.url, authority.policy.storage)
    except TrustRefused as error:
        yield _finding(error)


def _releases(repo: FleetRepo, authority: Authority) -> Iterator[Diagnostic]:
    for firmware in repo.firmware.values():
        if firmware.model.spec.state in _SIGNED_STATES:
            try:
                authority.check_release(release_of(firmware.model))
            except TrustRefused as error:
                yield _finding(error)


def _finding(error: TrustRefused) -> Diagnostic:
    return Diagnostic(error.code, error.message, Place(error.place), error.remedy)
