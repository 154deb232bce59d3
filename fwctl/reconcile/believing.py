"""What a device says that it runs, held against what the commit knows: a release is its image (A47)."""

from __future__ import annotations

from fwctl.errors import DeviceError
from fwctl.fleet.interface import DeviceLink
from fwctl.reconcile.commit import CommitState
from fwctl_agent.protocol.messages import DeviceDocument
from fwctl_agent.protocol.statements import RunningImage


async def document_of(link: DeviceLink, state: CommitState) -> DeviceDocument:
    """Ask a device what it says of itself.

    Raises:
        DeviceError: it cannot be asked; or `E_REPORT`, it contradicts itself.
    """
    document = await link.device()
    check_running(document.running, state, document.id)
    return document


def check_running(running: RunningImage, state: CommitState, device: str) -> None:
    """Refuse the name of a release with the image of another one.

    Raises:
        DeviceError: `E_REPORT`.
    """
    image = state.images.get(running.release) if running.release else None
    if image is not None and image != running.image:
        raise DeviceError(
            f"it says that it runs release {str(running.release)[:19]}, and names an image that is not that release's",
            code="E_REPORT",
            place=device,
            remedy="Nothing of it was believed. Look at the device: what it says cannot be true.",
        )
