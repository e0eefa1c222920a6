"""Servers that mean harm or are broken: each is refused within its limit, with a sentence of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sources import AddressRefused, HttpStatus, NotReachable, SourceError, TimedOut, TooLarge, open_source
from sources.http import fetch
from tests.sources_parts import LOCAL, RSS, Handler, Site, running_site

MIB = 1024 * 1024
# One limit each that the server runs into, and the others far off: the machine that runs this may be busy.
PATIENT = replace(LOCAL, read_timeout_s=20, overall_timeout_s=20, attempts=1)
WHOLE = replace(PATIENT, overall_timeout_s=1)
BETWEEN = replace(PATIENT, read_timeout_s=0.4)
LIMIT_S = 15.0


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@contextmanager
def raw_server(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection whatever `speak` does; gives its host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the client hangs up, which is what is tested
            speak(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        thread.join()
        listener.close()


def drip(first: bytes, piece: bytes, *, pause_s: float = 0.05) -> Callable[[socket.socket], None]:
    def speak(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(first)
        while True:
            connection.sendall(piece)
            time.sleep(pause_s)

    return speak


def once(answer: bytes) -> Callable[[socket.socket], None]:
    def speak(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return speak


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass  # until the client hangs up


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/rss+xml\r\n"

REFUSALS: dict[str, tuple[Callable[[socket.socket], None], type[SourceError], str]] = {
    "slow headers": (drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"), TimedOut, "whole fetch took longer"),
    "slow body": (drip(OK + b"Content-Length: 100000\r\n\r\n", b"x"), TimedOut, "whole fetch took longer"),
    "slow chunks": (drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), TimedOut, "whole fetch took longer"),
    "no answer": (silent, TimedOut, "sent nothing for"),
    "endless headers": (drip(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 8000 + b"\r\n", pause_s=0), NotReachable, "broke off"),
    "endless header line": (drip(b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 8000, pause_s=0), NotReachable, "broke off"),
    "endless body": (drip(OK + b"\r\n", b"a" * 65536, pause_s=0), TooLarge, "reading stopped there"),
    "endless chunk": (drip(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", b"a" * 65536, pause_s=0), TooLarge, "reading stopped"),
    "too short": (once(OK + b"Content-Length: 5000\r\n\r\n<rss>"), NotReachable, "broke off"),
    "chunks that end early": (once(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n<rss>\r\n"), NotReachable, "broke off"),
    "chunks that are none": (once(OK + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"), NotReachable, "broke off"),
    "two lengths": (once(OK + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\n<rss>"), NotReachable, "broke off"),
    "a length that is none": (once(OK + b"Content-Length: -5\r\n\r\n<rss>"), NotReachable, "broke off"),
    "not http": (once(b"SSH-2.0-OpenSSH_9.9\r\n"), NotReachable, "broke off"),
    "hangs up": (once(b""), NotReachable, "broke off"),
    "a status that is none": (once(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), HttpStatus, "999"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_hostile_answer_is_refused_within_its_limit_and_says_why(name: str) -> None:
    speak, error, words = REFUSALS[name]
    with raw_server(speak) as host:
        started = time.monotonic()
        limits = WHOLE if name.startswith("slow") else BETWEEN if name == "no answer" else PATIENT
        with pytest.raises(error, match=words) as caught:
            fetch(f"http://{host}/feed", replace(limits, max_bytes=MIB))
        assert time.monotonic() - started < LIMIT_S
    assert host in str(caught.value)
    assert caught.value.hint


def test_what_follows_an_announced_length_is_not_taken() -> None:
    with raw_server(once(OK + b"Content-Length: 6\r\n\r\n<rss/>" + b"<evil/>" * 1000)) as host:
        assert fetch(f"http://{host}/feed", PATIENT).body == b"<rss/>"


TARGETS = [
    "http://169.254.169.254/latest/meta-data/", "http://[::ffff:169.254.169.254]/", "http://[2002:a9fe:a9fe::1]/", "http://2852039166/",
    "http://0xa9fea9fe/", "http://0251.0376.0251.0376/", "http://10.0.0.1/", "http://[64:ff9b::a9fe:a9fe]/", "http://[::1]/", "//192.168.0.1/",
    "http://[fd00:ec2::254]/", "http://a.b@10.0.0.1/", "http://10.0.0.1:80\\@example.org/",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_redirect_to_a_private_address_is_refused_in_every_spelling(site: Site, target: str) -> None:
    with pytest.raises(SourceError) as caught:
        fetch(site.serve("/feed", b"", status=302, Location=target), LOCAL)
    assert isinstance(caught.value, AddressRefused | NotReachable)
    assert [path for path, _ in site.requests] == ["/feed"]


def test_a_name_whose_answer_turns_private_is_refused_at_the_next_request(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["127.0.0.1", "10.0.0.66"])
    real = socket.getaddrinfo
    port = int(site.base.rsplit(":", 1)[1])

    def turning(host: str, *rest: object, **named: object) -> object:
        return real(next(answers) if host == "turning.test" else host, port, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", turning)
    site.serve("/feed", b"", status=302, Location=f"http://turning.test:{port}/secret")
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.66"):
        fetch(f"http://turning.test:{port}/feed", LOCAL)
    assert [path for path, _ in site.requests] == ["/feed"]


def certificate(folder: Path, *options: str) -> Path:
    made = folder / f"{abs(hash(options))}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(made)]
    subprocess.run([*command, "-out", f"{made}.crt", "-subj", "/CN=localhost", *options], check=True, capture_output=True)
    made.write_text(made.read_text() + Path(f"{made}.crt").read_text())
    return made


def speaking_tls(chain: Path) -> Callable[[socket.socket], None]:
    def speak(connection: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(4096)
            secured.sendall(OK + b"Content-Length: 6\r\n\r\n<rss/>")

    return speak


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with raw_server(speaking_tls(certificate(tmp_path, "-days", "2"))) as host, pytest.raises(NotReachable, match="self-signed") as caught:
        fetch(f"https://{host}/feed", LOCAL)
    assert "certificate" in caught.value.hint


def test_tls_that_is_none_and_tls_that_never_begins_are_refused() -> None:
    with raw_server(once(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as host, pytest.raises(NotReachable, match="secure connection failed"):
        fetch(f"https://{host}/feed", LOCAL)
    with raw_server(silent) as host:
        started = time.monotonic()
        with pytest.raises(TimedOut):
            fetch(f"https://{host}/feed", WHOLE)
        assert time.monotonic() - started < LIMIT_S


def test_headers_meant_for_one_host_do_not_follow_a_redirect_to_another(site: Site) -> None:
    settings = replace(LOCAL, headers=(("Authorization", "Bearer secret"), ("X-Key", "k")), allow_private=("127.0.0.0/8", "localhost"))
    with running_site() as other:
        target = other.serve("/feed", RSS)
        site.serve("/here", RSS)
        fetch(site.serve("/near", b"", status=302, Location="/here"), settings)
        fetch(site.serve("/far", b"", status=302, Location=target), settings)
        assert [headers.get("authorization") for _, headers in site.requests] == ["Bearer secret"] * 3
        assert "authorization" not in other.requests[0][1]
        assert "x-key" not in other.requests[0][1]
    assert "secret" not in repr(settings)


def test_a_proxy_is_used_and_is_not_handed_private_addresses(site: Site) -> None:
    def as_proxy(handler: Handler) -> None:
        handler.answer(200, RSS.encode(), {"Content-Type": "application/rss+xml"})

    site.routes["http://example.test/feed"] = as_proxy
    settings = replace(LOCAL, allow_private=(), proxy=site.base.replace("http://", "http://ada:word@"))
    assert fetch("http://example.test/feed", settings).status == 200
    assert site.requests[0][0] == "http://example.test/feed"
    assert site.requests[0][1]["proxy-authorization"].startswith("Basic ")
    for private in ("http://169.254.169.254/", "http://localhost/", "http://2130706433/"):
        with pytest.raises(AddressRefused, match="not a public address"):
            fetch(private, settings)
    assert len(site.requests) == 1


def test_a_host_is_not_hurried_and_another_one_does_not_wait(site: Site) -> None:
    from sources import Busy
    from sources.politeness import HOSTS

    HOSTS.forget()
    slow = replace(LOCAL, host_gap_s=30.0)
    url = site.serve("/feed", RSS)
    assert fetch(url, slow).status == 200
    with pytest.raises(Busy, match="asked for other feeds") as caught:
        fetch(url, slow)
    assert caught.value.retry_after_s == pytest.approx(30, abs=2)
    with running_site() as other:
        elsewhere = other.serve("/feed", RSS).replace("127.0.0.1", "127.0.0.2")
        with pytest.raises(NotReachable):  # nobody listens there, but it was asked at once
            fetch(elsewhere, slow)
    HOSTS.forget()


def test_a_page_given_in_a_feeds_place_leads_to_its_feed_for_good(site: Site) -> None:
    feed = site.serve("/news.xml", RSS)
    link = '<html><head><link rel="alternate" type="application/rss+xml" href="/news.xml"></head><body>Hello</body></html>'
    got = open_source(site.serve("/", link, content_type="text/html"), settings=LOCAL).poll({})
    assert (got.moved_to, len(got.documents)) == (feed, 2)
    assert open_source(feed, settings=LOCAL).poll(got.cursor).documents == ()
