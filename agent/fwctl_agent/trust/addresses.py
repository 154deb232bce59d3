"""Storage addresses: which ones the signed policy allows, and which resolved addresses may be connected to. Pure.

It resolves nothing and connects to nothing. Control plane and device ask the same two questions: `check_address` of
the text, `check_resolved` of what a name stands for at the moment of connecting. No refusal repeats the text: a
presigned address carries its secret in the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from fwctl_agent.errors import Refusal
from fwctl_agent.trust.policy import StorageHost

MAX_URL: Final = 4096
Ip = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPLIT: Final = re.compile(r"https://([^/?#]*)([^?#]*)(\?[^#]*)?")
_AUTHORITY: Final = re.compile(r"(\[[0-9a-f:]+\]|[a-z0-9.-]+)(?::([1-9][0-9]{0,4}))?")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_TEXT: Final = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})"
_PATH: Final = re.compile(rf"(?:/{_TEXT}*)?")
_QUERY: Final = re.compile(rf"\?(?:{_TEXT}|\?)*")
_DOTS: Final = re.compile(r"/(?:\.|%2[Ee]){1,2}(?=/|$)")

_NEVER: Final = tuple(
    (ip_network(network), what)
    for network, what in (
        ("169.254.0.0/16", "link-local"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        # what clouds serve credentials from, beside 169.254.169.254
        ("fd00:ec2::/32", "a metadata service"),
        ("fd20:ce::254/128", "a metadata service"),
        ("100.100.100.200/32", "a metadata service"),
        ("168.63.129.16/32", "a metadata service"),
        ("192.0.0.192/32", "a metadata service"),
        ("0.0.0.0/8", "unspecified"),
        ("::/96", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("100::/64", "reserved"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("3fff::/20", "reserved"),
        ("5f00::/16", "reserved"),
        # a translation whose layout only its network knows
        ("64:ff9b:1::/48", "reserved"),
        ("::ffff:0:0:0/96", "reserved"),
    )
)
_LOOPBACK6: Final = IPv6Address("::1")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_GLOBAL6: Final = IPv6Network("2000::/3")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)


@dataclass(frozen=True)
class Address:
    """An address of the policy's list, in parts that are written in one way only."""

    host: str
    """lower case; of IPv6 without brackets"""
    port: int
    path: str
    """`/` and more, without the query"""
    query: str
    """with its `?`, or empty: perhaps a secret"""
    entries: tuple[StorageHost, ...]
    """the entries of the list that name host and port"""

    @property
    def place(self) -> str:
        """The address for people: without the query."""
        return f"https://{self.netloc}{self.path}"

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    @property
    def target(self) -> str:
        """What the request line asks for. Never to be shown."""
        return self.path + self.query


def check_address(url: str, allow: Iterable[StorageHost]) -> Address:
    """Take an address apart, if it is https and its host and port stand on the list.

    Raises:
        Refusal: `E_URL`; the message names at most the host.
    """
    host, port, path, query = _parts(url)
    entries = tuple(one for one in allow if (one.scheme, one.host, one.port) == ("https", host, port))
    if not entries:
        raise _refused(f"{host} port {port} is not on the policy's list of storage hosts")
    if _is_ip(host):
        allowed([host], entries)
    return Address(host, port, path, query, entries)


def without_query(url: str) -> str:
    """Return an address with what may be its secret cut off."""
    return url.partition("?")[0].partition("#")[0]


def allowed(found: Iterable[str], entries: Iterable[StorageHost]) -> tuple[Ip, ...]:
    """Return those of the resolved addresses that an entry allows: the ones to connect to, without a second look-up.

    Raises:
        Refusal: `E_URL` if there is none, with the reason of the first one that was refused.
    """
    good: dict[Ip, None] = {}
    refusals: list[Refusal] = []
    for ip in found:
        for entry in entries:
            try:
                good[check_resolved(ip, entry)] = None
            except Refusal as refusal:
                refusals.append(refusal)
    if not good:
        raise refusals[0] if refusals else _refused("the host has no address")
    return tuple(good)


def check_resolved(ip: str, entry: StorageHost) -> Ip:
    """Return the address to connect to.

    Link-local, metadata, multicast, unspecified and reserved ones never pass. Private, loopback and carrier-grade ones
    pass only inside the entry's CIDR; an entry with a CIDR lets nothing else pass.

    Raises:
        Refusal: `E_URL`.
    """
    try:
        stated = ip_address(ip)
    except ValueError as error:
        raise _refused("what the host resolves to is no IP address") from error
    if isinstance(stated, IPv6Address) and stated.scope_id:
        raise _refused("what the host resolves to has a zone")
    for found in {stated: None, unwrapped(stated): None}:
        for network, what in _NEVER:
            if found != _LOOPBACK6 and found in network:
                raise _refused(f"{entry.host} resolves to an address that is {what}")
    found = unwrapped(stated)
    if entry.cidr is not None:
        if found not in _network(entry.cidr):
            raise _refused(f"{entry.host} resolves to an address outside the CIDR that the policy lists for it")
    elif not _is_public(found):
        raise _refused(f"{entry.host} resolves to a private address, and the policy lists no CIDR for it")
    # A translated address is reached through its translator; a mapped one is plain IPv4 for the kernel, too.
    return found if isinstance(stated, IPv6Address) and stated.ipv4_mapped is not None else stated


def unwrapped(ip: Ip) -> Ip:
    """Return the IPv4 address that an IPv6 address stands for (mapped, NAT64, 6to4, ISATAP); else the address."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip in _NAT64 or (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.sixtofour or ip


def _is_public(ip: Ip) -> bool:
    return ip.is_global and (isinstance(ip, IPv4Address) or ip in _GLOBAL6)


def _parts(url: str) -> tuple[str, int, str, str]:
    if len(url) > MAX_URL:
        raise _refused(f"it has more than {MAX_URL} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise _refused("it holds blanks, backslashes, control or other characters that no address has")
    whole = _SPLIT.fullmatch(url)
    if whole is None:
        raise _refused("it must begin with https:// and have no fragment")
    authority, path, query = whole[1], whole[2], whole[3] or ""
    if "@" in authority:
        raise _refused("it must not carry a user or a password")
    found = _AUTHORITY.fullmatch(authority)
    if found is None or (port := int(found[2] or 443)) > 65535:
        raise _refused("host and port must be written plainly: lower-case letters, digits, dashes and dots, one port")
    if not _PATH.fullmatch(path) or _DOTS.search(path) or (query and not _QUERY.fullmatch(query)):
        raise _refused("its path or query is not written plainly")
    return _host(found[1]), port, path or "/", query


def _host(text: str) -> str:
    """Return a name of ASCII labels, or an IP address in its one canonical spelling."""
    if text.startswith("["):
        try:
            address = IPv6Address(text[1:-1])
        except ValueError as error:
            raise _refused("its host is no IPv6 address") from error
        if str(address) != text[1:-1]:
            raise _refused("its IPv6 address is not written in the canonical form")
        return text[1:-1]
    labels = text.split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refused("its host is no name of plain labels")
    if _NUMBER.fullmatch(labels[-1]) and not _is_ip(text):
        raise _refused("its host is a number that some would read as an IP address")
    return text


def _is_ip(host: str) -> bool:
    try:
        return str(ip_address(host)) == host
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _network(cidr: str) -> Network:
    try:
        return ip_network(cidr)
    except ValueError as error:
        raise _refused("the CIDR that the policy lists for the host is none") from error


def _refused(why: str) -> Refusal:
    return Refusal("E_URL", f"the storage address is refused: {why}")
