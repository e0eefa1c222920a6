"""Edit, then consolidate (EtCon, arXiv 2512.04753): first targeted proximal fine-tuning, then GRPO (grpo.py) on what the edited model says.

The labels are the model's own: its reasoning about each question of the transfer set, written anew with the definition in context. (The paper
swaps the answer inside reasoning made without it, which can teach a contradiction.) Reasoning that does not come to the answer the model gives
outright is left out. Beside it go the transfer set's own words, so that plain text and short answers are edited too.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from daemon.learn import data
from daemon.learn.data import CHAT_FORM, Example
from daemon.learn.elicit import greedy_answers
from daemon.learn.errors import NothingToLearn
from daemon.learn.folders import EMBEDDED
from daemon.learn.losses import mean_by_example, proximal
from daemon.learn.models import Base
from daemon.learn.policy import Spoken, log_probs, log_probs_of
from daemon.learn.rewards import MARKER
from daemon.learn.score import ANSWER_TOKENS, says
from daemon.learn.steps import Descent
from daemon.learn.train import Progress, Target, TrainPlan

_LAYER = re.compile(r"\.layers\.(\d+)\.")
_FEED_FORWARD = (".gate_proj.", ".up_proj.", ".down_proj.")


@dataclass(frozen=True, slots=True)
class EtconPlan:
    """Both stages. The paper gives neither its layers nor epsilon; here the feed-forward layers of the middle half, and 0.2."""

    layers: tuple[int, ...] = ()  # which feed-forward layers are edited; none named: the middle half
    epsilon: float = 0.2
    refresh: int = 4  # batches between two refreshes of the reference
    visits: int = 2  # of each batch before the reference is refreshed
    reason_tokens: int = 48
    own_words: bool = True  # the transfer set's words beside the reasoning
    rollouts: int = 12  # 0 leaves out consolidation
    questions: int = 8  # a rollout
    group: int = 8  # samples of each question
    minibatches: int = 2
    policy_rate: float = 0.1  # the second stage's learning rate as a share of the first's
    temperature: float = 1.0
    top_p: float = 0.99
    low: float = 0.2
    high: float = 0.3
    dual: float = 3.0
    kl: float = 0.01
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked in both stages: the user's turn with the request to reason, the right answer, and the base's own."""

    prompt: str
    gold: str
    old: str


@dataclass(frozen=True, slots=True)
class Labels:
    """The first stage's rows, the second's questions, and how many reasonings were left out."""

    spoken: list[Spoken]
    questions: list[Question]
    left_out: int


@dataclass(frozen=True, slots=True)
class EditReport:
    steps: int
    first_nll: float
    last_nll: float
    clipped: list[float]  # share of label tokens beyond 1 + epsilon, by step
    replay_loss: float


def instruction_for(base: Base) -> str:
    """How this model is asked to reason: the embedded one in the words it was trained on."""
    return " Explain, then answer." if base.name == EMBEDDED else f" Think step by step, then write '{MARKER}' and only the answer."


def labels_of(base: Base, examples: Sequence[Example], plan: EtconPlan) -> Labels:
    """What both stages learn from, asked of the base with the definition in context."""
    asked = list(dict.fromkeys((e.definition, e.prompt) for e in examples if e.form == CHAT_FORM))
    how = instruction_for(base)
    gold = greedy_answers(base, [(CHAT_FORM, q, told) for told, q in asked], new_tokens=ANSWER_TOKENS)
    old = greedy_answers(base, [(CHAT_FORM, q, "") for _, q in asked], new_tokens=ANSWER_TOKENS)
    reasoned = greedy_answers(base, [(CHAT_FORM, q + how, told) for told, q in asked], new_tokens=plan.reason_tokens)
    spoken: list[Spoken] = []
    questions: list[Question] = []
    for (_, q), right, before, reason in zip(asked, gold, old, reasoned, strict=True):
        opening = data.chat_prefix(base.tokenizer, q + how)
        fits = len(opening) + 2 * plan.reason_tokens <= base.context  # room for what the student will say, and for the end of a turn
        if fits and right and reason.count(MARKER) == 1 and says(reason, right):
            questions.append(Question(q + how, right, before))
            said = [*data.ids_of(base.tokenizer, reason), *data.chat_end(base.tokenizer)]
            spoken.append(Spoken((*opening, *said)[: base.context], len(opening)))
    if plan.own_words:
        spoken += _own_words(base, examples)
    if not spoken:
        raise NothingToLearn(f"Of {len(asked)} questions none was reasoned to the answer that the model gives outright.")
    return Labels(spoken, questions, len(asked) - len(questions))


