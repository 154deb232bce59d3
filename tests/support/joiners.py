"""Simulated devices in rings, and a group of one ring: who is targeted changes by a label."""

from __future__ import annotations

from tests.support.world import MODEL, World, next_host

GROUP = """\
apiVersion: fwctl/v1
kind: DeviceGroup
metadata: {name: sensors}
spec: {selector: {matchLabels: {ring: prod}}}
"""


def declare(world: World, **rings: str) -> None:
    """Write the inventory of simulated devices, each in a ring, and enroll those who are new."""
    folder, port = world.folder / "simulated", world.simulated[1]
    path = world.repo / "devices" / "simulated.yaml"
    known = {line.split("id: ")[1].split(",")[0]: line for line in path.read_text().splitlines() if "id: " in line}
    lines, new = [], []
    for name, ring in rings.items():
        device = name.replace("_", "-")
        head = known.get(device, "").partition(", labels")[0].removesuffix("}").strip()
        if not head:
            new.append(device)
            head = f'- {{id: {device}, model: {MODEL}, hardware: rev-a, env: dev, address: "{next_host()}:{port}"'
        lines.append(f"    {head}, labels: {{ring: {ring}}}}}")
    path.write_text("\n".join(["apiVersion: fwctl/v1", "kind: DeviceInventory", "spec:", "  devices:", *lines]) + "\n")
    if new:
        # one alone is written into the folder itself
        world.fwctl("device", "enroll", *new, "--out", folder / new[0] if len(new) == 1 else folder)
    world.simulated = (len(rings), port)


def grouped(world: World) -> None:
    """Write the group of the devices in the ring `prod`."""
    (world.repo / "groups").mkdir(exist_ok=True)
    (world.repo / "groups" / "sensors.yaml").write_text(GROUP)
