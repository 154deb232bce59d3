"""How often gates raise a false alarm, and how soon they see a real one: measured on simulated rollouts."""
