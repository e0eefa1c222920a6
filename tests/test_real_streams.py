"""The main job on real input: a glossary's history as a feed and security advisories as a folder, through `run --once`. Slow; data read in place."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from daemon.config import CONFIG_FILE
from registry import Registry, normal_text

DATA = Path(__file__).parents[2] / "shared" / "data"
LIMIT = int(os.environ.get("LOREFEED_STREAM_LIMIT", "0")) or None

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not DATA.is_dir(), reason=f"The third-party sets are not at {DATA}."),
]


def rows(name: str) -> list[dict[str, Any]]:
    lines = (DATA / name / "open.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines][:LIMIT]


@contextmanager
def feed_of(events: list[dict[str, Any]]) -> Iterator[str]:
    """The events as one RSS feed, oldest first, an item each."""
    items = "".join(
        f"<item><guid>{escape(e['id'])}</guid><title>{escape(e['term'])}</title><link>https://glossary.example/{escape(e['doc_id'])}</link>"
        f"<pubDate>{format_datetime(datetime.fromisoformat(e['t']))}</pubDate><description>{escape(e['text'])}</description></item>"
        for e in events
    )
    body = f'<?xml version="1.0"?><rss version="2.0"><channel><title>Glossary</title>{items}</channel></rss>'.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/rss+xml")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/glossary.xml"
    finally:
        server.shutdown()
        server.server_close()


def lorefeed(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "daemon.cli", "--home", str(home), *arguments], capture_output=True, text=True)


def test_two_real_streams_run_through_the_whole_flow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, folder = tmp_path / "home", tmp_path / "advisories"
    home.mkdir()
    folder.mkdir()
    (home / CONFIG_FILE).write_text('[sources]\nallow_private = ["127.0.0.0/8"]\n')
    events = [e for e in rows("stream_cncf_glossary") if e["op"] != "delete"]
    advisories = rows("stream_rustsec")
    for advisory in advisories:
        (folder / f"{advisory['id'].split(':')[-1]}.md").write_text(advisory["text"], encoding="utf-8")
    with feed_of(events) as url:
        assert lorefeed(home, "feeds", "add", url, "--name", "glossary", "--topic", "cloud").returncode == 0
        assert lorefeed(home, "feeds", "add", str(folder), "--name", "advisories", "--topic", "security").returncode == 0
        done = lorefeed(home, "run", "--once")
    with capsys.disabled():
        sys.stdout.write("\n" + done.stderr[-2000:] + "\n")
    assert done.returncode == 0, done.stderr[-3000:]
    with Registry.open(home) as registry:
        documents = Counter(d.feed for d in registry.read.documents())
        definitions = Counter((d.topic, str(d.state)) for d in registry.read.definitions())
        verdicts = {a.name: (str(a.state), a.recovered) for a in registry.read.adapters()}
        assert registry.doctor() == []
    with capsys.disabled():
        sys.stdout.write(f"documents {dict(documents)}\ndefinitions {dict(definitions)}\nadapters {verdicts}\n")
    assert documents["advisories"] == len({a["text"] for a in advisories})
    assert documents["glossary"] == len({(e["term"], normal_text(e["text"])) for e in events})
    assert verdicts
    assert all(state in {"live", "retired", "refused"} for state, _ in verdicts.values())
