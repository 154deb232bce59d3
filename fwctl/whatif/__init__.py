"""What if: the same plan, the same decisions, on a fleet that is only modelled, in time that is only counted. Pure."""
