"""Fetching from a real server: politeness, caps, time limits, redirects, and what each failure says."""

from __future__ import annotations

import gzip
import shutil
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import ThreadingHTTPServer
from pathlib import Path

import brotli
import pytest
from backports import zstd

from sources import BadEncoding, Gone, HttpStatus, NotReachable, SourceError, TimedOut, TooLarge, TooManyRedirects, backoff_s
from sources.caching import expires_s, max_age_s, retry_after_s, wait_asked_for_s
from sources.http import Validators, fetch, shown_address, user_agent
from sources.transport import _tls
from tests.sources_parts import LOCAL, RSS, Handler, Site, running_site

MIB = 1024 * 1024


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


def test_a_fetch_is_honest_about_who_asks_and_what_it_takes(site: Site) -> None:
    fetch(site.serve("/feed", RSS), LOCAL)
    headers = site.requests[0][1]
    assert headers["user-agent"] == user_agent()
    assert headers["user-agent"].startswith("lorefeed/")
    assert headers["accept-encoding"] == "gzip, deflate, br, zstd"


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress), ("zstd", zstd.compress), ("identity", bytes)],
)
def test_a_compressed_body_is_unpacked(site: Site, coding: str, pack: object) -> None:
    assert callable(pack)
    got = fetch(site.serve("/feed", pack(RSS.encode()), Content_Encoding=coding), LOCAL)
    assert got.body.decode() == RSS


def test_a_body_in_a_compression_nobody_asked_for_is_an_error(site: Site) -> None:
    with pytest.raises(BadEncoding, match="compress, which was not asked for"):
        fetch(site.serve("/feed", b"\x1f\x9d\x80", Content_Encoding="compress"), LOCAL)


def test_a_damaged_compressed_body_is_an_error(site: Site) -> None:
    with pytest.raises(BadEncoding, match="damaged"):
        fetch(site.serve("/feed", b"this is not gzip at all", Content_Encoding="gzip"), LOCAL)


def test_validators_go_back_to_the_address_they_came_from_and_304_means_unchanged(site: Site) -> None:
    def answer(handler: Handler) -> None:
        if handler.headers.get("If-None-Match") == '"v1"' and handler.headers.get("If-Modified-Since"):
            handler.answer(304, b"", {"Cache-Control": "max-age=900"})
        else:
            handler.answer(200, RSS.encode(), {"ETag": '"v1"', "Last-Modified": "Tue, 03 Mar 2026 10:00:00 GMT"})

    url = site.route("/feed", answer)
    first = fetch(url, LOCAL)
    second = fetch(url, LOCAL, validators=first.validators)
    assert (first.unchanged, second.unchanged) == (False, True)
    assert second.validators == first.validators
    assert second.next_after_s == 900
    assert fetch(url, LOCAL, validators=replace(first.validators, url=url + "?other")).unchanged is False


def test_a_304_that_nobody_asked_for_is_an_error(site: Site) -> None:
    with pytest.raises(HttpStatus, match="304"):
        fetch(site.serve("/feed", b"", status=304), LOCAL)


def test_a_validator_that_cannot_be_sent_back_is_dropped(site: Site) -> None:
    got = fetch(site.serve("/feed", RSS, ETag="x" * 5000), LOCAL)
    assert got.validators == Validators(got.url)


@pytest.mark.parametrize(("status", "words"), [(404, "nothing at this address"), (403, "refuses"), (500, "500"), (418, "418")])
def test_an_error_status_names_the_address_and_the_reason(site: Site, status: int, words: str) -> None:
    url = site.serve("/feed", b"", status=status)
    with pytest.raises(HttpStatus, match=words) as caught:
        fetch(url, LOCAL)
    assert caught.value.status == status
    assert url in str(caught.value)
    assert caught.value.hint
    assert caught.value.permanent is False


