"""The codes that a finding can carry; the table itself is `fwctl.codes.findings`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from fwctl.codes.entry import Code
from fwctl.codes.findings import FINDINGS

__all__ = ["CODES", "Code"]

CODES: Final[Mapping[str, Code]] = MappingProxyType(dict(FINDINGS))
