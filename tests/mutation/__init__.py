"""Mutation testing of the verifier: `make mutate`. See docs/mutation.md."""
