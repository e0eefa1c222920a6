"""Which addresses are fetched from, as a table; and that the judged address is the one connected to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from sources import AddressRefused, FetchSettings, NotReachable, SourceError
from sources.guard import AddressGuard, is_public
from sources.http import fetch
from tests.sources_parts import LOCAL, RSS, Site, running_site

REFUSED = [
    # this machine and nowhere
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::",
    # private networks
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "fc00::1", "fd12:3456:789a::1",
    # link-local, and the metadata services that live there and elsewhere
    "169.254.0.1", "169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%1", "fd00:ec2::254", "168.63.129.16", "100.100.100.200",
    # shared, protocol, benchmark, documentation and reserved space
    "100.64.0.1", "100.127.255.255", "192.0.0.1", "192.0.0.192", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.7", "203.0.113.9", "240.0.0.1", "255.255.255.255", "2001:db8::1", "3fff::1", "100::1", "5f00::1", "2001:2::1", "2001:10::1",
    "2001:20::1", "192.0.0.170", "192.31.196.1", "192.52.193.1", "192.175.48.1", "2620:4f:8000::1", "2001:4:112::1", "2001:1ff::1",
    "1::1", "4000::1", "e000::1",
    # multicast and retired site-local addresses
    "224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1", "fec0::1",
    # IPv4 hidden in IPv6: mapped, compatible, 6to4, NAT64, local NAT64, Teredo (server or client)
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1", "::10.1.2.3", "::ffff:0:127.0.0.1",
    "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:c0a8:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::c0a8:101",
    "::ffff:100.64.0.1", "::ffff:172.16.5.4", "::ffff:168.63.129.16", "::a9fe:a9fe", "::ffff:0:a9fe:a9fe", "2002:ac10:1::1", "2002:6440:1::1",
    "2002:e000:1::1", "2002:a83f:8110::", "64:ff9b::ac10:1", "64:ff9b::6440:1", "64:ff9b::e000:1", "64:ff9b::a83f:8110",
    "64:ff9b:1:ffff::1", "2001:0:a9fe:a9fe::f7f7:f7f7", "2001:470::5efe:7f00:1", "2001:470::200:5efe:a9fe:a9fe", "fe80::5efe:a00:1",
    "64:ff9b:1::808:808", "2001:0:7f00:1::f7f7:f7f7", "2001:0:808:808:0:0:80ff:fffe", "2001:0:808:808:0:0:5601:5601",
]  # fmt: skip

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "93.184.216.34", "100.63.255.255", "100.128.0.1", "126.255.255.255", "128.0.0.1",
    "169.253.255.255", "169.255.0.1", "172.15.255.255", "172.32.0.1", "192.167.255.255", "192.169.0.1", "223.255.255.255",
    "2606:4700::1111", "2a00:1450:4001:81b::200e", "::ffff:8.8.8.8", "2002:808:808::1", "64:ff9b::808:808",
]  # fmt: skip

#: Spellings that resolvers turn into addresses of this machine or its network.
SPELLINGS = [
    "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "0x7f.1", "0", "0x0", "10.1", "167772161",
    "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "192.168.257", "localhost", "LOCALHOST", "localhost.",
]  # fmt: skip


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not_refused(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("host", SPELLINGS)
def test_another_spelling_of_a_private_address_is_refused(host: str) -> None:
    with pytest.raises(SourceError) as caught:
        AddressGuard().resolve(host, 80, timeout_s=5)
    assert isinstance(caught.value, (AddressRefused, NotReachable))


@pytest.mark.parametrize("host", [*SPELLINGS, *REFUSED[:8], "metadata.google.internal", "printer.local"])
def test_a_proxy_is_not_handed_a_private_address_in_any_spelling(host: str) -> None:
    with pytest.raises(AddressRefused):
        AddressGuard().judge_written(host)


@pytest.mark.parametrize("host", [*PUBLIC, "example.org", "10.example.org", "local.example.org"])
def test_a_proxy_is_handed_public_addresses_and_names(host: str) -> None:
    AddressGuard().judge_written(host)


@pytest.mark.parametrize(
    "url", ["http://[::ffff:127.0.0.1]/", "http://[::1]/", "http://[fe80::1%25lo]/", "http://①②⑦.0.0.1/", "http://a@127.0.0.1/"]
)
def test_an_address_written_in_a_url_is_judged_as_well(url: str) -> None:
    with pytest.raises(AddressRefused):
        fetch(url, FetchSettings())


@pytest.mark.parametrize("url", ["ftp://example.org/x", "file:///etc/passwd", "gopher://127.0.0.1/", "http:///x", "example.org/feed", ""])
def test_only_http_addresses_are_fetched(url: str) -> None:
    with pytest.raises(AddressRefused):
        fetch(url, FetchSettings())


def test_loopback_is_refused_unless_it_is_allowed(site: Site) -> None:
    url = site.serve("/feed", RSS)
    with pytest.raises(AddressRefused, match="not a public address") as caught:
        fetch(url, FetchSettings())
    assert url in str(caught.value)
    assert "allow" in caught.value.hint
    assert site.requests == []
    assert fetch(url, LOCAL).status == 200


def test_an_allowed_network_allows_its_addresses_and_no_others() -> None:
    guard = AddressGuard.of(FetchSettings(allow_private=("10.1.0.0/16", "fd00::/8")))
    assert guard.allows("any", ip_address("10.1.2.3"))
    assert guard.allows("any", ip_address("::ffff:10.1.2.3"))
    assert guard.allows("any", ip_address("fd00::1"))
    assert not guard.allows("any", ip_address("10.2.0.1"))
    assert not guard.allows("any", ip_address("127.0.0.1"))


def test_an_allowed_host_name_allows_that_name_only(site: Site) -> None:
    url = site.serve("/feed", RSS)
    by_name = url.replace("127.0.0.1", "localhost")
    assert fetch(by_name, FetchSettings(allow_private=("localhost",))).status == 200
    with pytest.raises(AddressRefused):
        fetch(url, FetchSettings(allow_private=("localhost",)))


def test_a_misspelt_network_is_an_error_and_not_silence() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        FetchSettings(allow_private=("10.0.0.0/99",))


def test_a_redirect_to_a_private_address_is_refused(site: Site) -> None:
    other = site.base.replace("127.0.0.1", "127.0.0.9")
    site.serve("/secret", RSS)
    url = site.serve("/feed", b"", status=302, Location=f"{other}/secret")
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.9"):
        fetch(url, FetchSettings(allow_private=("127.0.0.1",)))
    assert [path for path, _ in site.requests] == ["/feed"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "javascript:alert(1)", "http://[bad"])
def test_a_redirect_to_something_else_than_http_is_refused(site: Site, target: str) -> None:
    with pytest.raises(AddressRefused, match="redirects to"):
        fetch(site.serve("/feed", b"", status=302, Location=target), LOCAL)


def test_a_name_is_resolved_once_so_that_its_answer_cannot_change(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo
    port = int(site.base.rsplit(":", 1)[1])

    def rebinding(host: str, *rest: object, **named: object) -> object:
        asked.append(host)
        answer = "127.0.0.1" if asked.count("rebind.test") < 2 else "127.0.0.66"
        return real(answer if host == "rebind.test" else host, port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    site.serve("/feed", RSS)
    assert fetch(f"http://rebind.test:{port}/feed", LOCAL).status == 200
    assert asked.count("rebind.test") == 1
    assert site.requests[0][1]["host"] == f"rebind.test:{port}"


def test_of_several_addresses_only_the_acceptable_ones_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(0, 0, 0, "", (address, 80)) for address in ("10.0.0.1", "8.8.8.8", "::1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
    assert AddressGuard().resolve("mixed.test", 80, timeout_s=1) == ("8.8.8.8",)


def test_a_name_that_does_not_exist_is_not_reachable() -> None:
    with pytest.raises(NotReachable, match="could not be resolved"):
        fetch("http://no-such-host.invalid/feed", FetchSettings())


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert len(set(REFUSED)) == len(REFUSED)
    assert len(REFUSED) + len(SPELLINGS) >= 80
