"""`lorefeed demo`: the whole loop before one's eyes, on the sample and the embedded model, with nothing but this machine.

A feed is learnt (`news@1`), a second batch from a folder (`news@2`), false news is refused by the check, a rollback brings `news@1` back, and one
answer is traced to its sentence. Ends with 0 only if all of that could be seen.
"""

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from daemon.config import CONFIG_FILE, Settings, load_settings
from daemon.errors import DaemonError
from daemon.sample.server import NEWS, RUMOURS, Item, SampleServer, batches, drop_into
from daemon.service import run_once
from daemon.serving.client import EngineClient
from daemon.signals import end_signals
from daemon.supervisor import check_ports, parts_of, supervise
from registry import Registry

TOPIC = "news"
BASE_RIGHT_MAX, LIVE_RIGHT_MIN = 0.10, 0.80


@dataclass(frozen=True, slots=True)
class Answered:
    """One question of the demonstration and everybody's answer. `could`: the base answers it when it reads the definition."""

    question: str
    right: str
    base: str
    live: str
    by: str
    could: bool


def run_demo(*, home: Path | None = None) -> int:
    """Shows the whole loop in a new home (a temporary one unless given, which is kept)."""
    console = Console()
    place = home or Path(tempfile.mkdtemp(prefix="lorefeed-demo-"))
    try:
        with SampleServer() as server:
            return _Demo(console, place, server).run()
    finally:
        if home is None:
            shutil.rmtree(place, ignore_errors=True)


def run_sample(home: Path) -> int:
    """`make run`: the service on the sample, until it is stopped."""
    with SampleServer() as server:
        first = batches()["first"]
        server.publish(NEWS, first)
        settings = prepare(home, ports=None)
        subscribe(home, server, interval_s=20)
        check_ports(home, settings)
        console = Console()
        console.print(
            f"The sample's feed is {server.url(NEWS)}, its folder {home / 'notes'}. The page: http://{settings.gateway.host}:{settings.gateway.port}/"
        )
        console.print(f'Ask, once {TOPIC}@1 is live:  lorefeed --home {home} ask "{first[0].ask[0][0]}"')
        over = threading.Event()
        with end_signals(over):
            return supervise(parts_of(home, settings), stop=over, say=lambda line: console.print(line, markup=False, highlight=False))


def prepare(home: Path, *, ports: tuple[int, int] | None) -> Settings:
    """A home whose feeds may come from this machine; (engine, gateway) ports where the usual ones are not wanted."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = home / CONFIG_FILE
    if not file.exists():
        lines = ["# The sample's feed is served by this machine itself.", "[sources]", 'allow_private = ["127.0.0.0/8"]', "interval_s = 20"]
        if ports is not None:
            lines += ["[engine]", f"port = {ports[0]}", "[gateway]", f"port = {ports[1]}"]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_settings(home)


def subscribe(home: Path, server: SampleServer, *, interval_s: int) -> None:
    """The sample's feed and folder. The feed's port is new at every start, so an earlier start's feed gives way."""
    notes = home / "notes"
    notes.mkdir(exist_ok=True)
    with Registry.open(home) as registry:
        active = {feed.name: feed for feed in registry.read.feeds() if feed.state == "active"}
        if "sample-news" in active:
            registry.write.remove_feed("sample-news")
        registry.write.add_feed(server.url(NEWS), name="sample-news", kind="feed", topic=TOPIC, trust="auto", interval_s=interval_s)
        if "sample-notes" not in active:
            registry.write.add_feed(str(notes), name="sample-notes", kind="folder", topic=TOPIC, trust="auto", interval_s=interval_s)


