"""A machine with a simulated U-Boot: it starts the agent on the slot that its environment names, again and again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.docs.blocks import ROOT

INSTALLER = ROOT / "examples" / "installers" / "uboot-ab"
LIMIT = 2

_TOOL = r"""
import json, pathlib, sys
here = pathlib.Path(__file__).parent
file = here / "env.json"
env = json.loads(file.read_text())
if "printenv" in sys.argv[0]:
    assert sys.argv[1] == "-n", sys.argv
    print(env[sys.argv[2]])
else:
    assert sys.argv[1:] == ["-s", "-"], sys.argv
    for line in sys.stdin:
        name, _, value = line.strip().partition(" ")
        env.pop(name, None)
        if value:
            env[name] = value
    fresh = here / "env.new"
    fresh.write_text(json.dumps(env))
    fresh.replace(file)
"""

_MACHINE = r"""
import json, pathlib, signal, subprocess, sys
here, folder = pathlib.Path(sys.argv[1]), sys.argv[2]
agent = None
def end(*_):
    if agent is not None:
        agent.terminate()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
for _ in range(40):
    file = here / "env.json"
    env = json.loads(file.read_text())
    slot, tries = env["fwctl_good"], int(env["bootcount"])
    if "fwctl_trial" in env:
        env["bootcount"] = str(tries + 1)
        file.write_text(json.dumps(env))
        if tries < LIMIT:
            slot = env["fwctl_trial"]
    if (here / slot).read_bytes().startswith(b"BROKEN"):
        continue  # the watchdog resets it
    (here / "cmdline").write_text(f"console=ttyS0 root=/dev/x fwctl.slot={slot} quiet\n")
    agent = subprocess.Popen([sys.executable, "-m", "fwctl_agent", "run", "--config", folder])
    if agent.wait() != 75:
        sys.exit(1)
sys.exit("it never stops rebooting")
""".replace("LIMIT", str(LIMIT))


class Board:
    """Two partitions, the boot loader's environment, and the tools that change it."""

    def __init__(self, folder: Path, factory: bytes) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "a").write_bytes(factory)
        (folder / "b").write_bytes(b"\0" * 64)
        (folder / "env.json").write_text('{"fwctl_good": "a", "bootcount": "0", "upgrade_available": "0"}')
        (folder / "cmdline").write_text("fwctl.slot=a\n")
        (folder / "machine.py").write_text(_MACHINE)
        (folder / "conf").write_text(f"SLOT_A={folder}/a\nSLOT_B={folder}/b\nCMDLINE={folder}/cmdline\n")
        for tool in ("fw_printenv", "fw_setenv"):
            (folder / tool).write_text(f"#!{sys.executable} -S{_TOOL}")
            (folder / tool).chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "FWCTL_INSTALLER_CONF": str(self.folder / "conf"), "PYTHONUNBUFFERED": "1"}

    def command(self, agent_folder: Path) -> list[str]:
        """Return what powers the machine on."""
        return [sys.executable, str(self.folder / "machine.py"), str(self.folder), str(agent_folder)]
