"""What happened: the ledger, its events, the lease that keeps two reconcilers apart, the batching writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fwctl.lazily import on_demand

if TYPE_CHECKING:
    from fwctl.state.changes import (
        Change,
        DeviceDeferred,
        DeviceSeen,
        DeviceUnreachable,
        Event,
        OrderIntended,
        OrderMoved,
        OutcomeReceived,
        Quarantined,
        QuarantineReleased,
        RolloutMoved,
        SampleTaken,
        SetMeta,
        SummaryStored,
        WaveMoved,
    )
    from fwctl.state.events import BrokenLink, to_json
    from fwctl.state.folder import ledger_path, state_dir
    from fwctl.state.lease import Lease, acquire_lease
    from fwctl.state.ledger import Ledger
    from fwctl.state.rows import (
        DeviceRow,
        EventRow,
        LeaseRow,
        LedgerSize,
        OrderRow,
        OutcomeRow,
        QuarantineRow,
        RolloutRow,
        SummaryRow,
        WaveRow,
    )
    from fwctl.state.transitions import OrderStatus, RolloutState, WaveState
    from fwctl.state.writer import BatchWriter
else:
    __getattr__ = on_demand(
        __name__,
        {
            "changes": "Change DeviceDeferred DeviceSeen DeviceUnreachable Event OrderIntended OrderMoved"
            " OutcomeReceived Quarantined QuarantineReleased RolloutMoved SampleTaken SetMeta SummaryStored"
            " WaveMoved",
            "events": "BrokenLink to_json",
            "folder": "ledger_path state_dir",
            "lease": "Lease acquire_lease",
            "ledger": "Ledger",
            "rows": "DeviceRow EventRow LeaseRow LedgerSize OrderRow OutcomeRow"
            " QuarantineRow RolloutRow SummaryRow WaveRow",
            "transitions": "OrderStatus RolloutState WaveState",
            "writer": "BatchWriter",
        },
    )

__all__ = [
    "BatchWriter",
    "BrokenLink",
    "Change",
    "DeviceDeferred",
    "DeviceRow",
    "DeviceSeen",
    "DeviceUnreachable",
    "Event",
    "EventRow",
    "Lease",
    "LeaseRow",
    "Ledger",
    "LedgerSize",
    "OrderIntended",
    "OrderMoved",
    "OrderRow",
    "OrderStatus",
    "OutcomeReceived",
    "OutcomeRow",
    "QuarantineReleased",
    "QuarantineRow",
    "Quarantined",
    "RolloutMoved",
    "RolloutRow",
    "RolloutState",
    "SampleTaken",
    "SetMeta",
    "SummaryRow",
    "SummaryStored",
    "WaveMoved",
    "WaveRow",
    "WaveState",
    "acquire_lease",
    "ledger_path",
    "state_dir",
    "to_json",
]
