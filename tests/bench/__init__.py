"""`make bench`: how fast fwctl is, with real commands, TLS and agent core (docs/performance.md)."""
