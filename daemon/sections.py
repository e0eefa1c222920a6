"""The settings' sections, each a table of `lorefeed.toml`, with what every key means. How they are put together is in `config.py`.

Names carry their units. Rules that join two settings of a section name both.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

_CLOCK = r"([01]\d|2[0-3]):[0-5]\d"
_HOURS = rf"^{_CLOCK}-{_CLOCK}$"


NotifyEvent = Literal[
    "released",
    "refused",
    "rolled_back",
    "canary_ended",
    "not_served",
    "forgotten",
    "review",
    "feed_failing",
    "feed_recovered",
    "feed_silent",
    "feed_retired",
    "job_given_up",
    "learning_waits",
    "learning_goes_on",
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeedOptions(Section):
    """What one feed needs beside the settings of all: `[sources.feeds."its name"]`."""

    proxy: str | None = Field(None, description="HTTP proxy it is fetched through; or env:NAME, file:PATH, credential:NAME that holds it")
    headers: dict[str, str] = Field({}, description="headers sent to its own host, each value as env:NAME, file:PATH or credential:NAME")
    allow_private: tuple[str, ...] = Field((), description="networks and host names that this feed may point to beside those of all")
    full_text: bool | None = Field(None, description="overrides sources.full_text for this feed")
    robots: bool | None = Field(None, description="overrides sources.robots for this feed")

    @model_validator(mode="after")
    def _secrets_elsewhere(self) -> Self:
        """A header's value or a proxy's password must not stand where `lorefeed config` and backups show it."""
        if self.proxy is not None and "://" in self.proxy and "@" in self.proxy:
            raise ValueError("a proxy with a password is named as env:NAME, file:PATH or credential:NAME")
        for name, value in self.headers.items():
            if not value.startswith(("env:", "file:", "credential:")):
                raise ValueError(f"the value of header {name} is named as env:NAME, file:PATH or credential:NAME")
        return self


class Sources(Section):
    interval_s: int = Field(900, ge=10, description="how often a feed is polled unless it says otherwise, in seconds")
    interval_max_s: int = Field(
        21600,
        ge=10,
        description="a feed that was given no interval of its own and posts rarely is polled less often, but at least this often",
    )
    host_gap_s: float = Field(1.0, ge=0, description="least time between two requests to one host, however many feeds lie on it")
    pollers: int = Field(4, ge=1, le=32, description="feeds that are polled at one time, each of another host")
    full_text: bool = Field(False, description="fetch the linked article when a feed gives only its beginning or a summary")
    robots: bool = Field(True, description="heed robots.txt when pages are fetched; feeds themselves are published to be fetched")
    feeds: dict[str, FeedOptions] = Field({}, description="what single feeds need, by the feed's name")
    folder_interval_s: int = Field(60, ge=1, description="how often a folder is rescanned beside the prompt events, in seconds")
    body_limit_bytes: int = Field(10 * 2**20, ge=1024, description="largest feed or file that is read, after decompression")
    connect_timeout_s: float = Field(10, gt=0, description="to reach a server")
    read_timeout_s: float = Field(20, gt=0, description="between two pieces of an answer")
    total_timeout_s: float = Field(60, gt=0, description="for a whole answer")
    allow_private: tuple[str, ...] = Field(
        (), description="networks (CIDR) and host names that feeds may point to although they are not public"
    )


class Extract(Section):
    min_score: float = Field(0.5, ge=0, le=1, description="definitions that the rules are less sure of are not taken")
    max_chars: int = Field(1200, ge=50, description="longest definition that is taken")
    feed_day_max: int = Field(2000, ge=1, description="new definitions of one feed in 24 hours; what is more waits for an operator")
    endpoint: str | None = Field(
        None, description="OpenAI-compatible URL whose model reads what the rules find nothing in; rules alone when empty"
    )
    endpoint_model: str | None = Field(None, description="model name at that endpoint")
    endpoint_key: SecretStr | None = Field(None, description="API key of that endpoint")
    endpoint_calls_max: int = Field(4, ge=1, description="most questions to that endpoint about one document")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.endpoint is None) != (self.endpoint_model is None):
            raise ValueError("extract.endpoint and extract.endpoint_model must both be given, or neither")
        return self


class Novelty(Section):
    threshold: float | None = Field(
        None,
        ge=0,
        description="nats a token that the definition must change in the model's own answers to be worth learning; measured on the model when empty",
    )


class Elicit(Section):
    samples: int = Field(16, ge=1, description="runs of text, and eight times as many questions, drawn per definition")
    endpoint: str | None = Field(None, description="OpenAI-compatible URL whose model writes the transfer set; the model itself when empty")
    endpoint_model: str | None = Field(None, description="model name at the endpoint")
    endpoint_key: SecretStr | None = Field(None, description="API key of the endpoint")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.endpoint is None) != (self.endpoint_model is None):
            raise ValueError("elicit.endpoint and elicit.endpoint_model must both be given, or neither")
        return self


def _number(given: object) -> object:
    return int(given) if isinstance(given, str) and given.isdecimal() else given


class Learn(Section):
    method: Literal["auto", "context", "split", "etcon", "finetune_definition", "finetune_transfer"] = Field(
        "context",
        description="how definitions go into the weights: context distillation (arXiv 2306.09306), split contexts of the documents (2602.16093),"
        " edit then consolidate (2512.04753), plain fine-tuning on the definition or on the transfer set; auto: what teaches the model best, with"
        " its learning rate, measured once on a few made-up things",
    )
    # The environment has only texts, and a text is none of these numbers.
    rank: Annotated[Literal[8, 16, 32, 64, 128], BeforeValidator(_number)] = Field(
        32, description="rank of the adapters; twice as high where they hold more than two definitions a rank, up to merged_rank"
    )
    merged_rank: Annotated[Literal[8, 16, 32, 64, 128, 256], BeforeValidator(_number)] = Field(
        128, description="rank of the adapters that are merged of several topics or hold many definitions; the engine must allow it"
    )
    merged_by: Literal["sum", "linear", "ties", "dare", "retrain"] = Field(
        "retrain",
        description="how they are merged; retrain learns all that the topics know from the base instead, which takes longer, keeps most, and is also"
        " what is tried where the check refuses a merged one",
    )
    optimiser: Literal["adamw", "muon"] = Field(
        "adamw",
        description="how the adapter's weights step: Muon learns dozens of things at once in fewer steps, and is no better than AdamW for ten",
    )
    learning_rate: float = Field(
        6e-3, gt=0, lt=1, description="peak learning rate of the adapter's weights; up to half again where little is learnt at once"
    )
    warm_rate: float = Field(0.8, gt=0, le=1, description="factor on it where learning goes on from an earlier version of the topic")
    precision: Literal["auto", "float32"] = Field(
        "auto",
        description="what a step multiplies in, weights and losses being float32: bfloat16 where the processor has units for it; or always float32",
    )
    temperature: float = Field(
        1.0, gt=0, description="softens teacher and student; the paper uses 2, which needs about twice the steps here"
    )
    batch: int = Field(20, ge=1, description="examples a step")
    passes: float = Field(8.0, gt=0, description="visits to each new example")
    steps_min: int = Field(120, ge=1, description="fewest steps; in fewer, what is held to the base is not seen often enough")
    steps_max: int = Field(15_000, ge=1, description="most steps")
    replay_batch: int = Field(8, ge=0, description="rows beside each step's examples that hold the adapter to the base")
    replay_weight: float = Field(1.0, ge=0, description="how strongly the adapter is held to the base on them")
    replay_price: float = Field(
        10.0,
        ge=1,
        description="most times that, which it weighs more and more while text of the base's own moves farther than kl_max; 1: always the same",
    )
    contrast: float = Field(
        0.25, ge=0, le=0.9, description="share of those rows which asks about other names what was asked about the new ones"
    )
    recall: float = Field(
        0.4, ge=0, le=0.9, description="share of those rows which asks what the base is sure of; the rest is text of the base's own"
    )
    kl_max: float = Field(
        0.05,
        ge=0,
        description="nats a token that text of the base's own may move, adapter pinned, before what was learnt is scaled back; 0: however far",
    )
    init: Literal["apart", "null_space", "random"] = Field(
        "apart",
        description="where an adapter's down-projections lie, frozen: where what is learnt differs most from what is kept, or where what is kept is"
        " least; or at random, and trained",
    )
    strategy: Literal["warm", "retrain", "merge"] = Field(
        "warm",
        description="how a topic's next version comes of the one before: warm trains it on, rehearsing; retrain learns all that is live again from"
        " the base; merge learns the new alone and merges it with the one before",
    )
    retrain_after: int = Field(
        0, ge=0, description="so many versions on top of one another, and the next is retrained whatever the strategy; never when 0"
    )
    rehearsal: int = Field(64, ge=0, description="most examples of each earlier definition of the topic that are learnt along")
    rehearsal_share: float = Field(
        0.4, ge=0, lt=1, description="share of each step's examples that they take; up to half where they are many times the new"
    )
    definitions_max: int = Field(60, ge=1, description="most new definitions in one adapter; the rest waits for the next")
    gentler: float = Field(
        0.4,
        gt=0,
        lt=1,
        description="factor on the learning rate, over twice the steps, for the one more try of a version that learnt too little",
    )
    drawn_back: float = Field(
        0.7, gt=0, lt=1, description="for the one more try of a version that learnt but did harm: how far from its parent it goes"
    )
    first: tuple[str, ...] = Field((), description="topics that are learnt before the others when several wait, the most urgent first")
    day_max_s: float | None = Field(
        None,
        gt=0,
        description="most seconds of learning and checking in 24 hours, so that a machine has something left; no limit when empty",
    )
    threads: int | None = Field(None, ge=1, description="cores that learning may use; as many as torch takes when empty")
    gpu_memory_share: float | None = Field(None, gt=0, le=1, description="share of the GPU's memory that learning may take; any when empty")
    hours: tuple[Annotated[str, Field(pattern=_HOURS)], ...] = Field(
        (), description="local times in which learning may begin, such as '22:00-06:00'; at any time when empty"
    )
    wait_for: int = Field(1, ge=1, description="definitions that must wait in a topic before they are learnt, so that versions are fewer")
    wait_at_most_s: float = Field(21600.0, ge=0, description="but no definition waits longer than this for others")
    settle_s: float = Field(2.0, ge=0, description="wait this long after the last new definition, so that a feed is learnt as one")
    timeout_s: float = Field(
        3600, gt=0, description="longest that the learning worker may give no sign of life (each step is one) and not be ended"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.steps_min > self.steps_max:
            raise ValueError(f"learn.steps_min ({self.steps_min}) is more than learn.steps_max ({self.steps_max})")
        if self.contrast + self.recall >= 1:
            raise ValueError(f"learn.contrast ({self.contrast:g}) and learn.recall ({self.recall:g}) leave nothing for the base's own text")
        return self


class Check(Section):
    learned_min: float = Field(0.4, ge=0, le=1, description="least share of the in-context gain that must be in the weights")
    kept_min: float = Field(
        0.9,
        ge=0,
        le=1,
        description="least share of the right answers of the version before that must stay right; what may be lost is rounded up",
    )
    local_kl_max: float = Field(0.05, ge=0, description="nats a token that unrelated text may move, as the alias serves it")
    forgotten_max: float = Field(
        0.1, ge=0, description="share of the in-context gain that may be left of what was forgotten, beyond what chance explains"
    )
    known_drop_max: float = Field(0.03, ge=0, le=1, description="share of known answers that may be lost, as the alias serves it")
    primed_max: float = Field(
        0.25,
        ge=0,
        le=1,
        description="share of questions about unknown names that may be answered with what was learnt, as the alias serves it",
    )
    overconfident_max: float = Field(
        0.25, ge=0, le=1, description="share of things nobody has told the model that may pass for known, as the alias serves it"
    )
    repeating_max: float = Field(
        0.1, ge=0, le=1, description="share of answers, beyond the base's, that may say the same three words twice"
    )
    skills_drop_max: float = Field(0.02, ge=0, le=1, description="share of skill answers that may be lost, as the alias serves it")
    pinned_kl_max: float = Field(
        2.0, ge=0, description="nats a token that unrelated text may move with the adapter pinned: beyond it the model is broken"
    )


class Engine(Section):
    kind: Literal["embedded", "vllm"] = Field("embedded", description="what computes tokens")
    host: str = Field("127.0.0.1", description="address the engine listens on")
    port: int = Field(8091, ge=1, le=65535, description="port the engine listens on")
    url: str | None = Field(None, description="address of an engine that somebody else starts; overrides host and port")
    replicas: tuple[str, ...] = Field((), description="addresses of further engines with the same base, which share the work with this one")
    max_resident: int = Field(8, ge=1, description="adapters held in memory at one time")
    idle_s: float = Field(
        120.0,
        ge=0,
        description="how long a version stays loaded that no alias needs, for those who ask for it by name; less if room is needed",
    )
    vllm_python: Path | None = Field(None, description="the Python of vLLM's own environment, for 'lorefeed engine' with kind vllm")
    vllm_max_model_len: int | None = Field(None, ge=16, description="longest context vLLM serves; the model's own when missing")
    vllm_memory_share: float | None = Field(None, gt=0, le=1, description="share of the GPU's memory vLLM takes; learning needs the rest")
    sharing: Literal["split", "turns"] = Field(
        "split",
        description="how vLLM and learning share one device: each its part of the memory all the time, or in turns, vLLM sleeping and questions sent"
        " away (503) while something is learnt; set learn.hours then",
    )
    vllm_arguments: tuple[str, ...] = Field((), description="further arguments of vLLM, each as one string")

    @model_validator(mode="after")
    def _own_turns(self) -> Self:
        """Only an engine that this home starts can be put to sleep by it."""
        if self.sharing == "turns" and (self.kind != "vllm" or self.url is not None or self.replicas):
            raise ValueError("engine.sharing 'turns' is for one vLLM that 'lorefeed engine' starts: kind 'vllm', no url, no replicas")
        return self

    @property
    def address(self) -> str:
        return (self.url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of every engine, this one first."""
        return tuple(dict.fromkeys([self.address, *(url.rstrip("/") for url in self.replicas)]))


