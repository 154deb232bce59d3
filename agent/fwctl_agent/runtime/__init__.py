"""What runs on the device: ports, journal, state machine and the shell that executes it."""
