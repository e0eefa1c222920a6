"""What the learning worker can be asked: each request of worker.py's protocol, from JSON to folders and figures."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from daemon.learn import elicit as eliciting
from daemon.learn import recall, replay, score
from daemon.learn.calibrate import calibration
from daemon.learn.choose import choice
from daemon.learn.data import Example
from daemon.learn.elicit import ElicitPlan, Told
from daemon.learn.errors import TooLong
from daemon.learn.merge import draw_back, merge
from daemon.learn.methods import Lesson
from daemon.learn.models import Base, drop_adapter, load_adapter, using
from daemon.learn.novelty import mean_kl, novelty, said_about
from daemon.learn.split import Article
from daemon.learn.strategies import next_version
from daemon.learn.train import TrainPlan

Json = dict[str, Any]
Progress = Callable[[float, str], None]

LEARNT, PREVIOUS = "learnt", "previous"
_TELLS_NATS = 0.3  # a token, by which the definition must make a probe's target likelier
_SURE_NATS = math.log(2)  # for the whole target: with the definition, the model says it more often than not


class Operations:
    """One base model and the requests that can be made of it. Each public method is a request of the same name."""

    def __init__(self, base: Base, cache: Path) -> None:
        self._base, self._cache = base, cache
        self._base_said: dict[score.Ask, Json] = {}
        self._strangers: tuple[tuple[Told, ...], dict[str, list[Example]]] | None = None
        self._replay: tuple[list[list[int]], list[list[int]]] | None = None
        self._recall: list[list[int]] | None = None

    def hello(self, request: Json, progress: Progress) -> Json:
        return {
            "model": self._base.name,
            "base_digest": self._base.digest,
            "context": self._base.context,
            "device": str(self._base.device),
            "threads": torch.get_num_threads(),
        }

    def novelty(self, request: Json, progress: Progress) -> Json:
        """Novelty by definition id; a definition that the model cannot take is answered with the reason instead."""
        fitting, too_long = self._fitting(_told(request["definitions"]))
        with self._loaded(request.get("adapter")) as adapter:
            found = novelty(self._base, fitting, ElicitPlan(**request.get("plan", {})), adapter=adapter)
        return {"novelty": {str(id_): value for id_, value in found.items()}, "too_long": too_long}

    def calibrate(self, request: Json, progress: Progress) -> Json:
        """The novelty below which this base knows a thing already, and how well that tells known from new."""
        found = calibration(self._base, self._cache)
        return {"threshold": found.threshold, "told_apart": found.told_apart}

    def choose(self, request: Json, progress: Progress) -> Json:
        """The method that teaches this base best, and its learning rate; every run is kept in the cache."""
        found = choice(self._base, self._cache, TrainPlan(**request["plan"]), progress)
        return {
            "method": found.method,
            "learning_rate": found.learning_rate,
            "recovered": found.recovered,
            "within_budget": found.within_budget,
        }

    def elicit(self, request: Json, progress: Progress) -> Json:
        """Transfer sets and the probes held out of them, by definition id; a probe's target is the greedy answer with the definition in context."""
        told = _told(request["definitions"])
        plan = ElicitPlan(**request.get("plan", {}))
        drawn = eliciting.elicit(self._base, told, plan)
        progress(0.7, "choosing what to hold out")
        return {"definitions": self._held_out(told, drawn, plan.seed), "generator": f"self:{self._base.digest[:12]}"}

    def hold_out(self, request: Json, progress: Progress) -> Json:
        """The same for examples that somebody else wrote."""
        told = _told(request["definitions"])
        drawn = {
            t.id: [Example(t.entity, t.definition, e["form"], e["prompt"], e["text"]) for e in request["examples"][str(t.id)]] for t in told
        }
        return {"definitions": self._held_out(told, drawn, ElicitPlan(**request.get("plan", {})).seed)}

    def learn(self, request: Json, progress: Progress) -> Json:
        """Trains `examples` beside the `rehearsed` ones by `method`, as the version that follows the parent (or the first), and
        writes a PEFT folder to `out`."""
        plan = TrainPlan(**request.get("plan", {}))
        started = time.monotonic()
        lesson = Lesson(
            [Example(**e) for e in request["examples"]],
            [Example(**e) for e in request.get("rehearsed", ())],
            [Article(**a) for a in request.get("articles", ())],
        )
        parent = Path(request["parent"]) if request.get("parent") else None
        method = request.get("method", "context")
        rows, recalled = (
            (self._rows()[0], self._recalled()) if plan.replay_weight or plan.kl_max or plan.init != "random" else ([], [])
        )  # slow the first time
        learned = next_version(
            self._base,
            lesson,
            rows,
            plan,
            progress,
            out=Path(request["out"]),
            base_name=request["base_name"],
            name=LEARNT,
            parent=parent,
            strategy=request.get("strategy", "warm"),
            way=request.get("way", "sum"),
            method=method,
            options=request.get("options"),
            recalled=recalled,
        )
        report = learned.report
        return {
            "steps": report.steps, "examples": report.examples, "first_loss": report.first_loss, "last_loss": report.last_loss,
            "replay_loss": report.replay_loss, "seconds": time.monotonic() - started, "method": method, "details": learned.details,
        }  # fmt: skip

    def draw_back(self, request: Json, progress: Progress) -> Json:
        """Writes a gentler form of an adapter to `out`: `strength` of the way from its parent (or from nothing) to what it became."""
        parent = Path(request["parent"]) if request.get("parent") else None
        draw_back(Path(request["adapter"]), parent, strength=float(request["strength"]), out=Path(request["out"]))
        return {"strength": float(request["strength"])}

    def merge(self, request: Json, progress: Progress) -> Json:
        """Writes several adapters as one to `out`."""
        folders = [Path(folder) for folder in request["adapters"]]
        merged = merge(folders, Path(request["out"]), rank_max=int(request["rank_max"]), way=request.get("way", "sum"))
        return {"rank": merged.rank, "kept": merged.kept}

    def check(self, request: Json, progress: Progress) -> Json:
        """Asks every probe of the base, of the base with the definition in context, of the adapter and of the version before it; and how new
        to the adapter the strangers are, which are things that nobody has told it."""
        asks = [
            score.Ask(p["prompt"], p["target"], p["chat"], p.get("context", ""), tuple(p.get("candidates", ()))) for p in request["probes"]
        ]
        measured: Json = {"base": self._of_base(asks), "in_context": self._of_base(asks, in_context=True)}
        progress(0.4, f"asked the base {len(asks)} questions")
        with self._loaded(request["adapter"]) as adapter:
            measured["adapter"] = self._measure(asks, adapter)
            progress(0.8, "asked the adapter")
            _, held_out = self._rows()
            far = score.distances(self._base, held_out, adapter=str(adapter))
            strangers = self._of_strangers(request["strangers"])
            new = [{"entity": name, "novelty": mean_kl(self._base, said, adapter)} for name, said in strangers.items()]
        if request.get("previous"):
            own = [i for i, ask in enumerate(asks) if ask.context]  # of the others nobody asks what the version before said
            with self._loaded(request["previous"], name=PREVIOUS) as previous:
                said = dict(zip(own, self._measure([asks[i] for i in own], previous), strict=True))
            measured["previous"] = [said.get(i) for i in range(len(asks))]
        return {
            "measured": measured,
            "local": [
                {"text": text, "kl": d.kl, "same": d.same, "tokens": d.tokens} for text, d in zip(self._texts(held_out), far, strict=True)
            ],
            "strangers": new,
            "finite": all(math.isfinite(d.kl) for d in far) and all(math.isfinite(m["nll"]) for m in measured["adapter"]),
        }

    def ask(self, request: Json, progress: Progress) -> Json:
        """Greedy answers to free questions, with an adapter or with a definition in context."""
        asks = [score.Ask(a["prompt"], "", a.get("chat", True), a.get("context", "")) for a in request["asks"]]
        with self._loaded(request.get("adapter")) as adapter:
            return {"answers": score.answers(self._base, asks, adapter=adapter, in_context=bool(request.get("in_context")))}

    def _held_out(self, told: list[Told], drawn: dict[int, list[Example]], seed: int) -> Json:
        answer: Json = {}
        for each in told:
            taught, aside = eliciting.hold_out(drawn[each.id], share=0.25, at_most=6, seed=seed + each.id)
            answer[str(each.id)] = {"examples": [_as_json(e) for e in taught], "probes": self._probes(aside)}
        return answer

    def _fitting(self, told: list[Told]) -> tuple[list[Told], dict[str, str]]:
        fitting, too_long = [], {}
        for each in told:
            try:
                eliciting.check_lengths(self._base, [each])
                fitting.append(each)
            except TooLong as err:
                too_long[str(each.id)] = str(err)
        return fitting, too_long

    def _probes(self, aside: list[Example]) -> list[Json]:
        asked = [(e.form, e.prompt, e.definition) for e in aside if e.form == "chat"]
        targets = eliciting.greedy_answers(self._base, asked, new_tokens=score.ANSWER_TOKENS)
        chats = [e for e in aside if e.form == "chat"]
        probes = [{"kind": "paraphrase", "prompt": e.prompt, "target": t, "chat": True} for e, t in zip(chats, targets, strict=True) if t]
        return self._telling([*{p["prompt"]: p for p in probes}.values(), *_cloze(e for e in aside if e.form == "plain")], aside)

    def _telling(self, probes: list[Json], aside: list[Example]) -> list[Json]:
        """The probes whose target the definition makes clearly likelier, and which the model then says more often than not: on the others there
        is nothing to measure, or chance decides. Where none is so sure, the surest few of what the definition tells."""
        asks = [score.Ask(p["prompt"], p["target"], p["chat"], aside[0].definition) for p in probes]
        without, reading = score.likelihoods(self._base, asks), score.likelihoods(self._base, asks, in_context=True)
        telling = [(c.nll, i) for i, (b, c) in enumerate(zip(without, reading, strict=True)) if b.mean - c.mean > _TELLS_NATS]
        sure = [i for unsure, i in telling if unsure < _SURE_NATS] or [i for _, i in sorted(telling)[:3]]
        return [probes[i] for i in sure] or probes

    def _measure(self, asks: list[score.Ask], adapter: str | None, *, in_context: bool = False) -> list[Json]:
        answers = score.answers(self._base, asks, adapter=adapter, in_context=in_context)
        likely = score.likelihoods(self._base, asks, adapter=adapter, in_context=in_context)
        return [
            {"answer": a, "right": score.says(a, ask.target), "nll": one.nll, "tokens": one.tokens}
            for ask, a, one in zip(asks, answers, likely, strict=True)
        ]

    def _of_base(self, asks: list[score.Ask], *, in_context: bool = False) -> list[Json]:
        """What the base says, which never changes: asked once, and a probe without a definition is the same in context."""
        keys = [ask if in_context else replace(ask, context="") for ask in asks]
        missing = [key for key in dict.fromkeys(keys) if key not in self._base_said]
        self._base_said |= dict(zip(missing, self._measure(missing, None, in_context=True), strict=True))
        return [self._base_said[key] for key in keys]

    def _of_strangers(self, rows: list[Json]) -> dict[str, list[Example]]:
        """What the base says about things that nobody has told it; every check asks about the same ones, so it is written once."""
        told, _ = self._fitting(_told(rows))
        key = tuple(told)
        if self._strangers is None or self._strangers[0] != key:
            said = said_about(self._base, told, ElicitPlan())
            self._strangers = (key, {t.entity: said[t.id] for t in told})
        return self._strangers[1]

    def _texts(self, rows: list[list[int]]) -> list[str]:
        return [str(self._base.tokenizer.decode(row, skip_special_tokens=True)) for row in rows]

    def _rows(self) -> tuple[list[list[int]], list[list[int]]]:
        if self._replay is None:
            self._replay = replay.split(replay.replay_rows(self._base, self._cache))
        return self._replay

    def _recalled(self) -> list[list[int]]:
        if self._recall is None:
            self._recall = recall.recall_rows(self._base, self._cache)
        return self._recall

    def _loaded(self, folder: str | None, *, name: str = LEARNT) -> "_Loaded":
        return _Loaded(self._base, folder, name)


class _Loaded:
    """An adapter for the length of a `with`, or none."""

    def __init__(self, base: Base, folder: str | None, name: str) -> None:
        self._base, self._folder, self._name = base, folder, name

    def __enter__(self) -> str | None:
        if self._folder is None:
            return None
        drop_adapter(self._base, self._name)
        load_adapter(self._base, self._name, Path(self._folder))
        with using(self._base, self._name):
            return self._name

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            drop_adapter(self._base, self._name)


def _told(rows: list[Json]) -> list[Told]:
    return [Told(int(r["id"]), r["entity"], r["definition"]) for r in rows]


def _as_json(e: Example) -> Json:
    return {"form": e.form, "prompt": e.prompt, "text": e.text}


def _cloze(plain: Iterable[Example]) -> list[Json]:
    """Held-out sentences without their last words."""
    parts = [found for e in plain if (found := eliciting.cloze(e.text)) is not None]
    return [{"kind": "direct", "prompt": left, "target": last, "chat": False} for left, last in parts]
