"""The agent's HTTPS face: mutual TLS, bounded reading, JSON for every answer."""
