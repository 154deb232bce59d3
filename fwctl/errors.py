"""What can stop the work, as a tree by who must act.

Every error carries a stable code, says where it happened and what to do next; the class decides the exit
code (DESIGN section 10). Findings in manifests are values (`fwctl.manifests.Diagnostic`), not exceptions.
"""

from __future__ import annotations

from typing import ClassVar


class FwctlError(Exception):
    """Base of everything that fwctl raises on purpose.

    `code` is stable and machine-readable, `place` names a file, device or address, `remedy` is the next thing
    to do, as a full sentence or a literal command.
    """

    exit_code: ClassVar[int] = 70
    who: ClassVar[str] = "fwctl"

    def __init__(self, message: str, *, code: str, remedy: str, place: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.remedy = remedy
        self.place = place

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        return f"{self.code}: {self.message}{where}"

    def to_json(self) -> dict[str, str]:
        """Return the error as it stands in `--format json`."""
        return {
            "code": self.code,
            "message": self.message,
            "place": self.place,
            "remedy": self.remedy,
            "who": self.who,
        }


class UsageError(FwctlError):
    """The command line asks for something that makes no sense. The caller must act."""

    exit_code = 2
    who = "operator"


class InputError(FwctlError):
    """A file, repository or commit is missing, unreadable or wrong. Its author must act."""

    exit_code = 3
    who = "author"


class TrustRefused(FwctlError):
    """Signatures, approvals or policy do not allow it. Approvers must act."""

    exit_code = 4
    who = "approver"


class WorldError(FwctlError):
    """The world outside failed: network, storage, disk, a device. The operator must act, or wait."""

    exit_code = 5
    who = "operator"


class DeviceError(WorldError):
    """A device cannot be reached or answers what it must not. `place` is the device."""

    who = "device"


class Busy(FwctlError):
    """Somebody else holds the lock, or the plan is stale. Try again, or plan again."""

    exit_code = 6
    who = "operator"
