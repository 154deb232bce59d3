"""What should happen, as pure functions: `compile` from git alone; `decide` from plan, observations and clock."""
