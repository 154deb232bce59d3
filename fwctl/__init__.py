"""fwctl: firmware rollouts for device fleets, the GitOps way."""

__version__ = "0.1.0"
