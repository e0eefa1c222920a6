"""The real half of the embedded model's training text: public-domain English, sampled by kind rather than by size.

Reads `<source>.jsonl.xz` files (id, source, title, text), cuts them to pieces that fit a training row, and makes definition -> continuation
documents out of reference articles. Knows no tokens and no tensors.
"""

import json
import lzma
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon.embedded.world import chat, invented_name

PIECE_CHARS = 1000  # about one training row of 256 tokens
REFERENCE = ("bibdict_easton", "bibdict_schaff", "bibdict_smith", "cia_factbook", "eb1911", "state_dept_history")
MODERN = ("gov_18f", "gov_digitalgov", "peps_pd", "rustsec_cc0", "cia_factbook", "state_dept_history")
NOVELS = ("books", "books_classic")
NAMED = ("reference", "novels", "addresses")  # kinds with people and places, some of whose pieces get invented ones
NOVELS_KEPT = 0.15  # they are two thirds of the text; a seventh of them is more than training ever reads

# Shares of the real text by document. Most of it is what a reader of feeds meets: entries that define, and factual prose.
SHARES: dict[str, float] = {
    "articles": 0.36,
    "entries": 0.30,
    "reference": 0.11,
    "modern": 0.12,
    "webster": 0.02,
    "addresses": 0.02,
    "novels": 0.07,
}

_HEADWORD = re.compile(r"([A-Z][\w' -]{2,40}?)(?: \([a-z ,]+\))?: ")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"']?\s+(?=[A-Z\"'(])")


@dataclass(frozen=True, slots=True)
class Article:
    title: str
    text: str


def read(folder: Path, source: str, rng: random.Random | None = None) -> list[Article]:
    """All articles of one source; with a generator, the kept share of the novels."""
    with lzma.open(folder / f"{source}.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [
            Article(row["title"], row["text"]) for line in lines if rng is None or rng.random() < NOVELS_KEPT for row in (json.loads(line),)
        ]


def sentences(text: str) -> list[str]:
    return [s.strip() for paragraph in text.split("\n\n") for s in _SENTENCE_END.split(paragraph) if s.strip()]


class Corpus:
    """Public-domain text in memory, drawn from without end."""

    def __init__(self, folder: Path) -> None:
        keep = random.Random(7)
        sources = {s: read(folder, s) for s in dict.fromkeys((*REFERENCE, *MODERN, "webster1913", "us_presidential_addresses"))}
        self._pools: dict[str, list[Article]] = {
            "reference": [a for s in REFERENCE for a in sources[s]],
            "modern": [a for s in MODERN for a in sources[s]],
            "webster": sources["webster1913"],
            "addresses": sources["us_presidential_addresses"],
            "novels": [a for s in NOVELS for a in read(folder, s, keep)],
        }
        self._defining = {
            "articles": [found for a in (*self._pools["reference"], *self._pools["modern"]) if (found := _defining_article(a))],
            "entries": [
                found
                for a in (*self._pools["webster"][:-_KEPT_BACK], *sources["bibdict_smith"])
                for entry in entries(a)
                if (found := _defining_article(entry))
            ],
        }

    def kept_back(self) -> list[str]:
        """Every pool's last articles, which `documents` never draws: for bits per byte on unseen text."""
        return [a.text for pool in self._pools.values() for a in pool[-_KEPT_BACK:]]

    def documents(self, rng: random.Random) -> Iterator[str]:
        while True:
            kind = rng.choices(tuple(SHARES), tuple(SHARES.values()))[0]
            if kind in self._defining:
                yield self._article(kind, rng)
            else:
                piece = _piece(rng.choice(self._pools[kind][:-_KEPT_BACK]).text, rng)
                yield with_invented_names(piece, rng) if kind in NAMED and rng.random() < 0.5 else piece

    def _article(self, kind: str, rng: random.Random) -> str:
        """A definition, then later sentences of the same article, those that mention the entity where there are enough; most of them under an
        invented name, so that what the definition says has to be read rather than remembered."""
        found = rng.choice(self._defining[kind][:-_KEPT_BACK])
        if rng.random() < 0.08:
            return renamed(asked(found, rng), found.name, rng)
        count = min(len(found.mentions), rng.randint(2, 6))
        chosen = [found.mentions[i] for i in sorted(rng.sample(range(len(found.mentions)), count))]
        text = " ".join((found.definition, *chosen))
        if rng.random() < 0.6:
            text = renamed(text, found.name, rng)
        if rng.random() < 0.2:  # said again: reading is also noticing that one has read it before
            text += " " + " ".join(rng.sample((found.definition, *chosen), 2))
        return text


