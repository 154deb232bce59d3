"""What tells a ledger, and which form of it, from any other SQLite file."""

from __future__ import annotations

APPLICATION_ID = 0x66776374  # "fwct"
VERSION = 5
