"""The loop: one commit, read and verified; observe, decide, execute, record. Only this room moves devices."""
