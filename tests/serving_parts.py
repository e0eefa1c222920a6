"""Small real parts for the serving tests: a random two-layer Llama, random adapters that disagree, servers in threads."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import uvicorn
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from daemon.serving.client import EngineClient
from registry import Adapter, CheckResult, NewCheckRun, NewDefinition, NewDocument, NewProbe, Registry

torch.set_num_threads(1)  # a model this small only loses time to a second thread, the more so beside other work
CONTEXT = 2048
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_model(folder: Path) -> Path:
    """A random Llama: 2 layers, 2 heads of 64, 261 tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>", additional_special_tokens=specials)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=128,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        eos_token_id=[fast.eos_token_id, fast.convert_tokens_to_ids("<|end|>")],
        pad_token_id=fast.pad_token_id,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def make_adapter(model_dir: Path, folder: Path, *, seed: int, zero: bool = False, rank: int = 4, strength: float = 0.3) -> Path:
    """A random LoRA strong enough to change every answer (or, with `zero`, one that changes nothing)."""
    torch.manual_seed(seed)
    base = LlamaForCausalLM.from_pretrained(model_dir)
    targets = ["q_proj", "v_proj", "down_proj"]
    lora = get_peft_model(base, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM"))
    for name, value in lora.named_parameters():
        if "lora_B" in name and not zero:
            torch.nn.init.normal_(value, std=strength)
    lora.save_pretrained(folder)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(app: Any, *, port: int | None = None) -> Iterator[str]:
    """Any ASGI application over real HTTP, in a thread; yields its URL."""
    port = port or free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def wait_until(condition: Any, *, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def learn(
    registry: Registry,
    *,
    topic: str,
    entities: Sequence[str],
    folder: Path,
    rehearsed: Sequence[int] = (),
    rank: int = 4,
    base_digest: str = "b" * 64,
) -> Adapter:
    """A checked adapter of the topic, published from `folder`, that has learnt one definition for each entity."""
    now = datetime.now(UTC)
    if topic not in [feed.name for feed in registry.read.feeds()]:
        registry.write.add_feed(f"/feeds/{topic}", name=topic, kind="folder", topic=topic, trust="auto", interval_s=900)
    text = " ".join(f"{entity} is a thing." for entity in entities)
    document = NewDocument(external_id=text, text=text, fetched_at=now)
    feed = registry.read.feed(topic)
    [stored] = registry.write.record_poll(feed.id, cursor={}, next_check_at=now, documents=[document])
    found = [NewDefinition(entity=entity, text=f"{entity} is a thing.", span=(0, 5), score=0.9) for entity in entities]
    ids = [definition.id for definition in registry.write.record_definitions(stored.id, found)]
    adapter = registry.write.begin_adapter(
        topic,
        parent=None,
        method="context",
        base_model="tiny",
        base_digest=base_digest,
        rank=rank,
        definitions=ids,
        rehearsed=rehearsed,
        settings={},
    )
    digest = registry.artifacts.copy_in(folder, adapter_name=adapter.name, manifest={})
    registry.write.finish_learning(adapter.name, digest=digest)
    check = NewCheckRun(
        digest=digest, base_digest=base_digest, verdict="passed", metrics={"learned": 0.91, "local": {"value": 0.997}, "skills": 1}
    )
    registry.write.record_check(adapter.name, check, [])
    return registry.read.adapter(adapter.name)


def record_answers(registry: Registry, client: EngineClient, adapter: Adapter, *, prompts: Sequence[str]) -> None:
    """A check run whose answers are what the adapter in this engine really says, each a right answer to a probe."""
    [definition, *_] = adapter.definitions
    probes = registry.write.save_probes(definition, [NewProbe(kind="direct", prompt=prompt, target="x") for prompt in prompts])
    path = str(registry.artifacts.path(adapter).resolve())
    client.load(adapter.name, path)
    said = {name: [client.complete(p.prompt, model=name, max_tokens=24).text for p in probes] for name in ("tiny", adapter.name)}
    client.unload(adapter.name)
    results = [
        CheckResult(
            definition, probe.id, "direct", probe.prompt, "x", base_answer=base, answer=answer, passed=True, detail={"group": "learned"}
        )
        for probe, base, answer in zip(probes, said["tiny"], said[adapter.name], strict=True)
    ]
    check = NewCheckRun(digest=str(adapter.digest), base_digest="b" * 64, verdict="passed")
    registry.write.record_check(adapter.name, check, results)
