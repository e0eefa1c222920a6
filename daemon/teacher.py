"""The learning worker seen from the service: starts it, asks it, stops it. Imports no torch.

One worker process serves the requests of one job, so torch and the model are loaded once per job. Closing kills it.
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from daemon.config import Settings
from daemon.errors import Stopped, WorkerFailed

Json = dict[str, Any]
Progress = Callable[[float, str], None]


def silent(fraction: float, text: str) -> None:
    """Progress that nobody watches."""


class Teacher:
    """Requests to one learning worker. Methods raise WorkerFailed with the worker's own sentence, or Stopped once `stop` is set."""

    def __init__(
        self,
        model: str,
        *,
        revision: str | None,
        cache: Path,
        timeout_s: float,
        threads: int | None = None,
        gpu_memory_share: float | None = None,
        begin: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
        progress: Progress = silent,
        stop: threading.Event | None = None,
    ) -> None:
        """`begin` is called before the process starts, `end` when it has ended."""
        self._command = [sys.executable, "-m", "daemon.learn.worker", "--model", model, "--cache", str(cache), "--parent", str(os.getpid())]
        if revision:
            self._command += ["--revision", revision]
        if threads is not None:
            self._command += ["--threads", str(threads)]
        if gpu_memory_share is not None:
            self._command += ["--gpu-memory-share", str(gpu_memory_share)]
        self._timeout_s, self.progress, self._stop = timeout_s, progress, stop or threading.Event()
        self._begin, self._end = begin, end
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._complaints: list[str] = []
        self._facts: Json | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        begin: Callable[[], None] = lambda: None,
        end: Callable[[], None] = lambda: None,
        progress: Progress = silent,
        stop: threading.Event | None = None,
    ) -> Self:
        """A worker for the configured model, which keeps what it may compute again in the home's cache."""
        learn = settings.learn
        return cls(
            settings.model, revision=settings.revision, cache=settings.home / "cache", timeout_s=learn.timeout_s, threads=learn.threads,
            gpu_memory_share=learn.gpu_memory_share, begin=begin, end=end, progress=progress, stop=stop,
        )  # fmt: skip

    @property
    def facts(self) -> Json:
        """`model, base_digest, context, device` of the loaded base, and the `threads` it computes in."""
        if self._facts is None:
            self._facts = self._ask({"op": "hello"})
        return self._facts

    @property
    def base_digest(self) -> str:
        return str(self.facts["base_digest"])

    def novelty(self, definitions: list[Json], *, adapter: Path | None) -> tuple[dict[int, float], dict[int, str]]:
        """(novelty by id, sentence by id of those that the model cannot take)."""
        answer = self._ask({"op": "novelty", "definitions": definitions, "adapter": adapter and str(adapter)})
        return {int(i): float(v) for i, v in answer["novelty"].items()}, {int(i): str(v) for i, v in answer["too_long"].items()}

    def calibrate(self) -> tuple[float, float]:
        """(the novelty in nats a token below which the base knows a thing already, the chance that a new thing scores above a known one)."""
        answer = self._ask({"op": "calibrate"})
        return float(answer["threshold"]), float(answer["told_apart"])

    def choose(self, plan: Json) -> Json:
        """`method`, `learning_rate`, `recovered`, `within_budget`: what teaches this base best, measured at its first use."""
        return self._ask({"op": "choose", "plan": plan})

    def elicit(self, definitions: list[Json], *, plan: Json) -> Json:
        return self._ask({"op": "elicit", "definitions": definitions, "plan": plan})

    def hold_out(self, definitions: list[Json], *, examples: dict[int, list[Json]], plan: Json) -> Json:
        """As `elicit`, with examples that somebody else wrote."""
        return self._ask({"op": "hold_out", "definitions": definitions, "examples": {str(i): e for i, e in examples.items()}, "plan": plan})

    def learn(
        self,
        *,
        out: Path,
        parent: Path | None,
        base_name: str,
        examples: list[Json],
        plan: Json,
        rehearsed: Sequence[Json] = (),
        method: str = "context",
        articles: Sequence[Json] = (),
        strategy: str = "warm",
    ) -> Json:
        """`articles`: texts of several sentences, for the method that learns from documents. `strategy`: how it follows the parent."""
        return self._ask(
            {
                "op": "learn",
                "out": str(out),
                "parent": parent and str(parent),
                "base_name": base_name,
                "examples": examples,
                "rehearsed": list(rehearsed),
                "plan": plan,
                "method": method,
                "articles": list(articles),
                "strategy": strategy,
            }
        )

    def draw_back(self, *, adapter: Path, parent: Path | None, strength: float, out: Path) -> Json:
        """A gentler form of an adapter, without training."""
        return self._ask(
            {"op": "draw_back", "adapter": str(adapter), "parent": parent and str(parent), "strength": strength, "out": str(out)}
        )

    def merge(self, *, adapters: Sequence[Path], out: Path, rank_max: int, way: str = "sum") -> Json:
        """The adapters as one; `rank` and `kept`, the share of its squared norm that is left at that rank."""
        folders = [str(folder) for folder in adapters]
        return self._ask({"op": "merge", "adapters": folders, "out": str(out), "rank_max": rank_max, "way": way})

    def check(self, *, adapter: Path, previous: Path | None, probes: list[Json], strangers: list[Json]) -> Json:
        previous_folder = previous and str(previous)
        return self._ask({"op": "check", "adapter": str(adapter), "previous": previous_folder, "probes": probes, "strangers": strangers})

    def ask(self, asks: list[Json], *, adapter: Path | None = None, in_context: bool = False) -> list[str]:
        return list(self._ask({"op": "ask", "asks": asks, "adapter": adapter and str(adapter), "in_context": in_context})["answers"])

    def start(self) -> None:
        """Starts the process, so that it loads while something else goes on."""
        if self._process is not None:
            return
        self._begin()
        self._lines = queue.Queue()  # the one before may still come to hear that its process ended
        # threads of torch that wait for one another actively take a busy machine's cores from the very thread they wait for: five times as slow
        environment = {"OMP_WAIT_POLICY": "passive", **os.environ, "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
            )
        except BaseException:
            self._end()
            raise
        threading.Thread(target=self._read_answers, args=(self._process, self._lines), daemon=True).start()
        threading.Thread(target=self._read_complaints, args=(self._process,), daemon=True).start()

    def close(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        _close_input(process)
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, request: Json) -> Json:
        self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the worker is gone: its last answer, or its last words, say why
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        waited = 0.0
        while True:
            if self._stop.is_set():
                self.close()
                raise Stopped(f"Stopped while the learning worker was at {request['op']!r}.")
            try:
                line = self._lines.get(timeout=0.2)
            except queue.Empty:
                waited += 0.2
                if waited > self._timeout_s:
                    self.close()
                    raise WorkerFailed(
                        f"The learning worker gave no sign of life for {self._timeout_s:.0f} s at {request['op']!r}."
                    ) from None
                continue
            waited = 0.0
            if line is None:
                raise self._death(str(request["op"]))
            message = json.loads(line)
            if "progress" in message:
                self.progress(float(message["progress"]), str(message["text"]))
            elif "error" in message:
                raise WorkerFailed(message["error"]["message"], hint=message["error"]["hint"])
            else:
                return dict(message["result"])

    def _death(self, op: str) -> WorkerFailed:
        process, self._process = self._process, None
        code = process.wait() if process is not None else None
        if process is not None:
            _close_input(process)
        self._end()
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        last = next((c for c in reversed(self._complaints) if c.strip()), "it said nothing")
        return WorkerFailed(f"The learning worker {how} at {op!r}; its last words: {last.strip()}")

    def _read_answers(self, process: subprocess.Popen[str], answers: "queue.Queue[str | None]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                answers.put(line)
        answers.put(None)

    def _read_complaints(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self._complaints = [*self._complaints[-40:], line]


def _close_input(process: subprocess.Popen[str]) -> None:
    """The two readers close the other pipes."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # what was not yet read is of no use to a dead worker
            process.stdin.close()
