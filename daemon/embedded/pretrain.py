"""Makes the embedded model from nothing: tokenizer, training, export. Resumable and seeded.

    python -m daemon.embedded.pretrain --corpus DIR --work DIR [--tokens 18e6]
    python -m daemon.embedded.pretrain --corpus DIR --work DIR --after MODEL    # a second phase, from another run's model

With glibc, MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=20000000000 keeps freed memory: without, a third of the processors' time
went to the kernel's zeroing of pages.

A step's batch depends only on the seed and the step's number, so a run that was killed goes on as if it had not been. Writes `WORK/curve.jsonl`
(a line per report) and, at the end and at each checkpoint, a Hugging Face folder `WORK/model`. Evaluation is in `evaluate.py`.
"""

import argparse
import json
import logging
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from daemon.embedded import world
from daemon.embedded.corpus import Corpus
from daemon.embedded.cross_entropy import chunked_cross_entropy
from daemon.learn import calibrate, recall, replay
from daemon.learn.models import load_base
from daemon.learn.optimisers import Muon
from daemon.learn.questions import EMBEDDED_THINGS

log = logging.getLogger("pretrain")

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
SYSTEM = "<|system|>"
SPECIAL = (PAD, BOS, EOS, SYSTEM, world.USER, world.ASSISTANT, world.END)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the result. Lengths are in tokens."""

    seed: int = 20
    tokens: int = 12_600_000
    vocabulary: int = 6144
    width: int = 256
    layers: int = 4
    hidden: int = 768
    context: int = 512
    row: int = 256  # rows are short while the model learns to read ...
    long_row: int = 512  # ... and as long as the context in the last part
    long_from: float = 0.88
    batch_tokens: int = 6144
    world_share: tuple[float, float] = (0.66, 0.64)  # share of tokens, in the first quarter and after
    mix: dict[str, float] = field(default_factory=lambda: dict(world.MIX))  # of the invented half, by document
    matrix_lr: float = 0.02
    other_lr: float = 0.004
    constant: float = 0.35  # then cosine to `floor`
    floor: float = 0.02
    kept: float = 0.0  # share of the weights it began from in the result: the mean of both reads better than either (arXiv 2109.01903)
    after: dict[str, Any] | None = None  # the recipe of the model that this run began from; None: random weights

    @property
    def steps(self) -> int:
        return self.tokens // self.batch_tokens

    def lr_scale(self, step: int) -> float:
        done = step / self.steps
        warm = min(1.0, (step + 1) / 30)
        if done < self.constant:
            return warm
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * (done - self.constant) / (1 - self.constant)))


def train_tokenizer(corpus: Corpus, recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE with a leading space on every word, digits apart, so that numbers can be copied and compared."""
    rng = random.Random(recipe.seed)
    sample = [next(stream) for stream in (world.documents(rng), corpus.documents(rng)) for _ in range(9000)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    plain = [text.replace(world.USER, " ").replace(world.ASSISTANT, " ").replace(world.END, " ") for text in sample]
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(plain, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, world.USER, world.ASSISTANT, world.END],
        add_bos_token=True,  # so that every server begins a plain completion as a document begins here
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.model_max_length = recipe.context
    fast.padding_side = "left"
    return fast


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=recipe.vocabulary, hidden_size=recipe.width, intermediate_size=recipe.hidden, num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.width // 64, num_key_value_heads=recipe.width // 64, head_dim=64, tie_word_embeddings=True,
        max_position_embeddings=recipe.context, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, initializer_range=0.02, rms_norm_eps=1e-5,
    )  # fmt: skip
    return LlamaForCausalLM(config)


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows: (rows, row) ids, and (rows, row) numbers that say which document a token belongs to, 0 for padding."""

    ids: Tensor
    documents: Tensor

    def mask(self) -> Tensor:
        """(rows, 1, row, row), true where a token may look: at its own document, up to itself.

        A document must be read as if it stood alone, as it will be asked about. Without, a short one is never the first of its row, and a model
        that answers 91% of plain sentences about known entities after another document answers 19% of them at the start of its context.
        """
        same = self.documents[:, :, None] == self.documents[:, None, :]
        return same.tril()[:, None]


class Batches:
    """Rows of packed documents. `batch(step)` is a pure function of the seed and the step."""

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
        self._corpus, self._tokenizer, self._recipe = corpus, tokenizer, recipe
        self._pad, self._bos, self._eos = (int(tokenizer.convert_tokens_to_ids(t)) for t in (PAD, BOS, EOS))

    def batch(self, step: int) -> Batch:
        r = self._recipe
        done = step / r.steps
        row = r.long_row if done >= r.long_from else r.row
        rng = random.Random(f"{r.seed}-{step}")
        return pack(self._documents(rng, r.world_share[0 if done < 0.25 else 1], row), rows=r.batch_tokens // row, row=row, pad=self._pad)

    def _documents(self, rng: random.Random, world_share: float, row: int) -> Iterator[list[int]]:
        """Whichever half is behind its share of tokens gives the next document."""
        streams = (world.documents(rng, self._recipe.mix), self._corpus.documents(rng))
        given = [0, 0]
        while True:
            half = 0 if given[0] <= world_share * sum(given) else 1
            ids = [self._bos, *self._tokenizer.encode(next(streams[half]), add_special_tokens=False), self._eos][:row]
            given[half] += len(ids)
            yield ids


def pack(documents: Iterator[list[int]], *, rows: int, row: int, pad: int) -> Batch:
    """Each row is filled with the longest waiting document that still fits, the rest is padding."""
    waiting = [next(documents) for _ in range(rows * 3)]
    packed, belongs = [], []
    for _ in range(rows):
        ids: list[int] = []
        of: list[int] = []
        while True:
            fits = [d for d in waiting if len(d) <= row - len(ids)]
            if not fits:
                break
            best = max(fits, key=len)
            waiting.remove(best)
            waiting.append(next(documents))
            ids += best
            of += [of[-1] + 1 if of else 1] * len(best)
        packed.append(ids + [pad] * (row - len(ids)))
        belongs.append(of + [0] * (row - len(ids)))
    return Batch(torch.tensor(packed), torch.tensor(belongs))


def optimisers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    return [Muon(matrices, lr=recipe.matrix_lr), torch.optim.AdamW(others, lr=recipe.other_lr, betas=(0.9, 0.95), weight_decay=0.0)]


def train(model: LlamaForCausalLM, batches: Batches, recipe: Recipe, work: Path, *, checkpoint_every_s: float = 600) -> None:
    opts = optimisers(model, recipe)
    first = _resume(model, opts, work / "checkpoint.pt")
    body: Any = torch.compile(model.model)
    pad = batches._pad
    started = saved = reported = time.monotonic()
    losses: list[float] = []
    for step in range(first, recipe.steps):
        batch = batches.batch(step)
        hidden = body(input_ids=batch.ids, attention_mask=batch.mask(), use_cache=False).last_hidden_state  # (rows, row, width)
        # A document's last token has nothing to foretell: the next document's start is no part of it.
        targets = batch.ids[:, 1:].masked_fill(batch.documents[:, 1:] != batch.documents[:, :-1], pad)
        loss = chunked_cross_entropy(hidden[:, :-1].flatten(0, 1), model.lm_head.weight, targets.flatten(), ignore=pad)
        loss.backward()
        scale = recipe.lr_scale(step)
        for opt, lr in zip(opts, (recipe.matrix_lr, recipe.other_lr), strict=True):
            opt.param_groups[0]["lr"] = lr * scale
            opt.step()
            opt.zero_grad(set_to_none=True)
        losses.append(loss.item())
        now = time.monotonic()
        if len(losses) == 50 or step + 1 == recipe.steps:
            report = {
                "step": step + 1, "tokens": (step + 1) * recipe.batch_tokens, "loss": round(sum(losses) / len(losses), 4),
                "lr_scale": round(scale, 4),
                "tokens_per_s": round(len(losses) * recipe.batch_tokens / (now - reported)), "elapsed_s": round(now - started),
            }  # fmt: skip
            with (work / "curve.jsonl").open("a") as curve:
                curve.write(json.dumps(report) + "\n")
            log.info("%s", report)
            losses, reported = [], now
        if now - saved > checkpoint_every_s or step + 1 == recipe.steps:
            _checkpoint(model, opts, step + 1, work)
            saved = now


def _checkpoint(model: LlamaForCausalLM, opts: list[torch.optim.Optimizer], step: int, work: Path) -> None:
    """The newest state under a temporary name, then renamed: a kill leaves the one before."""
    temporary = work / "checkpoint.tmp"
    torch.save({"step": step, "model": model.state_dict(), "optimisers": [o.state_dict() for o in opts]}, temporary)
    temporary.replace(work / "checkpoint.pt")


def _resume(model: LlamaForCausalLM, opts: list[torch.optim.Optimizer], path: Path) -> int:
    if not path.exists():
        return 0
    saved: dict[str, Any] = torch.load(path, weights_only=True)
    model.load_state_dict(saved["model"])
    for opt, state in zip(opts, saved["optimisers"], strict=bool(opts)):  # none where only the weights are wanted
        opt.load_state_dict(state)
    log.info("goes on from step %s", saved["step"])
    return int(saved["step"])


@torch.no_grad()
def keep_share(model: LlamaForCausalLM, before: LlamaForCausalLM, share: float) -> None:
    """The model becomes `share` of what it was and the rest of what it is."""
    for now, was in zip(model.parameters(), before.parameters(), strict=True):
        now.lerp_(was, share)


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, folder: Path) -> None:
    """A Hugging Face folder in bf16 safetensors that transformers and vLLM load alike. `<|end|>` stops a chat answer, `<eos>` a document."""
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    copy = copy.to(torch.bfloat16)
    stops = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(world.END)]
    copy.generation_config = GenerationConfig(bos_token_id=tokenizer.bos_token_id, eos_token_id=stops, pad_token_id=tokenizer.pad_token_id)
    copy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of <source>.jsonl.xz files of public-domain text")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for checkpoint, curve and model; an interrupted run goes on from here"
    )
    parser.add_argument("--tokens", type=float, default=Recipe().tokens, help="how long to train, in tokens")
    parser.add_argument("--after", type=Path, help="begin from this model's weights and tokenizer instead of from nothing")
    parser.add_argument("--settings", default="{}", help="other fields of the recipe as JSON")
    parser.add_argument("--export-only", action="store_true", help="write WORK/model from the newest checkpoint and stop")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_flush_denormal(True)
    args.work.mkdir(parents=True, exist_ok=True)
    earlier = json.loads((args.after / "recipe.json").read_text()) if args.after else None
    recipe = Recipe(**json.loads(args.settings) | {"tokens": int(args.tokens), "after": earlier})
    corpus = Corpus(args.corpus)
    folder = args.after or args.work / "tokenizer"
    if not folder.exists():
        train_tokenizer(corpus, recipe).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(args.after, dtype=torch.float32) if args.after else new_model(recipe, tokenizer)
    if args.export_only:
        _resume(model, [], args.work / "checkpoint.pt")
    else:
        train(model, Batches(corpus, tokenizer, recipe), recipe, args.work)
    if args.after and recipe.kept:
        keep_share(model, LlamaForCausalLM.from_pretrained(args.after, dtype=torch.float32), recipe.kept)
    export(model, tokenizer, recipe, args.work / "model")
    base = load_base(str(args.work / "model"))
    replay.keep(base, args.work / "model" / "replay.json")
    recall.keep(base, args.work / "model" / "recall.json")
    calibrate.keep(base, args.work / "model" / "novelty.json", EMBEDDED_THINGS)


if __name__ == "__main__":
    main()