def test_gone_is_permanent(site: Site) -> None:
    with pytest.raises(Gone) as caught:
        fetch(site.serve("/feed", b"", status=410), LOCAL)
    assert caught.value.permanent is True


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_told_in_seconds_in_both_forms(site: Site, status: int) -> None:
    with pytest.raises(HttpStatus) as in_seconds:
        fetch(site.serve("/a", b"", status=status, Retry_After="120"), LOCAL)
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    with pytest.raises(HttpStatus) as as_date:
        fetch(site.serve("/b", b"", status=status, Retry_After=at), LOCAL)
    assert in_seconds.value.retry_after_s == 120
    assert as_date.value.retry_after_s == pytest.approx(300, abs=5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("99999999", 86_400),
        ("soon", None),
        ("", None),
        (None, None),
        ("-5", None),
        ("Tue, 03 Mar 2026 10:00:30 GMT", 30),
        ("Mon, 02 Mar 2020 10:00:00 GMT", 0),
        ("Tue, 03 Mar 9999 10:00:00 GMT", 86_400),
    ],
)
def test_retry_after_is_read_and_capped(value: str | None, expected: float | None) -> None:
    assert retry_after_s(value, now=datetime(2026, 3, 3, 10, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    ("value", "age", "expected"),
    [
        ("max-age=600", None, 600),
        ("public, max-age=600", "100", 500),
        ("max-age=600", "900", None),
        ("s-maxage=600", None, None),
        ("no-cache, max-age=600", None, None),
        ("max-age=99999999", None, 86_400),
        ("max-age=x", None, None),
        (None, None, None),
    ],
)
def test_cache_control_says_how_long_to_wait(value: str | None, age: str | None, expected: float | None) -> None:
    assert max_age_s(value, age) == expected


def test_a_permanent_move_is_told_and_a_temporary_one_is_not(site: Site) -> None:
    site.serve("/new", RSS)
    site.serve("/between", b"", status=301, Location="/new")
    assert fetch(site.serve("/old", b"", status=308, Location="/between"), LOCAL).moved_to == site.base + "/new"
    assert fetch(site.serve("/away", b"", status=302, Location="/between"), LOCAL).moved_to is None
    site.serve("/detour", b"", status=302, Location="/new")
    assert fetch(site.serve("/half", b"", status=301, Location="/detour"), LOCAL).moved_to == site.base + "/detour"


def test_a_cookie_lasts_from_one_redirect_to_the_next_and_no_longer(site: Site) -> None:
    target = site.serve("/feed", RSS)
    url = site.route("/gate", lambda handler: handler.answer(302, b"", {"Location": target, "Set-Cookie": "seen=1; Path=/"}))
    fetch(url, LOCAL)
    fetch(url, LOCAL)
    assert [headers.get("cookie") for _, headers in site.requests] == [None, "seen=1", None, "seen=1"]


def test_redirects_in_a_circle_are_noticed(site: Site) -> None:
    site.serve("/b", b"", status=302, Location="/a")
    with pytest.raises(TooManyRedirects, match="circle"):
        fetch(site.serve("/a", b"", status=302, Location="/b"), LOCAL)
    assert len(site.requests) == 2


def test_a_long_chain_of_redirects_ends_after_five(site: Site) -> None:
    for number in range(20):
        site.serve(f"/{number}", b"", status=302, Location=f"/{number + 1}")
    with pytest.raises(TooManyRedirects, match="more than 5"):
        fetch(site.base + "/0", LOCAL)
    assert len(site.requests) == 6


def test_an_announced_200_mb_body_is_not_read_at_all(site: Site) -> None:
    def answer(handler: Handler) -> None:
        handler.answer(200, b"", {"Content-Length": str(200 * MIB)})

    with pytest.raises(TooLarge, match="announces 209,715,200"):
        fetch(site.route("/feed", answer), LOCAL)


def test_a_streamed_200_mb_body_is_left_after_the_cap(site: Site) -> None:
    sent = 0
    done = threading.Event()

    def answer(handler: Handler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for _ in range(200):
                handler.wfile.write(b"100000\r\n" + b"x" * MIB + b"\r\n")
                sent += 1
        finally:
            done.set()

    with pytest.raises(TooLarge, match="reading stopped there"):
        fetch(site.route("/feed", answer), replace(LOCAL, max_bytes=MIB))
    assert done.wait(5)
    assert sent < 40  # what socket buffers hold, far from 200


@pytest.mark.parametrize(("coding", "pack"), [("br", brotli.compress), ("zstd", zstd.compress)])
def test_a_bomb_in_a_newer_compression_is_left_after_the_cap(site: Site, coding: str, pack: object) -> None:
    assert callable(pack)
    bomb = pack(b"\0" * (50 * MIB))
    assert len(bomb) < MIB
    with pytest.raises(TooLarge, match="larger than the cap"):
        fetch(site.serve("/feed", bomb, Content_Encoding=coding), replace(LOCAL, max_bytes=MIB))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"expires": "Tue, 03 Mar 2026 11:00:00 GMT", "date": "Tue, 03 Mar 2026 10:00:00 GMT"}, 3600),
        ({"expires": "Tue, 03 Mar 2026 09:00:00 GMT", "date": "Tue, 03 Mar 2026 10:00:00 GMT"}, None),
        ({"expires": "0"}, None),
        ({"expires": "Tue, 03 Mar 2099 11:00:00 GMT", "cache-control": "max-age=60"}, 60),
        ({"expires": "Tue, 03 Mar 2099 11:00:00 GMT", "cache-control": "no-cache"}, None),
        ({"expires": "Tue, 03 Mar 2099 11:00:00 GMT", "cache-control": "public"}, 86_400),
        ({"retry-after": "30", "cache-control": "max-age=600"}, 30),
        ({}, None),
    ],
)
def test_the_headers_of_an_answer_say_how_long_to_wait(headers: dict[str, str], expected: float | None) -> None:
    assert wait_asked_for_s(headers) == expected


