"""What a simulation says, as text, JSON and a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fwctl.render.words import columns, counted, document, exactly, stamp
from fwctl.whatif.forecast import Spread, radius, shares, sites, trips

if TYPE_CHECKING:
    from fwctl.whatif.results import Forecast, Run

_SHOWN = 10
OUTCOME_WORDS = {
    "complete": "complete",
    "rolled-back": "rolled back",
    "stopped": "stopped, a person decides",
    "held": "held, nothing moves it",
}


def text(made: Forecast) -> str:
    """Return the answer for people."""
    return "\n".join(_lines(made))


def _lines(made: Forecast) -> Iterator[str]:
    yield (
        f"Simulated {made.rollout}: {made.model} {made.version}, {made.strategy}, {counted(made.devices, 'device')}, "
        f"{counted(len(made.runs), 'run')}, seed {made.seed}, from {stamp(made.start)}"
    )
    yield ""
    rows = [(OUTCOME_WORDS[outcome], *_share(number, made)) for outcome, number in shares(made).items() if number]
    yield from columns(rows, indent="  ")
    yield ""
    yield from columns(_durations(made), indent="  ")
    yield from _gates(made)
    yield from _sites(made)
    yield ""
    yield "Taken for granted:"
    yield from (f"  - {line}" for line in assumed(made))


def _share(number: int, made: Forecast) -> tuple[str, str]:
    return f"{100 * number / len(made.runs):.0f} %", counted(number, "run")


def _durations(made: Forecast) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("", "p50", "p95", "max")]
    for outcome, number in shares(made).items():
        if number:
            spread = Spread.of([run.seconds for run in made.having(outcome)])
            rows.append((f"time until {OUTCOME_WORDS[outcome].partition(',')[0]}", *_times(spread)))
    if (hit := radius(made)).most is not None:
        rows.append(("devices it ran on when stopped", *_numbers(hit)))
    return rows


def _times(spread: Spread) -> tuple[str, str, str]:
    return lasting(spread.p50), lasting(spread.p95), lasting(spread.most)


def _numbers(spread: Spread) -> tuple[str, str, str]:
    shown = [f"{value:,.0f}" if value is not None else "-" for value in (spread.p50, spread.p95, spread.most)]
    return shown[0], shown[1], shown[2]


def _gates(made: Forecast) -> Iterator[str]:
    found = trips(made)
    if not found:
        return
    yield ""
    yield "What stops it:"
    rows = [
        (
            one.wave,
            one.rule,
            f"{100 * one.runs / len(made.runs):.0f} % of the runs",
            f"after {lasting(one.after.p50)} (p95 {lasting(one.after.p95)})",
        )
        for one in found
    ]
    yield from columns(rows, indent="  ")


def _sites(made: Forecast) -> Iterator[str]:
    found = sites(made)
    if not found:
        return
    yield ""
    yield "Bytes by site:"
    rows = [
        (
            one.name or "(no site)",
            f"{size(one.total.p50)} in all",
            f"peak {size(one.peak.p50)} a minute (max {size(one.peak.most)})",
        )
        for one in found[:_SHOWN]
    ]
    yield from columns(rows, indent="  ")
    if len(found) > _SHOWN:
        yield f"  ... and {counted(len(found) - _SHOWN, 'more site')} (--format json lists all)"


def assumed(made: Forecast) -> list[str]:
    """Return everything that was taken for granted, for people."""
    given = made.assumptions
    late, never = f"{_percent(given.late)} of these only while watched", "the installer fails"
    lines = [
        f"the firmware fails on {_percent(given.failure_rate)} of the devices: {late}, "
        f"of the rest {never} on {_percent(given.broken)}, a probe on the others",
        f"{_percent(given.offline)} of the devices are offline at the beginning; {_percent(given.returns)} of them "
        f"come back, after {exactly(given.away)} on average",
        f"a device takes {size(made.length)} at {size(given.bandwidth)}/s, restarts in {exactly(given.restart)}, "
        f"is probed for {exactly(given.probes)}; nothing else is as slow",
        f"devices run {given.version}" if given.version else "what devices run is not known: they go there directly",
        f"a pass begins every {exactly(given.interval)} and lasts {exactly(given.longest)} at the most",
        "people approve at once" if not given.approval else f"people take {exactly(given.approval)} to approve a stage",
        "devices are always ready, and none is compared with a control group",
        "nobody changes the rollout; it is over when nothing is left but stragglers",
    ]
    return [*lines, *([made.measured] if made.measured else [])]


def lasting(seconds: float | None) -> str:
    """Return a length of time with two units at the most: `2 d 3 h`, `12 min 5 s`."""
    if seconds is None:
        return "-"
    parts: list[str] = []
    left = round(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number and len(parts) < 2:
            parts.append(f"{number} {unit}")
        elif parts:
            break
    return " ".join(parts) or "0 s"


def size(number: float | None) -> str:
    """Return bytes in the unit that fits: `1.5 MiB`."""
    if number is None:
        return "-"
    for unit, length in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= length:
            return f"{number / length:.3g} {unit}"
    return f"{number:.0f} B"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def as_json(made: Forecast) -> str:
    """Return the answer for programs: what all runs say together, each run, and the samples of a typical one."""
    typical = made.typical
    return document(
        {
            "rollout": made.rollout,
            "firmware": {"model": made.model, "version": made.version, "length": made.length},
            "strategy": made.strategy,
            "devices": made.devices,
            "waves": made.waves,
            "seed": made.seed,
            "start": stamp(made.start),
            "assumptions": vars(made.assumptions) | {"measured": made.measured or None},
            "outcomes": dict(shares(made)),
            "seconds": {o: _spread([r.seconds for r in made.having(o)]) for o, n in shares(made).items() if n},
            "blastRadius": vars(radius(made)),
            "trips": [vars(one) | {"after": vars(one.after)} for one in trips(made)],
            "sites": [{"site": s.name, "total": vars(s.total), "peakPerMinute": vars(s.peak)} for s in sites(made)],
            "runs": [_run(run) for run in made.runs],
            "typical": {
                "run": typical.number,
                "waves": [vars(wave) for wave in typical.waves],
                "samples": [{"after": sample.after, **sample.counts} for sample in typical.samples],
            },
        }
    )


def _spread(values: list[float]) -> dict[str, Any]:
    return vars(Spread.of(values))


def _run(run: Run) -> dict[str, Any]:
    return {
        "run": run.number,
        "outcome": run.outcome,
        "reason": run.reason,
        "seconds": run.seconds,
        "trip": vars(run.trip) if run.trip else None,
        "ordered": run.ordered,
        "exposed": run.exposed,
        "counts": dict(run.counts),
        "passes": run.passes,
    }


def _page(made: Forecast) -> str:
    from fwctl.render.whatif_page import page

    return page(made)


RENDERERS: Mapping[str, Callable[[Forecast], str]] = {"text": text, "json": as_json, "html": _page}