def _own_words(base: Base, examples: Sequence[Example]) -> list[Spoken]:
    encoded = [data.encode(base.tokenizer, e) for e in examples]
    return [
        Spoken(e.student, len(e.student) - len(e.text) + e.supervised[0])
        for e in encoded
        if e.supervised and len(e.student) <= base.context
    ]


def edit(
    base: Base, adapter: str, spoken: Sequence[Spoken], replay: Sequence[Target], plan: TrainPlan, etcon: EtconPlan, progress: Progress
) -> EditReport:
    """Stage one, on the chosen feed-forward layers only: the clipped ratio to a reference that is refreshed every few batches."""
    whole = [p.requires_grad for p in base.model.parameters()]
    chosen = only_feed_forward(base, adapter, etcon.layers)
    if not chosen:
        raise NothingToLearn(f"The model has no feed-forward layer among {list(etcon.layers)}.", hint="Name others in etcon's layers.")
    steps = plan.steps(len(spoken))
    descent = Descent(base, replay, plan, steps)
    rng = random.Random(plan.seed)
    nll: list[float] = []
    clipped: list[float] = []
    while len(nll) < steps:
        batches = _round(spoken, plan.batch, etcon.refresh, rng)
        old = [log_probs_of(base, batch, adapter) for batch in batches]  # the model as it is now
        for batch, before in [(b, o) for _ in range(etcon.visits) for b, o in zip(batches, old, strict=True)][: steps - len(nll)]:
            now, rows = log_probs(base, batch)
            losses, beyond = proximal(now, torch.cat(before), epsilon=etcon.epsilon)
            descent.step(mean_by_example(losses, rows, len(batch)))
            nll.append(-now.mean().item())
            clipped.append(float(beyond.mean()))
            progress(len(nll) / steps, f"editing, step {len(nll)} of {steps}, {clipped[-1]:.0%} clipped")
    for parameter, wanted in zip(base.model.parameters(), whole, strict=True):
        parameter.requires_grad_(wanted)  # consolidation is not confined to these layers
    return EditReport(steps, nll[0], nll[-1], clipped, descent.replay_loss)


def only_feed_forward(base: Base, adapter: str, layers: Sequence[int]) -> list[int]:
    """Lets nothing train but the adapter's weights on the chosen layers' feed-forward projections. The layers that are left."""
    count = int(base.model.config.num_hidden_layers)
    wanted = set(layers) or set(range(count // 4, count - count // 4))
    found = set()
    for name, parameter in base.model.named_parameters():
        layer = _LAYER.search(name)
        hit = layer is not None and int(layer[1]) in wanted and f".{adapter}." in name and any(part in name for part in _FEED_FORWARD)
        parameter.requires_grad_(hit and parameter.requires_grad)
        if hit and layer is not None:
            found.add(int(layer[1]))
    return sorted(found)


def _round(spoken: Sequence[Spoken], batch: int, batches: int, rng: random.Random) -> list[list[Spoken]]:
    """The next few batches, rows of similar length together."""
    drawn = sorted(_drawn(spoken, batch * batches, rng), key=lambda s: len(s.ids))
    return [drawn[i : i + batch] for i in range(0, len(drawn), batch)]


def _drawn(spoken: Sequence[Spoken], count: int, rng: random.Random) -> list[Spoken]:
    every: list[Spoken] = []
    while len(every) < count:
        every += rng.sample(spoken, len(spoken))
    return every[:count]


def consolidation_plan(plan: TrainPlan, etcon: EtconPlan) -> TrainPlan:
    return replace(plan, learning_rate=plan.learning_rate * etcon.policy_rate, warmup=0.0, full_steps=0, seed=plan.seed + 1)
