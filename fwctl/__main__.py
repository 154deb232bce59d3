"""`python -m fwctl`."""

from fwctl.cli.main import run

run()
