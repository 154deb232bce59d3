"""The folders that `fwctl device enroll` wrote, as the simulator sees them: found by name, read when asked for."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography import x509

from fwctl_agent.config import ConfigError, read_settings
from fwctl_agent.protocol import enrolment
from fwctl_agent.protocol.fields import ID
from fwctl_agent.runtime.host import Host
from fwctl_agent.runtime.settings import Settings
from fwctl_agent.server.tls import HostConnection, HostContext, load_identity, server_context


def enrolled(below: Path, count: int) -> dict[str, str]:
    """Return the names of the first `count` folders below `below`, sorted, by the TLS name of their device.

    A hundred thousand certificates take minutes to read: as long as the first folder is called like its device, as
    enrolment calls it, all of them are taken to be. One that is not is found out by the first peer that asks for it.

    Raises:
        ConfigError: there are fewer, or one cannot be used.
    """
    try:
        with os.scandir(below) as entries:
            found = sorted(entry.name for entry in entries if os.path.isfile(f"{entry.path}/{enrolment.SETTINGS}"))  # noqa: PTH113  100,000 paths
    except OSError as error:
        raise ConfigError(str(below), f"cannot be read: {error.strerror}", "name the folder of enrolments") from error
    if len(found) < count:
        raise ConfigError(
            str(below), f"holds {len(found)} enrolled devices, not {count}", "enroll more, or ask for less"
        )
    folders = found[:count]
    device, _, rest = dns_name(below / folders[0]).partition(".")
    if device == folders[0] and all(ID.fullmatch(name) for name in folders):
        return {f"{name}.{rest}": name for name in folders}
    return {dns_name(below / name): name for name in folders}


def dns_name(folder: Path) -> str:
    """Return the DNS name in the device's certificate.

    Raises:
        ConfigError: it cannot be read, or names no device.
    """
    path = folder / enrolment.CERTIFICATE
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.DNSName)
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise ConfigError(str(path), "is no readable certificate", "enroll the device again") from error
    if len(found) != 1 or not ID.fullmatch(found[0].partition(".")[0]):
        raise ConfigError(str(path), "does not name exactly one device", "enroll the device again")
    return found[0]


class Identities:
    """TLS for many devices through one context per controller CA: a connection keeps the certificate it was given."""

    def __init__(self) -> None:
        self._contexts: dict[bytes, HostContext] = {}

    def show(self, connection: ssl.SSLObject, folder: Path, find: Callable[[], Host | None]) -> None:
        """Let `connection` speak for the device of `folder`, which `find` returns later.

        Raises:
            ConfigError: the folder's identity cannot be used.
        """
        certificate, key, authority = (
            folder / name for name in (enrolment.CERTIFICATE, enrolment.KEY, enrolment.CONTROLLER_CA)
        )
        try:
            known = self._contexts.get(authority.read_bytes())
        except OSError:
            known = None
        if known is None:
            known = server_context(certificate, key, authority)
            self._contexts[authority.read_bytes()] = known
        else:
            load_identity(known, certificate, key)
        connection.context = known
        assert isinstance(connection, HostConnection)  # noqa: S101  every context here makes them
        connection.find = find


_HOST: Final = re.compile(r'\n\[listen\]\nhost = "([0-9A-Za-z.:-]+)"\n')


class SettingsReader:
    """Reads `agent.toml`; files that differ in the device's name and address only are parsed once."""

    def __init__(self) -> None:
        self._known: dict[str, Settings] = {}
        self.shared = 0
        """files that were not parsed"""

    def read(self, folder: Path) -> Settings:
        """As `read_settings`.

        Raises:
            ConfigError: as there.
        """
        try:
            text = (folder / enrolment.SETTINGS).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return read_settings(folder)
        line = f'\n[device]\nid = "{folder.name}"\n'
        hosts = _HOST.findall(text)
        if text.count(line) != 1 or len(hosts) != 1 or not ID.fullmatch(folder.name):
            return read_settings(folder)
        pattern = _HOST.sub("\n\n", text.replace(line, "\n\n"))
        known = self._known.get(pattern)
        if known is None:
            known = read_settings(folder)
            if (known.id, known.host) == (folder.name, hosts[0]) and len(self._known) < 1024:
                self._known[pattern] = known
            return known
        self.shared += 1
        return replace(known, id=folder.name, host=hosts[0])
