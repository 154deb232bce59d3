"""Fuzzing: whatever bytes come, they are accepted and valid, or refused with a code. `make fuzz`."""
