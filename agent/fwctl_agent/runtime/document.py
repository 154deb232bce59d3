"""`GET /v1/device`: what a device says of itself."""

from __future__ import annotations

from collections.abc import Mapping

import fwctl_agent
from fwctl_agent.protocol.messages import PROTOCOL, DeviceDocument
from fwctl_agent.runtime.device import Device

MAX_SHOWN = 8
"""newest outcomes in the document; older ones are asked for by order id"""


def document(device: Device, *, uptime: int, facts: Mapping[str, str | int | bool] | None = None) -> DeviceDocument:
    """Return the document from one consistent record; `uptime` in seconds, `facts` if they are not the static ones."""
    settings, record, trusted, time = device.settings, device.record, device.trust.trusted, device.time()
    job = record.job
    active = job if job is not None and job.active else None
    results = device.measured or (job.evidence if job else ())
    measured = {result.probe: result.value for result in results if result.value is not None}
    return DeviceDocument(
        id=settings.id,
        model=settings.model,
        hardware=settings.hardware,
        env=settings.env,
        enrolled_at=settings.enrolled_at,
        agent=fwctl_agent.__version__,
        protocol=PROTOCOL,
        state=active.state if active else "idle",
        order=active.order.id if active else None,
        running=record.image.running,
        slots=tuple(slot.shown() for slot in record.slots),
        trust=trusted.versions,
        highest_timestamp=trusted.files.get("timestamp.json"),
        highest_orders=tuple(epoch.order for epoch in record.epochs),
        floor=record.floor,
        floor_clock=record.floor_clock,
        clock_suspect=time.suspect or time.ahead,
        spent=record.spent,
        marks=record.marks,
        outcomes=tuple(stored.envelope for stored in record.outcomes[-MAX_SHOWN:]),
        facts=settings.facts if facts is None else facts,
        vitals={"uptime": uptime, **measured},
        counter=record.counter,
    )