def test_expires_without_a_date_is_measured_by_our_clock() -> None:
    assert expires_s("Tue, 03 Mar 2026 11:00:00 GMT", now=datetime(2026, 3, 3, 10, tzinfo=UTC)) == 3600


def test_a_gzip_bomb_is_left_after_the_cap(site: Site) -> None:
    bomb = gzip.compress(b"\0" * (100 * MIB), compresslevel=1)
    assert len(bomb) < MIB
    with pytest.raises(TooLarge, match="larger than the cap"):
        fetch(site.serve("/feed", bomb, Content_Encoding="gzip"), replace(LOCAL, max_bytes=MIB))
    twice = gzip.compress(bomb)
    with pytest.raises(TooLarge):
        fetch(site.serve("/feed", twice, Content_Encoding="gzip, gzip"), replace(LOCAL, max_bytes=MIB))


def test_a_silent_server_times_out(site: Site) -> None:
    release = threading.Event()

    def wait_for_release(handler: Handler) -> None:
        release.wait(5)
        handler.close_connection = True

    started = time.monotonic()
    with pytest.raises(TimedOut, match=r"sent nothing for 0\.2 s"):
        fetch(site.route("/feed", wait_for_release), replace(LOCAL, read_timeout_s=0.2))
    release.set()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("where", ["headers", "body"])
def test_a_server_that_drips_is_cut_off_at_the_overall_limit(site: Site, where: str) -> None:
    release = threading.Event()

    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 1000\r\n\r\n" if where == "body" else b"X-Slow: "))
        while not release.wait(0.05):
            handler.wfile.write(b"x")

    started = time.monotonic()
    with pytest.raises(TimedOut, match=r"whole fetch took longer than 0\.5 s"):
        fetch(site.route("/feed", answer), replace(LOCAL, overall_timeout_s=0.5))
    release.set()
    assert time.monotonic() - started < 2


def test_nobody_listening_is_not_reachable() -> None:
    with running_site() as site:
        url = site.base + "/feed"
    with pytest.raises(NotReachable, match="refused") as caught:
        fetch(url, LOCAL)
    assert url in str(caught.value)


def test_a_connection_that_breaks_once_is_tried_again_and_no_more_than_once(site: Site) -> None:
    def answer(handler: Handler) -> None:
        if len(site.requests) == 1:
            handler.connection.close()
        else:
            handler.answer(200, RSS.encode(), {})

    assert fetch(site.route("/feed", answer), LOCAL).status == 200
    site.requests.clear()
    with pytest.raises(NotReachable, match="broke off"):
        fetch(site.route("/always", lambda handler: handler.connection.close()), LOCAL)
    assert len(site.requests) == 2


def test_a_body_that_breaks_off_is_an_error_and_not_a_short_feed(site: Site) -> None:
    def answer(handler: Handler) -> None:
        handler.answer(200, RSS.encode()[:100], {"Content-Length": "5000"})
        handler.close_connection = True

    with pytest.raises(NotReachable, match="broke off"):
        fetch(site.route("/feed", answer), LOCAL)


def test_a_password_in_the_address_is_sent_but_never_shown(site: Site) -> None:
    url = site.serve("/feed", b"", status=403).replace("http://", "http://ada:secret@")
    with pytest.raises(HttpStatus) as caught:
        fetch(url, LOCAL)
    assert "secret" not in str(caught.value)
    assert "ada:***@" in str(caught.value)
    assert site.requests[0][1]["authorization"].startswith("Basic ")
    assert shown_address("https://h/a@b:c") == "https://h/a@b:c"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
def test_the_certificate_is_checked_against_the_name_although_the_address_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made + named, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    site = Site()
    site.serve("/feed", RSS)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("TlsHandler", (Handler,), {"site": site}))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    _tls.cache_clear()
    try:
        port = server.server_address[1]
        assert fetch(f"https://localhost:{port}/feed", LOCAL).status == 200
        with pytest.raises(NotReachable, match="secure connection failed") as caught:
            fetch(f"https://127.0.0.1:{port}/feed", LOCAL)
        assert "certificate" in caught.value.hint
    finally:
        _tls.cache_clear()
        server.shutdown()
        server.server_close()


def test_back_off_doubles_up_to_a_day() -> None:
    assert [backoff_s(count, 900) for count in (0, 1, 2, 3, 4)] == [900, 900, 1800, 3600, 7200]
    assert backoff_s(10_000, 900) == 86_400
    assert backoff_s(3, 7 * 86_400) == 7 * 86_400
    assert backoff_s(2, 900, jitter=1.0) == pytest.approx(1440)
    assert backoff_s(1, 900, jitter=0.5) < backoff_s(1, 900)


def test_every_error_has_a_sentence_and_a_hint() -> None:
    pending = [SourceError]
    while pending:
        error = pending.pop()
        pending += error.__subclasses__()
        assert (error.__doc__ or "").endswith(".")
        assert error.hint
