"""The folder that an agent runs from, as bytes: written by `fwctl device enroll`, read by `fwctl-agent run`."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fwctl_agent.protocol import canonical
from fwctl_agent.protocol.fields import ID, VERSION, WORD, format_time

KEY: Final = "identity/device.key.pem"
NEXT_KEY: Final = "identity/next.key.pem"
"""the key that the device made and that waits for its certificate"""
CERTIFICATE: Final = "identity/device.cert.pem"
CONTROLLER_CA: Final = "identity/controller-ca.pem"
DEVICE_CA: Final = "identity/device-ca.pem"
"""lets a device judge a new certificate for itself; a folder without it is used until its certificate ends"""
ROOT: Final = "trust/1.root.json"
FACTORY_IMAGE: Final = "slots/a.img"
SETTINGS: Final = "agent.toml"

_TOML: Final = """\
# One device's configuration; read by: fwctl-agent run --config DIR
# Times are UTC, durations seconds.

[device]
id = "{id}"
repoId = "{repo_id}"           # the fleet repository that this device listens to
model = "{model}"
hardware = "{hardware}"
env = "{env}"
enrolledAt = "{enrolled_at}"   # as in the certificate

[listen]
host = "{host}"
port = {port}                  # 0: any free port, written to state/address
# tls = "1.2"                  # also admit TLS 1.2; without this line only TLS 1.3

[factory]                      # what slots/a.img holds; counts as confirmed on the first start
version = "{version}"
image = "{image}"
length = {length}
securityVersion = {security_version}

[boot]
reboot = "{reboot}"            # none: the new slot is current at once; exit: end with 75, a supervisor starts again
tries = 3                      # starts of an unconfirmed slot before it falls back
seconds = {boot_seconds}       # estimate for one restart

[installer]
type = "slots"                 # files slots/a.img and slots/b.img
# type = "command"             # or the device's own programs; {{slot}} and {{length}} are filled in:
# write = ["/usr/lib/fwctl/write", "{{slot}}"]         # the image on standard input
# readback = ["/usr/lib/fwctl/readback", "{{slot}}", "{{length}}"]   # the same bytes on standard output
# activate = ["/usr/lib/fwctl/activate", "{{slot}}"]   # boot this slot next, on trial
# markGood = ["/usr/lib/fwctl/mark-good", "{{slot}}"]
# revert = ["/usr/lib/fwctl/revert", "{{slot}}"]       # boot this slot from now on
# status = ["/usr/lib/fwctl/status"]                 # prints a or b: the slot that runs
# timeout = 600

[probes.default]               # orders name a set; what it does stands only here
attempts = 3
interval = 2
deadline = 60
# [[probes.default.checks]]
# name = "app"
# type = "http"                # or command (argv, timeout), or file (path, equals, max)
# url = "http://127.0.0.1:8080/health"
# status = 200

# [readiness]                  # asked before an install begins: exit status 0, or the first line says why not
# command = ["/usr/lib/fwctl/ready"]
# timeout = 10

# [facts_command]              # prints one JSON object of facts
# argv = ["/usr/lib/fwctl/facts"]
# timeout = 10
# every = 60                   # asked at most once in so many seconds

# [download]                   # where images are fetched from HTTPS
# ca = "storage-ca.pem"        # the CA to trust instead of the system's; from this folder on

[facts]                        # told to the fleet: text, whole numbers, true or false
"""


def enrolment_files(
    *,
    device_id: str,
    repo_id: str,
    model: str,
    hardware: str,
    env: str,
    enrolled_at: datetime,
    key_pem: bytes | None = None,
    certificate_pem: bytes,
    controller_ca_pem: bytes,
    device_ca_pem: bytes | None = None,
    root: str,
    factory_image: bytes,
    factory_version: str,
    factory_security_version: int = 0,
    host: str = "127.0.0.1",
    port: int = 0,
    reboot: str = "none",
    boot_seconds: int = 30,
) -> dict[str, bytes]:
    """Return every file of the folder by relative path.

    `root` is the text of the root metadata to pin. The writer gives `identity/device.key.pem` mode 0600; it is not
    there when the device has made its own.

    Raises:
        ValueError: a name or version has the wrong form.
    """
    forms = ((device_id, ID), (repo_id, ID), (model, ID), (hardware, WORD), (env, ID), (factory_version, VERSION))
    for value, form in forms:
        if not form.fullmatch(value):
            raise ValueError(f"not a name that can stand in an enrolment: {value[:80]!r}")
    if not host.replace(".", "").replace(":", "").replace("-", "").isalnum() or reboot not in ("none", "exit"):
        raise ValueError("host must be a name or an address, reboot none or exit")
    settings = _TOML.format(
        id=device_id,
        repo_id=repo_id,
        model=model,
        hardware=hardware,
        env=env,
        enrolled_at=format_time(enrolled_at),
        host=host,
        port=port,
        version=factory_version,
        image=canonical.digest(factory_image),
        length=len(factory_image),
        security_version=factory_security_version,
        reboot=reboot,
        boot_seconds=boot_seconds,
    )
    files = {
        SETTINGS: settings.encode(),
        KEY: key_pem,
        CERTIFICATE: certificate_pem,
        CONTROLLER_CA: controller_ca_pem,
        DEVICE_CA: device_ca_pem,
        ROOT: root.encode(),
        FACTORY_IMAGE: factory_image,
    }
    return {path: data for path, data in files.items() if data is not None}