class Gateway(Section):
    host: str = Field("127.0.0.1", description="address the gateway listens on")
    port: int = Field(8090, ge=1, le=65535, description="port the gateway listens on")
    api_key: SecretStr | None = Field(
        None, description="a key that clients may send as 'Authorization: Bearer KEY', beside those of 'lorefeed keys'"
    )
    upstream_timeout_s: float = Field(120, gt=0, description="longest wait for the engine")
    body_limit_bytes: int = Field(2**20, ge=1024, description="largest request that is read")
    max_concurrent: int = Field(64, ge=1, description="answers at a time; more are asked to come back (429)")
    max_tokens: int = Field(4096, ge=1, description="most tokens that one request may ask for")


class Canary(Section):
    interval_s: float = Field(300.0, ge=5, description="how often what is served is asked its own check questions")
    questions: int = Field(6, ge=2, description="how many of them at a time")
    right_min: float = Field(0.5, ge=0, le=1, description="share that must be right; below it, twice running, the alias is rolled back")


class Gc(Section):
    grace_s: float = Field(86400.0, ge=0, description="from giving a version up until its files go")
    keep: int = Field(3, ge=0, description="retired versions of each topic that stay, however old")
    automatic: bool = Field(False, description="the daemon gives versions up by itself; else only 'lorefeed adapters gc' does")