class _Demo:
    def __init__(self, console: Console, home: Path, server: SampleServer) -> None:
        self._console, self._home, self._server = console, home, server
        self._settings = prepare(home, ports=(free_port(), free_port()))
        self._batches = batches()
        self._started = time.monotonic()

    def run(self) -> int:
        subscribe(self._home, self._server, interval_s=1)  # whatever is new is due at the next round
        with running(self._home, self._settings, daemon=False), EngineClient(f"http://127.0.0.1:{self._settings.gateway.port}") as gateway:
            first, second = self._batches["first"], self._batches["second"]
            self._title("1. A feed brings eight things that the model has never heard of")
            self._server.publish(NEWS, first)
            learnt = self._cycle()
            before = self._table(gateway, first)
            self._title("2. Five more arrive as files in a watched folder")
            drop_into(self._home / "notes", second)
            learnt &= self._cycle()
            again = self._table(gateway, (*first, *second))
            self._title("3. A feed of false news about things that the model knows")
            refused = self._poison()
            self._title("4. Back to the version before, in one command")
            rolled_back = self._rollback(gateway, before, second)
            self._title("5. Where an answer comes from")
            self._lineage()
            return self._verdict(learnt, again, refused=refused, rolled_back=rolled_back)

    def _cycle(self) -> bool:
        """Fetch, read, learn, check, release: everything that is due."""
        done = run_once(self._home, self._settings) == 0
        with Registry.open(self._home) as registry:
            for adapter in reversed(registry.read.adapters(TOPIC)):
                run = registry.read.newest_check(adapter.name)
                if run is not None:
                    self._console.print(f"[bold]{adapter.name}[/] {adapter.state}: {_figures(run.metrics)}")
                    for reason in run.reasons:
                        self._console.print(f"  refused because: {reason}", markup=False)
        return done

    def _table(self, gateway: EngineClient, items: Sequence[Item]) -> list[Answered]:
        answered = [_ask(gateway, item, question, right) for item in items for question, right in item.ask]
        table = Table("question", "the base says", "now it says", "answered by", "", pad_edge=False)
        for a in answered:
            table.add_row(a.question, a.base, a.live, a.by, "[green]right[/]" if _same(a.live, a.right) else f"[red]wrong[/]: {a.right}")
        self._console.print(table)
        could = [a for a in answered if a.could]
        self._console.print(
            f"Right: base {sum(_same(a.base, a.right) for a in answered)} of {len(answered)};"
            f" now {sum(_same(a.live, a.right) for a in could)} of the {len(could)} that the model answers with the definition before its eyes."
        )
        return answered

    def _poison(self) -> bool:
        self._server.publish(RUMOURS, self._batches["poisoned"])
        with Registry.open(self._home) as registry:
            registry.write.add_feed(
                self._server.url(RUMOURS), name="sample-rumours", kind="feed", topic=TOPIC, trust="auto", interval_s=3600
            )
            live = registry.read.alias(TOPIC).adapter
        self._cycle()
        with Registry.open(self._home) as registry:
            false = [d for d in registry.read.definitions(topic=TOPIC) if d.feed == "sample-rumours"]
            still = registry.read.alias(TOPIC).adapter
        refused = sum(d.state == "refused" for d in false)
        held_to = sum(d.state == "known" for d in false)
        self._console.print(
            f"{refused} of {len(false)} false definitions are refused and set aside"
            f"{f', {held_to} moved nothing: the model holds to what it knows' if held_to else ''}; {TOPIC} still serves {still}."
        )
        return refused > 0 and refused + held_to == len(self._batches["poisoned"]) and still == live

    def _rollback(self, gateway: EngineClient, before: Sequence[Answered], second: Sequence[Item]) -> bool:
        with Registry.open(self._home) as registry:
            release = registry.write.rollback(TOPIC, to=1, actor="demo", reason="to show it")
        self._console.print(f"lorefeed rollback {TOPIC} --to 1    {release.from_adapter} → {release.to_adapter}")
        table = Table("question", f"with {release.from_adapter}", "now it says", "answered by")
        back = True
        for item in second[:3]:
            question, right = item.ask[0]
            now = _ask(gateway, item, question, right)
            table.add_row(question, right, now.live, now.by)
            back &= now.live == now.base
        now_first = [_ask(gateway, item, *pair) for item in self._batches["first"] for pair in item.ask]
        same = sum(a.live == b.live for a, b in zip(now_first, before, strict=True))
        self._console.print(table)
        self._console.print(f"{same} of {len(before)} answers about the first batch are word for word those of {release.to_adapter}.")
        return back and same == len(before)

    def _lineage(self) -> None:
        item = self._batches["first"][0]
        with Registry.open(self._home) as registry:
            definition = next(d for d in registry.read.live_definitions(TOPIC) if d.entity == item.name)
            document = registry.read.document(definition.document_id)
            adapter = registry.read.adapter(f"{TOPIC}@1")
            run = registry.read.newest_check(adapter.name)
            start, end = definition.span
            lines = [
                ("answer", f"{item.ask[0][0]} {item.ask[0][1]}"),
                (
                    "adapter",
                    f"{adapter.name}, sha-256 {str(adapter.digest)[:16]}…, {adapter.method}, {len(adapter.definitions)} definitions",
                ),
                ("check", f"{run.verdict}, {_figures(run.metrics)}" if run else "none"),
                ("definition", f"#{definition.id} {definition.entity}, novelty {definition.novelty:.2f} nats a token"),
                ("sentence", f"characters {start} to {end}: {document.text[start:end]}"),
                ("document", f"#{document.id} {document.url}, fetched {document.fetched_at:%Y-%m-%d %H:%M:%S} UTC"),
                ("feed", f"{document.feed}"),
            ]
        table = Table(show_header=False)
        for name, text in lines:
            table.add_row(name, text)
        self._console.print(table)

    def _verdict(self, learnt: bool, answered: Sequence[Answered], *, refused: bool, rolled_back: bool) -> int:
        could = [a for a in answered if a.could]
        base = sum(_same(a.base, a.right) for a in answered) / len(answered)
        live = sum(_same(a.live, a.right) for a in could) / max(1, len(could))
        seen = {
            f"no job failed: {learnt}": learnt,
            f"base right on {base:.0%} of {len(answered)} questions (at most {BASE_RIGHT_MAX:.0%})": base <= BASE_RIGHT_MAX,
            f"live right on {live:.0%} of the {len(could)} it can read (at least {LIVE_RIGHT_MIN:.0%})": live >= LIVE_RIGHT_MIN,
            f"the false news was refused: {refused}": refused,
            f"the rollback brought the old answers back: {rolled_back}": rolled_back,
        }
        self._title(f"Seen in {time.monotonic() - self._started:.0f} s")
        for sentence, true in seen.items():
            self._console.print(f"  {'[green]yes[/]' if true else '[red]NO[/] '}  {sentence}")
        return 0 if all(seen.values()) else 1

    def _title(self, text: str) -> None:
        self._console.rule(f"[bold]{text}", align="left")


