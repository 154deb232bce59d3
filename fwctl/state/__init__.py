"""What happened: the ledger, its events, the lease that keeps two reconcilers apart, the batching writer."""

from fwctl.state.changes import (
    Change,
    DeviceSeen,
    DeviceUnreachable,
    Event,
    OrderIntended,
    OrderMoved,
    OutcomeReceived,
    RolloutMoved,
    SetMeta,
)
from fwctl.state.events import BrokenLink
from fwctl.state.folder import ledger_path, state_dir
from fwctl.state.lease import Lease, acquire_lease
from fwctl.state.ledger import Ledger
from fwctl.state.rows import DeviceRow, EventRow, LeaseRow, OrderRow, OutcomeRow, RolloutRow
from fwctl.state.transitions import OrderStatus, RolloutState
from fwctl.state.writer import BatchWriter

__all__ = [
    "BatchWriter",
    "BrokenLink",
    "Change",
    "DeviceRow",
    "DeviceSeen",
    "DeviceUnreachable",
    "Event",
    "EventRow",
    "Lease",
    "LeaseRow",
    "Ledger",
    "OrderIntended",
    "OrderMoved",
    "OrderRow",
    "OrderStatus",
    "OutcomeReceived",
    "OutcomeRow",
    "RolloutMoved",
    "RolloutRow",
    "RolloutState",
    "SetMeta",
    "acquire_lease",
    "ledger_path",
    "state_dir",
]
