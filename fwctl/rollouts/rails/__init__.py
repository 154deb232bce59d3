"""Guard rails: what no rollout may do while they are in force."""
