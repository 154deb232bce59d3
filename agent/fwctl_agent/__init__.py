"""The device side of fwctl: verify, install, try, confirm or revert firmware."""

__version__ = "0.1.0"
