"""The signed statements: release, approval over a mandate, order, outcome. Frozen values and their wire form."""

from fwctl_agent.protocol.statements.mandate import APPROVAL, Approval, LateJoiners, Mandate
from fwctl_agent.protocol.statements.order import (
    FOLLOW_UPS,
    ORDER,
    FollowUp,
    FollowVerb,
    InstallOrder,
    Order,
    Verb,
    order_from_wire,
    order_id,
)
from fwctl_agent.protocol.statements.outcome import (
    FAILURE_CLASSES,
    OUTCOME,
    RESULTS,
    FailureClass,
    Outcome,
    Phase,
    ProbeResult,
    Result,
    RunningImage,
    SlotState,
)
from fwctl_agent.protocol.statements.release import RELEASE, Release

__all__ = [
    "APPROVAL",
    "FAILURE_CLASSES",
    "FOLLOW_UPS",
    "ORDER",
    "OUTCOME",
    "RELEASE",
    "RESULTS",
    "Approval",
    "FailureClass",
    "FollowUp",
    "FollowVerb",
    "InstallOrder",
    "LateJoiners",
    "Mandate",
    "Order",
    "Outcome",
    "Phase",
    "ProbeResult",
    "Release",
    "Result",
    "RunningImage",
    "SlotState",
    "Verb",
    "order_from_wire",
    "order_id",
]