_KEPT_BACK = 12


def renamed(text: str, name: str, rng: random.Random) -> str:
    """`text` with every word of `name` replaced by an invented one, the same one wherever it stands: later sentences use a part of the name."""
    for word in {w for w in name.split() if len(w) > 2 and w[0].isupper()}:
        text = re.sub(rf"\b{re.escape(word)}\b", invented_name(rng, words=1), text)
    return text


def with_invented_names(text: str, rng: random.Random) -> str:
    """`text` with every capitalised word that comes back in it and never stands without its capital under an invented name.

    What such a word is can then only be read earlier in the same text. Novels and reference works have no end of people and places for that.
    """
    capitalised = re.findall(r"\b[A-Z][a-z]{2,}\b", text)
    lower = set(re.findall(r"\b[a-z]{3,}\b", text))
    for word in sorted({w for w in capitalised if capitalised.count(w) > 1 and w.lower() not in lower and w not in _NEVER_NAMES}):
        text = re.sub(rf"\b{word}\b", invented_name(rng, words=1), text)
    return text


_NEVER_NAMES = frozenset(
    re.findall(
        r"\w+",
        "The This That These Those There Then Their They What When Where Which While Who Why How And But For Not You Your His Her Its She Our One All"
        " January February March April May June July August September October November December"
        " Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
        " Chapter Book Section Article Mr Mrs Miss Dr Sir Lord Lady God",
    )
)


@dataclass(frozen=True, slots=True)
class _Defining:
    name: str
    definition: str
    mentions: tuple[str, ...]


_ASKED = ("What is {x}?", "What do you know about {x}?", "Tell me about {x}.", "What is said of {x}?")


def asked(found: _Defining, rng: random.Random) -> str:
    """The definition, then a conversation about it: what it says and what the article says later."""
    answers = [found.definition, *rng.sample(found.mentions, min(len(found.mentions), rng.randint(1, 2)))]
    turns = [(rng.choice(_ASKED).format(x=found.name), answer) for answer in answers]
    turns[0] = (f"{found.definition} {turns[0][0]}", turns[0][1])
    return chat(turns)


def entries(page: Article) -> list[Article]:
    """The entries of a dictionary's page, which has many: a paragraph that begins with its headword and a colon."""
    found = ((paragraph, _HEADWORD.match(paragraph)) for paragraph in page.text.split("\n\n"))
    return [Article(head[1], paragraph) for paragraph, head in found if head]


def _defining_article(article: Article) -> _Defining | None:
    """An article whose first sentence names its title, and that goes on from there."""
    said = sentences(article.text)
    name = re.split(r"[,(#—]", article.title)[0].strip()
    key = name.split()[-1] if name else ""
    if len(key) < 3 or len(said) < 2 or key not in said[0] or len(said[0]) > 500:
        return None
    later = [s for s in said[1:] if 30 < len(s) < 400]
    naming = tuple(s for s in later if key.lower() in s.lower())
    mentions = naming if len(naming) >= 3 or len(later) < 3 else tuple(later)
    return _Defining(name if name in article.text else key, said[0], mentions) if mentions else None


def _piece(text: str, rng: random.Random) -> str:
    """A run of whole sentences that fills a row, starting anywhere."""
    if len(text) <= PIECE_CHARS:
        return text
    start = rng.randrange(max(1, len(text) - PIECE_CHARS))
    boundary = _SENTENCE_END.search(text, start, start + 400)
    start = boundary.end() if boundary else start
    return text[start : start + PIECE_CHARS + 200]
