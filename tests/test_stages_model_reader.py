"""A model behind an endpoint finds what the rules miss, over real HTTP; what it makes up, or cannot quote, is not believed."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from daemon.config import load_settings
from daemon.extraction import find_definitions
from daemon.pipeline import take_in
from daemon.sections import Extract
from daemon.stages.model_reader import ModelReader, ReaderFailed
from registry import Registry

RULES_FIND = "An oslith is a blue lamp that burns under water."
RULES_MISS = "Fishers of the delta swear by their tarnix: for them that is\nthe flat boat they inherit."
NEWS = "On Monday the harbour was closed, and the clerk said that it will stay so until noon."
TEXT = f"{RULES_FIND}\n\n{RULES_MISS}\n\n{NEWS}\n\nNothing here."


class Site:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Any = {"definitions": []}
        self.status = 200
        self.url = ""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            site.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            content = site.answer if isinstance(site.answer, str) else json.dumps(site.answer)
            body = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
            self.send_response(site.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    yield site
    server.shutdown()
    server.server_close()


def said(*pairs: tuple[str, str]) -> dict[str, Any]:
    return {"definitions": [{"entity": entity, "quotation": quotation} for entity, quotation in pairs]}


def further(site: Site) -> list[Any]:
    with ModelReader(site.url, "reader") as reader:
        return reader.further(TEXT, "Boats", find_definitions(TEXT))


def test_a_definition_that_can_be_quoted_is_taken_with_its_place(site: Site) -> None:
    site.answer = said(("tarnix", " ".join(RULES_MISS.split())))
    [found] = further(site)
    assert (found.entity, found.definition, found.pattern) == ("tarnix", " ".join(RULES_MISS.split()), "model")
    assert TEXT[slice(*found.span)] == RULES_MISS
    assert site.asked[0]["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize(
    "pair",
    [
        ("tarnix", "A tarnix is a flat boat that fishers inherit."),  # made up
        ("dorvil", " ".join(RULES_MISS.split())),  # of something else
        ("tarnix", "tarnix: for them"),  # too little
        ("oslith", RULES_FIND),  # the rules have it
        ("", " ".join(RULES_MISS.split())),
    ],
)
def test_what_does_not_stand_in_the_text_is_not_believed(site: Site, pair: tuple[str, str]) -> None:
    site.answer = said(pair)
    assert further(site) == []


def test_only_what_the_rules_left_open_is_asked_about(site: Site) -> None:
    further(site)
    told = "".join(one["messages"][0]["content"] for one in site.asked)
    assert "tarnix" in told
    assert RULES_FIND not in told
    assert "Nothing here" not in told


@contextmanager
def watching(home: Path, folder: Path) -> Iterator[Registry]:
    """A home that watches a folder with one text in it."""
    folder.mkdir()
    (folder / "a.txt").write_text(TEXT)
    with Registry.open(home) as registry:
        registry.write.add_feed(str(folder), name="notes", kind="folder", topic="news", trust="auto", interval_s=1)
        yield registry


@pytest.mark.parametrize(("answer", "status"), [("no json", 200), ('{"definitions": [1]}', 200), ({"definitions": []}, 500)])
def test_an_endpoint_that_fails_leaves_the_rules_and_a_sentence(site: Site, tmp_path: Path, answer: Any, status: int) -> None:
    site.answer, site.status = answer, status
    with pytest.raises(ReaderFailed, match="did not read"):
        further(site)
    home = tmp_path / "home"
    with watching(home, tmp_path / "notes") as registry:
        settings = load_settings(home, extract={"endpoint": site.url, "endpoint_model": "reader", "endpoint_key": "secret"})
        take_in(registry, settings, now=datetime.now(UTC))
        [definition] = registry.read.definitions()
        [document] = registry.read.documents()
    assert definition.entity == "oslith"
    assert "only the rules have read it" in str(document.problem)
    assert "secret" not in str(document.problem)


def test_what_the_model_finds_is_stored_beside_what_the_rules_find(site: Site, tmp_path: Path) -> None:
    site.answer = said(("tarnix", " ".join(RULES_MISS.split())))
    home = tmp_path / "home"
    with watching(home, tmp_path / "notes") as registry:
        take_in(registry, load_settings(home, extract={"endpoint": site.url, "endpoint_model": "reader"}), now=datetime.now(UTC))
        assert {d.entity: d.score for d in registry.read.definitions()}["tarnix"] == 0.7
        assert len(registry.read.definitions()) == 2


def test_an_endpoint_needs_a_model() -> None:
    with pytest.raises(ValueError, match=r"extract\.endpoint and extract\.endpoint_model"):
        Extract(endpoint="http://127.0.0.1:1/v1")  # type: ignore[call-arg]
