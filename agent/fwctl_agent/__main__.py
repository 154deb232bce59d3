"""`python -m fwctl_agent`."""

from fwctl_agent.cli import run

run()