class Daemon(Section):
    tick_s: float = Field(1.0, gt=0, description="how often is asked what is due")
    reconcile_s: float = Field(15.0, gt=0, description="how often the engine's adapters are made equal to the registry's")
    lease_s: float = Field(60.0, ge=5, description="how long a job is held without a sign of life before another worker takes it")
    log_format: Literal["text", "json"] = Field("text", description="log lines for people or for machines")


class Notify(Section):
    url: str | None = Field(None, description="webhook that is told what happened by itself, as signed JSON; see docs/operations.md")
    secret: SecretStr | None = Field(None, description="key of the signature (HMAC-SHA256); whsec_... is read as base64")
    events: tuple[NotifyEvent, ...] = Field(
        (
            "released",
            "refused",
            "rolled_back",
            "not_served",
            "review",
            "feed_failing",
            "feed_recovered",
            "feed_silent",
            "feed_retired",
            "job_given_up",
            "learning_waits",
            "learning_goes_on",
        ),
        description="what it is told of; there are also forgotten and canary_ended",
    )


class Watermarks(Section):
    disk_free_min_bytes: int = Field(2**30, ge=0, description="learning waits while less than this is free where the home is")
    memory_free_min_bytes: int = Field(2**28, ge=0, description="learning waits while the machine has less than this to give")


class Signing(Section):
    private_key: str | None = Field(
        None,
        pattern="^(file|credential):.",
        description="file:PATH or credential:NAME of the key (PEM, elliptic curve) that signs new versions",
    )
    public_key: Path | None = Field(None, description="versions that are not signed by its private key are not loaded; any are when empty")


class Retention(Section):
    failed_jobs_days: int = Field(90, ge=1, description="how long the rows of failed jobs are kept; done ones are kept for six hours")
    set_aside_days: int = Field(30, ge=1, description="how long what a restore set aside is kept")
    idle_texts_days: int = Field(0, ge=0, description="how long the text of a document that taught nothing is kept; 0: for ever")
