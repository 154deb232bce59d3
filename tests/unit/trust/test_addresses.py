"""A39: storage addresses. What is not plainly an address of the signed list is refused; so is where a name leads."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwctl_agent.errors import Refusal
from fwctl_agent.trust.addresses import Address, allowed, check_address, check_resolved, unwrapped, without_query
from fwctl_agent.trust.policy import StorageHost


def entry(host: str = "images.example.com", port: int = 443, cidr: str | None = None) -> StorageHost:
    return StorageHost("https", host, port, cidr)


LIST = (
    entry(),
    entry("store.example.com", 8443),
    entry("10.1.2.3", 443, "10.1.0.0/16"),
    entry("2001:4860:4860::8888"),
    entry("xn--bcher-kva.example"),
    # a list that somebody signed without thinking: these never pass all the same
    entry("169.254.169.254"),
    entry("127.0.0.1"),
    entry("localhost.", 443, "127.0.0.0/8"),
    entry("2852039166", 443, "0.0.0.0/0"),
)
GOOD = [
    "https://images.example.com/fw/sha256/ab/abcd",
    "https://images.example.com:443/fw",
    "https://images.example.com",
    "https://images.example.com/",
    "https://images.example.com/a?X-Amz-Signature=1&b=%2F",
    "https://store.example.com:8443/a~b/c-d_e.f",
    "https://10.1.2.3/x",
    "https://[2001:4860:4860::8888]/x",
    "https://xn--bcher-kva.example/x",
]
HOST = "images.example.com"
BAD = [
    # other schemes
    f"http://{HOST}/",
    f"HTTPS://{HOST}/",
    "file:///etc/passwd",
    f"gopher://{HOST}:70/_x",
    f"ftp://{HOST}/",
    f"//{HOST}/",
    f"https:/{HOST}/",
    f"https:{HOST}",
    "data:text/plain,x",
    "",
    # metadata, in every spelling
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0xA9.0xFE.0xA9.0xFE/",
    "https://0251.0376.0251.0376/",
    "https://169.254.43518/",
    "https://169.16689662/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[fd00:ec2::254]/",
    # this machine and others near it
    "https://127.0.0.1/",
    "https://0x7f.1/",
    "https://127.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://[::1]/",
    "https://[::]/",
    "https://localhost/",
    "https://localhost./",
    "https://10.1.2.3:8443/",
    "https://010.1.2.3/",
    "https://10.1.2.003/",
    # who is asked?
    f"https://user@{HOST}/",
    f"https://evil.example@{HOST}/",
    f"https://{HOST}@evil.example/",
    f"https://user:password@{HOST}/",
    f"https://@{HOST}/",
    f"https://evil.example\\@{HOST}/",
    f"https://{HOST}\\@evil.example/",
    f"https://{HOST}\\.evil.example/",
    f"https://evil.example#@{HOST}/",
    f"https://evil.example?@{HOST}/",
    f"https://{HOST}%2eevil.example/",
    f"https://{HOST}%00.evil.example/",
    f"https://{HOST}.evil.example/",
    f"https://evil{HOST}/",
    f"https://{HOST}./",
    f"https://.{HOST}/",
    "https://images..example.com/",
    f"https://-{HOST}/",
    "https://images.example.com.:443/",
    "https://IMAGES.example.com/",
    "https://im\u0430ges.example.com/",
    "https://images\u3002example.com/",
    "https://images.ex\u00e4mple.com/",
    "https://\uff49mages.example.com/",
    "https://images.example.com\u2044evil.example/",
    "https://images.example.com\u200b/",
    # ports
    f"https://{HOST}:/",
    f"https://{HOST}:0/",
    f"https://{HOST}:8443/",
    f"https://{HOST}:0443/",
    f"https://{HOST}:65979/",
    f"https://{HOST}:443:443/",
    f"https://{HOST}:+443/",
    f"https://{HOST}:443 /",
    # zones, brackets
    "https://[fe80::1%25eth0]/",
    "https://[2001:4860:4860::8888%251]/",
    "https://[2001:4860:4860:0:0:0:0:8888]/",
    "https://[2001:4860:4860::8888/",
    f"https://[{HOST}]/",
    # blanks, control characters, fragments, odd paths
    f"https://{HOST}/a b",
    f" https://{HOST}/",
    f"https://{HOST}/\n",
    f"https://{HOST}/\r\nHost: evil.example",
    f"https://{HOST}/\t",
    f"https://{HOST}/\x00",
    f"https://{HOST}/#fragment",
    f"https://{HOST}#",
    f"https://{HOST}/../x",
    f"https://{HOST}/a/..",
    f"https://{HOST}/%2e%2e/x",
    f"https://{HOST}/%zz",
    f"https://{HOST}/" + "a" * 5000,
    "https:///x",
    "https://",
]


@pytest.mark.parametrize("url", GOOD)
def test_an_address_of_the_list_passes(url: str) -> None:
    found = check_address(url, LIST)
    assert found.place == f"https://{found.netloc}{found.path}"
    assert "?" not in found.place
    assert (found.path + found.query) == found.target


@pytest.mark.parametrize("url", BAD)
def test_a39_an_address_that_is_not_plainly_of_the_list_is_refused(url: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_address(url, LIST)
    assert caught.value.code == "E_URL"
    assert "password" not in caught.value.message.replace("a user or a password", "")


@pytest.mark.parametrize("url", GOOD)
def test_a39_nothing_passes_an_empty_list(url: str) -> None:
    with pytest.raises(Refusal, match=r"^E_URL: "):
        check_address(url, ())


def test_a_secret_is_in_no_refusal_and_no_place() -> None:
    with pytest.raises(Refusal) as caught:
        check_address("https://elsewhere.example/a?sig=canary", LIST)
    assert "canary" not in str(caught.value)
    assert "canary" not in check_address(f"https://{HOST}/a?sig=canary", LIST).place
    assert without_query(f"https://{HOST}/a?sig=canary#canary") == f"https://{HOST}/a"


@pytest.mark.parametrize("ip", ["93.184.215.14", "2001:4860:4860::8888", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"])
def test_public_addresses_pass(ip: str) -> None:
    assert check_resolved(ip, entry()) in (ip_address(ip), unwrapped(ip_address(ip)))


PRIVATE = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "100.64.0.1", "::1", "fd12:3456::1"]
PRIVATE += ["::ffff:10.1.2.3", "::ffff:127.0.0.1", "64:ff9b::a01:203", "2002:a01:203::1", "2001:4860::5efe:a01:203"]


@pytest.mark.parametrize("ip", PRIVATE)
def test_a39_private_addresses_pass_only_inside_the_cidr(ip: str) -> None:
    inner = unwrapped(ip_address(ip))
    own = str(ip_network(f"{inner}/{inner.max_prefixlen}"))
    assert check_resolved(ip, entry(cidr=own)) in (ip_address(ip), inner)
    for other in (None, "10.99.0.0/16", "fd99::/16", "93.184.215.0/24", "10.1.2.3/8", "nonsense"):
        with pytest.raises(Refusal, match=r"^E_URL: "):
            check_resolved(ip, entry(cidr=other))


def test_a39_an_entry_with_a_cidr_lets_nothing_else_pass() -> None:
    with pytest.raises(Refusal, match=r"^E_URL: "):
        check_resolved("93.184.215.14", entry(cidr="10.0.0.0/8"))


NEVER = ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "0.0.0.0"]
NEVER += ["::", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255", "192.0.0.192", "168.63.129.16", "fec0::1"]
NEVER += [
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "64:ff9b:1::a9fe:a9fe",
    "::169.254.169.254",
]
NEVER += ["2001::1", "2001:db8::1", "198.18.0.1", "192.0.2.1", "fd20:ce::254", "::ffff:0:169.254.169.254", "", "x", "1"]


@pytest.mark.parametrize("ip", NEVER)
@pytest.mark.parametrize("cidr", [None, "0.0.0.0/0", "::/0"])
def test_a39_some_addresses_never_pass_whatever_the_list_says(ip: str, cidr: str | None) -> None:
    with pytest.raises(Refusal, match=r"^E_URL: "):
        check_resolved(ip, entry(cidr=cidr))


def test_a39_of_several_addresses_only_those_that_pass_are_connected_to() -> None:
    found = allowed(["169.254.169.254", "93.184.215.14", "10.0.0.1"], [entry()])
    assert [str(ip) for ip in found] == ["93.184.215.14"]
    both = allowed(["10.0.0.1", "93.184.215.14"], [entry(), entry(cidr="10.0.0.0/8")])
    assert [str(ip) for ip in both] == ["10.0.0.1", "93.184.215.14"]
    with pytest.raises(Refusal, match=r"^E_URL: "):
        allowed([], [entry()])


PARTS = [HOST, "store.example.com", "evil.example", "127.0.0.1", "169.254.169.254", "0x7f", "8443", "443", "https://"]
PARTS += [*"@:/\\?#.[]\t \u3002", "%2e", "//"]
URLS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PARTS), max_size=8).map("".join)).map(
    "https://{}".format
)


@given(URLS)
def test_a39_whatever_passes_names_a_host_and_port_of_the_list(url: str) -> None:
    try:
        found = check_address(url, LIST)
    except Refusal:
        return
    assert isinstance(found, Address)
    assert found.entries
    for one in found.entries:
        assert (one.host, one.port) == (found.host, found.port)
    assert url.startswith((f"https://{found.netloc}", f"https://{found.netloc}:{found.port}"))


@given(st.ip_addresses(), st.none() | st.ip_addresses(v=4).map(lambda ip: f"{ip}/32"))
def test_a39_whatever_is_connected_to_is_public_or_listed(ip: object, cidr: str | None) -> None:
    try:
        check_resolved(str(ip), entry(cidr=cidr))
    except Refusal:
        return
    inner = unwrapped(ip_address(str(ip)))
    assert not any((inner.is_link_local, inner.is_multicast, inner.is_unspecified))
    assert inner in IPv4Network(cidr) if cidr else inner.is_global