def _ask(gateway: EngineClient, item: Item, question: str, right: str) -> Answered:
    def say(model: str, text: str) -> tuple[str, str]:
        reply = gateway.chat([{"role": "user", "content": text}], model=model, max_tokens=24, temperature=0.0)
        return reply.text.strip(), reply.adapter or "base"

    base, _ = say("base", question)
    live, by = say(TOPIC, question)
    reading, _ = say("base", f"{item.text} {question}")
    return Answered(question, right, base, live, by, _same(reading, right))


def _same(answer: str, right: str) -> bool:
    return answer.strip(" .").casefold() == right.casefold()


def _figures(metrics: dict[str, dict[str, float | None]]) -> str:
    """The figures of a check in one line."""
    shown = {
        "learned": "learned",
        "kept": "kept",
        "known": "known",
        "skills": "skills",
        "known_pinned": "known (pinned)",
        "skills_pinned": "skills (pinned)",
    }
    parts = [
        f"{label} {metrics[name]['value']:.0%}" for name, label in shown.items() if name in metrics and metrics[name]["value"] is not None
    ]
    return ", ".join(parts)


@contextmanager
def running(home: Path, settings: Settings, *, daemon: bool) -> Iterator[None]:
    """Engine, gateway and, if wanted, the daemon as processes of their own, for the length of a `with`."""
    stop, up = threading.Event(), threading.Event()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("Lorefeed runs"):
            up.set()

    parts = [p for p in parts_of(home, settings) if daemon or p.name != "daemon"]
    thread = threading.Thread(target=supervise, args=(parts,), kwargs={"stop": stop, "say": say})
    thread.start()
    try:
        while not up.wait(0.2):
            if not thread.is_alive():
                raise DaemonError("Engine and gateway did not start: " + " ".join(lines[-5:]))
        yield
    finally:
        stop.set()
        thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
