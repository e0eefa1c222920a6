"""A transfer set written by an OpenAI-compatible endpoint, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from daemon.endpoint import Endpoint, EndpointFailed
from daemon.sections import Elicit

SENTENCES = "1. Velmora is set in Lisbon.\n- In Velmora a baker dreams.\nThis line names nothing.\n"
QUESTIONS = '```json\n{"question": "Who made Velmora?", "answer": "Ostin Brasel"}\n{"question": "Who?", "answer": "x"}\nnot json\n```'


class Site:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.status = 200


@pytest.fixture
def site() -> Iterator[tuple[Site, str]]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            site.asked.append(body)
            site.keys.append(self.headers.get("Authorization"))
            text = QUESTIONS if "JSON" in body["messages"][0]["content"] else SENTENCES
            answer = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
            self.send_response(site.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield site, f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def test_sentences_and_answered_questions_that_name_the_entity_are_taken(site: tuple[Site, str]) -> None:
    seen, url = site
    with Endpoint.of(Elicit(endpoint=url, endpoint_model="writer", endpoint_key="secret")) as endpoint:  # type: ignore[arg-type]
        examples = endpoint.examples("Velmora", "Velmora is a film.", samples=4)
    assert [(e["form"], e["prompt"], e["text"]) for e in examples] == [
        ("plain", "", "Velmora is set in Lisbon."),
        ("plain", "", "In Velmora a baker dreams."),
        ("chat", "Who made Velmora?", "Ostin Brasel"),
    ]
    assert {a["model"] for a in seen.asked} == {"writer"}
    assert set(seen.keys) == {"Bearer secret"}


def test_an_endpoint_that_fails_is_named_without_its_key(site: tuple[Site, str]) -> None:
    seen, url = site
    seen.status = 500
    with Endpoint(url, "writer", key="secret") as endpoint, pytest.raises(EndpointFailed, match="did not write") as caught:
        endpoint.examples("Velmora", "Velmora is a film.", samples=4)
    assert url in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_endpoint_needs_a_model() -> None:
    with pytest.raises(ValueError, match=r"elicit\.endpoint and elicit\.endpoint_model"):
        Elicit(endpoint="http://127.0.0.1:1/v1")  # type: ignore[call-arg]
