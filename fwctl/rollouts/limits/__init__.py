"""Limits: what holds single devices, counted from the ledger and from visits under way (ADR-0014)."""
