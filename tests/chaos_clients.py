"""Who asks while everything goes wrong, and who moves the alias; both write down what became of it, to be judged at the end."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2

from daemon.serving.names import BASE
from registry import RegistryBusy, RegistryNotWritten
from tests.chaos_parts import MOVED, TAUGHT, VERSIONS, World

CLIENTS = 3
TOKENS = 10
PROMPTS = tuple(f"The harbour master wrote down which ships had come. {end}" for end in ("In the morning", "Her brother", "Nobody knew"))
PINNED = tuple(f"{MOVED}@{n}" for n in range(1, VERSIONS + 1))
Key = tuple[str, str]  # the version that the header names, the prompt


@dataclass(frozen=True, slots=True)
class Trouble:
    """A question that got no answer: when it was asked, when that was clear, and how it looked."""

    since: float
    until: float
    what: str


@dataclass
class Seen:
    answers: defaultdict[Key, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    mixed: list[str] = field(default_factory=list)
    "Answers whose header names one version and whose body another."
    refused: list[Trouble] = field(default_factory=list)
    broken: list[Trouble] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    moves: list[tuple[str, bool]] = field(default_factory=list)
    "Every move of the alias that was said to be done: to which version, and whether by a rollback."
    moves_refused: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def total(self) -> int:
        return sum(count for texts in list(self.answers.values()) for count in texts.values())


class Broken(Exception):
    """The answer ended before its end."""


def ask(http: httpx2.Client, url: str, model: str, prompt: str, *, stream: bool = False) -> httpx2.Response:
    wish = {"model": model, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True, "stream": stream}
    return http.post(f"{url}/v1/completions", json=wish)


def text_of(answer: httpx2.Response) -> tuple[str, str]:
    """(the model that the body names, the text). Raises Broken unless the answer is whole."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        body = answer.json()
        return body["model"], body["choices"][0]["text"]
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    if events[-1:] != ["[DONE]"]:
        raise Broken(answer.text[-200:])
    chunks = [json.loads(event) for event in events[:-1]]
    if any("error" in chunk for chunk in chunks):
        raise Broken(answer.text[-200:])
    [model] = {chunk["model"] for chunk in chunks}
    return model, "".join(chunk["choices"][0]["text"] for chunk in chunks)


@contextmanager
def asking(world: World, seen: Seen, seed: int) -> Iterator[None]:
    """Clients that ask again as soon as they were answered, and somebody who moves the alias."""
    over = threading.Event()
    threads = [threading.Thread(target=_client, args=(world, seen, over, random.Random(seed + n)), daemon=True) for n in range(CLIENTS)]
    threads.append(threading.Thread(target=_mover, args=(world, seen, over, random.Random(seed)), daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=130)
        assert not any(thread.is_alive() for thread in threads)


def _client(world: World, seen: Seen, over: threading.Event, chance: random.Random) -> None:
    with httpx2.Client(timeout=120, trust_env=False) as http:
        while not over.wait(0.1):
            model, prompt = _wish(world, seen, chance)
            began = time.monotonic()
            try:
                answer = ask(http, world.gateway_url, model, prompt, stream=chance.random() < 0.5)
                _judge(seen, answer, prompt, began)
            except (httpx2.HTTPError, Broken) as err:
                with seen.lock:
                    seen.broken.append(Trouble(began, time.monotonic(), f"{model}: {type(err).__name__}: {err}"))
                over.wait(0.3)


def _wish(world: World, seen: Seen, chance: random.Random) -> tuple[str, str]:
    """(model, prompt): what was made before by its alias or by name, what is being learnt by its alias or by name, or the base."""
    names = [item.entity for item in list(world.news.items) if item.entity]
    about = f"{chance.choice(names[-5:])} is a film" if names else PROMPTS[0]
    learnt = sorted({adapter for adapter, _ in list(seen.answers) if adapter.startswith(f"{TAUGHT}@")})
    wishes = [(MOVED, chance.choice(PROMPTS))] * 3 + [(BASE, chance.choice(PROMPTS)), (chance.choice(PINNED), chance.choice(PROMPTS))]
    wishes += [(TAUGHT, about), (chance.choice(learnt) if learnt else TAUGHT, about)]
    return chance.choice(wishes)


def _judge(seen: Seen, answer: httpx2.Response, prompt: str, began: float) -> None:
    with seen.lock:
        if answer.status_code == httpx2.codes.OK:
            adapter, (model, text) = answer.headers["x-lorefeed-adapter"], text_of(answer)
            seen.answers[adapter, prompt][text] += 1
            if (model if "@" in model else BASE) != adapter:
                seen.mixed.append(f"{adapter} in the header, {model} in the body")
        elif answer.status_code in (429, 503) and "retry-after" in answer.headers:
            seen.refused.append(Trouble(began, time.monotonic(), answer.text))
        else:
            seen.odd.append(f"{answer.status_code}: {answer.text}")


def _mover(world: World, seen: Seen, over: threading.Event, chance: random.Random) -> None:
    """Forwards by a release, backwards by a rollback."""
    now = str(world.registry.read.alias(MOVED).adapter)
    while not over.wait(chance.uniform(0.5, 2.0)):
        to = chance.choice([name for name in PINNED if name != now])
        back = PINNED.index(to) < PINNED.index(now)
        try:
            if back:
                world.registry.write.rollback(MOVED, to=int(to.partition("@")[2]), actor="test", reason="chaos")
            else:
                world.registry.write.promote(MOVED, to, actor="test", reason="chaos")
        except (RegistryBusy, RegistryNotWritten) as err:
            seen.moves_refused[type(err).__name__] += 1
        else:
            seen.moves.append((to, back))
            now = to
