"""The way of a device over stops, and whether there is a way back (ADR-0015)."""
