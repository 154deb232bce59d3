"""The edges of the judgement of storage addresses, one by one: found by changing it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwctl_agent.errors import Refusal
from fwctl_agent.trust.addresses import MAX_URL, allowed, check_address, check_resolved, without_query
from fwctl_agent.trust.policy import StorageHost

HOST = "images.example.com"
LIST = tuple(StorageHost("https", HOST, port, None) for port in (443, 65535, 65536))


def refused(url: str, allow: tuple[StorageHost, ...] = LIST) -> bool:
    try:
        check_address(url, allow)
    except Refusal as refusal:
        return refusal.code == "E_URL"
    return False


def test_a39_an_address_is_read_to_its_limit() -> None:
    url = f"https://{HOST}/"
    assert len(check_address(url + "a" * (MAX_URL - len(url)), LIST).path) > 4000
    assert refused(url + "a" * (MAX_URL - len(url) + 1))


def test_a39_a_host_is_a_name_of_at_most_253_characters() -> None:
    label = "a" * 49 + "."
    for length, fine in ((253, True), (254, False)):
        name = (label * 5) + "b" * (length - 250)
        assert len(name) == length
        assert refused(f"https://{name}/a", (StorageHost("https", name, 443, None),)) != fine


def test_a39_ports_go_to_65535() -> None:
    assert check_address(f"https://{HOST}:65535/a", LIST).port == 65535
    assert refused(f"https://{HOST}:65536/a")


@pytest.mark.parametrize(("rest", "path", "query"), [("", "/", ""), ("/a", "/a", ""), ("?x", "/", "?x")])
def test_an_address_without_a_path_asks_for_the_root(rest: str, path: str, query: str) -> None:
    found = check_address(f"https://{HOST}{rest}", LIST)
    assert (found.path, found.query, found.target) == (path, query, path + query)


@pytest.mark.parametrize("rest", ["?sig=1", "?sig=1?2", "#sig", "?a#b", "#a?b", "#a#b", "?a?b#c#d", ""])
def test_a49_what_is_shown_of_an_address_ends_before_its_query(rest: str) -> None:
    assert without_query(f"https://{HOST}/a.img{rest}") == f"https://{HOST}/a.img"


@pytest.mark.parametrize(
    ("resolved", "connected"),
    [
        ("93.184.216.34", "93.184.216.34"),
        # the kernel takes a mapped address for plain IPv4; a translator has to be reached by its own
        ("::ffff:93.184.216.34", "93.184.216.34"),
        ("64:ff9b::5db8:d822", "64:ff9b::5db8:d822"),
        ("2606:4700::1", "2606:4700::1"),
    ],
)
def test_a39_which_address_is_connected_to(resolved: str, connected: str) -> None:
    assert check_resolved(resolved, LIST[0]) in (ip_address(connected),)


def test_a39_one_good_address_among_bad_ones_is_connected_to() -> None:
    assert allowed(["127.0.0.1", "nonsense", "93.184.216.34"], LIST[:1]) == (ip_address("93.184.216.34"),)
    for found in ([], ["127.0.0.1"], ["nonsense"]):
        with pytest.raises(Refusal) as refusal:
            allowed(found, LIST[:1])
        assert refusal.value.code == "E_URL"
