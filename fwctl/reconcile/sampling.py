"""Samples for the comparison with a control group: read for the view, taken from what a device says in a visit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from fwctl.reconcile.commit import Prepared
from fwctl.rollouts.health.control_group import Samples, wanted
from fwctl.rollouts.view import DeviceView, RolloutView
from fwctl.state import Ledger, SampleTaken, WaveRow, WaveState
from fwctl.state.samples import samples
from fwctl_agent.protocol.messages import DeviceDocument


def samples_of(ledger: Ledger, prepared: Prepared, waves: Iterable[WaveRow]) -> Samples:
    """Return the samples of the waves that are under way; nothing is read for a rollout that does not compare."""
    if prepared.mandate is None or prepared.plan.spec.gates.health.compare_with_control is None:
        return {}
    under_way = [wave.wave for wave in waves if wave.state is not WaveState.PASSED]
    return samples(ledger, prepared.mandate.id, under_way)


def taken(
    prepared: Prepared,
    rollout: RolloutView,
    device: DeviceView,
    document: DeviceDocument,
    now: datetime,
    *,
    begins: bool,
) -> list[SampleTaken]:
    """Return the samples that a device gives that has just answered; `begins`: it is about to be updated."""
    compare = prepared.plan.spec.gates.health.compare_with_control
    if compare is None or prepared.mandate is None:
        return []
    metrics = metrics_of(document, compare.metrics)
    return [
        SampleTaken(at=now, mandate=prepared.mandate.id, wave=wave, phase=phase, device=device.id, metrics=metrics)
        for wave, phase in wanted(prepared.plan, rollout, device, now, begins=begins)
    ]


def metrics_of(document: DeviceDocument, names: Iterable[str]) -> Mapping[str, int]:
    """Return the whole numbers that a device reports: facts, which are as of now, else what its probes measured."""
    found: dict[str, int] = {}
    for name in names:
        fact, vital = document.facts.get(name), document.vitals.get(name)
        if type(fact) is int:
            found[name] = fact
        elif vital is not None:
            found[name] = vital
    return found
