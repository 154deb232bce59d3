"""Windows: when devices may start."""
