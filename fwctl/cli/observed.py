"""What devices were seen to run, from a file that `device list` or anything else wrote: JSON, JSON Lines or CSV.

And what follows from it, or from git alone, for the ways of devices to what rollouts want of them, and back.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fwctl.cli.context import Context
from fwctl.errors import InputError, TrustRefused
from fwctl.files import read_input
from fwctl.manifests.diagnostic import Diagnostic, safe
from fwctl.manifests.repo import FleetRepo
from fwctl.reconcile.commit import compiled
from fwctl.rollouts.paths import legality
from fwctl_agent.protocol.fields import VERSION

MOST = 256 << 20
"""bytes that are read of such a file"""


def ways(
    settings: Context, repo: FleetRepo, files: Mapping[str, bytes], observed: Mapping[str, str] | None
) -> Iterator[Diagnostic]:
    """Yield who has no legal path to what a rollout wants, and who could not come back from it."""
    floors = _floors(settings, repo, files)
    for rollout in repo.rollouts.values():
        try:
            plan = compiled(repo, rollout, files).plan
        except InputError:
            continue  # `check_plan` has said why
        floor = floors.get(plan.release.model, 0)
        yield from legality.findings(repo, rollout, plan, observed=observed, floor=floor)


def strangers(repo: FleetRepo, observed: Mapping[str, str]) -> tuple[str, ...]:
    """Return in words which devices of a file git does not know."""
    unknown = sorted(device for device in observed if device not in repo.devices)
    if not unknown:
        return ()
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    return (f"Not in any inventory, so nothing was judged of them: {', '.join(map(safe, unknown[:5]))}{more}.",)


def _floors(settings: Context, repo: FleetRepo, files: Mapping[str, bytes]) -> Mapping[str, int]:
    try:
        authority = settings.authority(repo.fleet.spec.repo_id, files)
    except TrustRefused:
        return {}  # said by whoever checks the trust
    return authority.policy.floors if authority else {}


def read_observed(file: Path) -> dict[str, str]:
    """Return device -> version of all devices that the file says something of.

    Raises:
        InputError: `E_NO_FILE`, or `E_OBSERVED`: it is none of the three forms, or says two things of one device.
    """
    found: dict[str, str] = {}
    for place, device, version in _pairs(file, _text(file)):
        if not version:
            continue  # never seen
        if found.setdefault(device, version) != version:
            raise _bad(f"{place}: it says two versions of {safe(device)[:80]}", file)
        if not VERSION.fullmatch(version):
            raise _bad(f"{place}: {safe(version)[:80]} is no version", file)
    return found


def _text(file: Path) -> str:
    data = read_input(file, most=MOST)
    if len(data) > MOST:
        raise _bad(f"it is larger than {MOST >> 20} MiB", file)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _bad("it is not UTF-8 text", file) from None


def _pairs(file: Path, text: str) -> Iterator[tuple[str, str, str]]:
    start = text.lstrip()[:1]
    if not start:
        raise _bad("it is empty", file)
    if start not in "{[":
        yield from _table(file, text)
        return
    try:
        whole = json.loads(text, object_pairs_hook=_once)
    except ValueError:
        yield from _lines(file, text)
        return
    except RecursionError:
        raise _bad("it is nested too deeply", file) from None
    if isinstance(whole, dict) and "devices" not in whole:
        whole = [whole]  # one line of JSON Lines
    entries = whole["devices"] if isinstance(whole, dict) else whole
    if not isinstance(entries, list):
        raise _bad("`devices` is no list", file)
    for number, entry in enumerate(entries, start=1):
        yield _pair(file, f"device {number}", entry)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object in which every key stands once: of two versions the last one would prove nothing (A35)."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _lines(file: Path, text: str) -> Iterator[tuple[str, str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            raise _bad(f"line {number}: it is not JSON with each key once", file) from None
        yield _pair(file, f"line {number}", entry)


def _table(file: Path, text: str) -> Iterator[tuple[str, str, str]]:
    rows = csv.DictReader(io.StringIO(text), strict=True)
    try:
        names = rows.fieldnames or ()
        if len(set(names)) != len(names):
            raise _bad("a column stands in its first line twice", file)
        if not {"id", "version"} <= set(names):
            raise _bad("it has no columns `id` and `version` in its first line", file)
        for row in rows:
            yield _pair(file, f"line {rows.line_num}", row)
    except csv.Error as error:
        raise _bad(f"line {rows.line_num}: {error}", file) from None


def _pair(file: Path, place: str, entry: object) -> tuple[str, str, str]:
    """Return device and version of one entry: `version`, or that of `running` as `device list` writes it."""
    fields: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
    running = fields.get("running")
    version = fields.get("version", running.get("version") if isinstance(running, dict) else None)
    device = fields.get("id")
    if not isinstance(device, str) or not isinstance(version, str | None):
        raise _bad(f"{place}: it has no `id` and `version` that are text", file)
    return place, device, (version or "").strip()


def _bad(why: str, file: Path) -> InputError:
    return InputError(
        why,
        code="E_OBSERVED",
        place=str(file),
        remedy="Write it with `fwctl device list --format json`, or as CSV or JSON Lines with `id` and `version`.",
    )
