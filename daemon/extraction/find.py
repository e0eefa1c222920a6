"""Finds the definitions of a text: reads its layout, asks every rule about every sentence, keeps the best."""

from __future__ import annotations

import re
from dataclasses import dataclass

from daemon.extraction import shapes
from daemon.extraction.blocks import Block, Kind, blocks
from daemon.extraction.candidates import Candidate, Place
from daemon.extraction.found import MAX_DEFINITION_CHARACTERS, MAX_SENTENCES, Examined, FoundDefinition, Refused, collapse
from daemon.extraction.glossary import Entry, entries
from daemon.extraction.markup import mask, readable
from daemon.extraction.rules import GLOSSARY
from daemon.extraction.scoring import THRESHOLD
from daemon.extraction.screen import screen
from daemon.extraction.sentences import sentences
from daemon.extraction.titles import Title, name_key, read_title
from daemon.extraction.words import CONNECTIVES

_COMPANION_SCORE = 0.8  # what another definition needs to stand beside a titled entry's own
_CONTINUES = re.compile(r"(?:It|They|He|She|Its|Their|His|Her|These|This)\b")
_PERSONAL = re.compile(r"(?:He|She|His|Her)\b")
_LABEL_WORDS = 5
_MIN_SENTENCE_CHARACTERS = 12  # "A is a bcd." is too short to teach anything
_TRAILS_OFF = re.compile(r"[:;,]\Z")


@dataclass(frozen=True, slots=True)
class _Prose:
    """One paragraph or list item as sentences, with the heading above it."""

    spans: tuple[tuple[int, int], ...]
    block: Block
    heading: Title | None
    first: bool


def find_definitions(text: str, *, title: str | None = None) -> list[FoundDefinition]:
    """The definitions that `text` holds, in its order; empty where there is none. Deterministic."""
    return list(examine(text, title=title).found)


def examine(text: str, *, title: str | None = None) -> Examined:
    """The definitions that `text` holds, and those that the screen refused with the rule's name."""
    refused: list[Refused] = []
    masked = mask(text)
    layout = blocks(text)
    page = read_title(title if title is not None else _opening_heading(masked, layout))
    listed = entries(text, masked, layout, title=title)
    taken = {entry.start for entry in listed}
    found = [made for entry in listed if (made := _from_entry(text, masked, entry, refused))]
    own: list[tuple[Candidate, FoundDefinition]] = []
    for prose in _prose(masked, layout):
        if any(prose.block.start <= start < prose.block.end for start in taken):
            continue
        own.extend(_from_prose(text, masked, prose, refused, page=page))
    return Examined(tuple(_settle(found, own)), tuple(refused))


def _opening_heading(masked: str, layout: list[Block]) -> str | None:
    return masked[layout[0].start : layout[0].end] if layout and layout[0].kind is Kind.HEADING else None


def _prose(masked: str, layout: list[Block]) -> list[_Prose]:
    read: list[_Prose] = []
    heading: Title | None = None
    first = True
    for block in layout:
        if block.kind is Kind.HEADING:
            heading = read_title(masked[block.start : block.end])
            continue
        spans = tuple((block.start + a, block.start + b) for a, b in sentences(masked[block.start : block.end]))
        if block.kind in (Kind.PARAGRAPH, Kind.ITEM) and spans:
            opens = first and block.kind is Kind.PARAGRAPH
            read.append(_Prose(spans, block, heading, opens))
            # A line of metadata ("Status: done") or a lone label does not use up the place of the first paragraph.
            first = first and not (opens and len(masked[block.start : block.end].split()) > _LABEL_WORDS)
    return read


def _from_prose(
    text: str, masked: str, prose: _Prose, refused: list[Refused], *, page: Title | None
) -> list[tuple[Candidate, FoundDefinition]]:
    made: list[tuple[Candidate, FoundDefinition]] = []
    done = -1
    for index, (start, end) in enumerate(prose.spans):
        if index <= done or not _MIN_SENTENCE_CHARACTERS <= end - start <= MAX_DEFINITION_CHARACTERS:
            continue
        place = Place(index, prose.first, prose.block.kind is Kind.ITEM, page, prose.heading)
        candidate = shapes.best(masked, start, end, place=place)
        if candidate is None or round(candidate.score, 3) < THRESHOLD:
            continue
        last = _last_sentence(masked, prose, index, candidate=candidate)
        definition = _make(text, masked, (start, prose.spans[last][1]), candidate, refused, block=prose.block)
        if definition is not None:
            made.append((candidate, definition))
            done = last
    return made


def _last_sentence(masked: str, prose: _Prose, index: int, *, candidate: Candidate) -> int:
    """The number of the last sentence that goes on defining the same thing."""
    last = index
    while last + 1 < len(prose.spans) and last + 1 - index < MAX_SENTENCES:
        start, end = prose.spans[last + 1]
        too_long = len(collapse(masked[prose.spans[index][0] : end])) > MAX_DEFINITION_CHARACTERS
        if too_long or not _goes_on(masked[start:end].strip(), candidate):
            break
        last += 1
    return last


def _goes_on(sentence: str, candidate: Candidate) -> bool:
    if sentence.endswith("?") or _TRAILS_OFF.search(sentence) or shapes.wavers(sentence):
        return False
    if candidate.titled and candidate.opens and sentence.split()[0].strip(",").lower() not in CONNECTIVES:
        return True  # the first paragraph of an entry is about its entry
    if _CONTINUES.match(sentence):
        return not _PERSONAL.match(sentence) or candidate.proper
    key = sentence.lower().removeprefix("the ").removeprefix("a ").removeprefix("an ")
    kinds = [name for name in (candidate.kind,) if name and sentence.startswith("The ")]
    return any(re.match(re.escape(name.lower()) + r"s?\b", key) for name in (candidate.entity, *kinds))


def _from_entry(text: str, masked: str, entry: Entry, refused: list[Refused]) -> FoundDefinition | None:
    stop = entry.text_start
    for number, (_, end) in enumerate(sentences(masked[entry.text_start : entry.end])):
        if number >= MAX_SENTENCES or entry.text_start + end - entry.start > MAX_DEFINITION_CHARACTERS:
            break
        stop = entry.text_start + end
    if stop == entry.text_start or shapes.speaks(masked[entry.text_start : stop]):
        return None
    value = GLOSSARY.weight - (0.15 if entry.plain else 0.0)
    name = entry.subject
    candidate = Candidate(name.entity, name.aliases, value, GLOSSARY.name, kind="", titled=False, proper=True, opens=False)
    return _make(text, masked, (entry.start, stop), candidate, refused, block=Block(Kind.ITEM, entry.start - 3, entry.end + 3))


def _make(
    text: str, masked: str, span: tuple[int, int], candidate: Candidate, refused: list[Refused], *, block: Block
) -> FoundDefinition | None:
    start, end = _widen(text, masked, span, block=block)
    definition = collapse(text[start:end])
    reason = screen(text[start:end]) or screen(readable(definition)) or screen(candidate.entity)
    if reason is not None:
        refused.append(Refused(candidate.entity, (start, end), reason))
        return None
    return FoundDefinition(candidate.entity, definition, (start, end), round(candidate.score, 3), candidate.pattern, candidate.aliases)


def _widen(text: str, masked: str, span: tuple[int, int], *, block: Block) -> tuple[int, int]:
    """Takes in the markup that touches the span, so that a link at its edge stays whole."""
    start, end = span
    while start > max(0, block.start) and masked[start - 1] == " " and not text[start - 1].isspace():
        start -= 1
    while end < min(len(text), block.end) and masked[end] == " " and not text[end].isspace():
        end += 1
    return start, end


def _settle(listed: list[FoundDefinition], own: list[tuple[Candidate, FoundDefinition]]) -> list[FoundDefinition]:
    """One definition an entity, the best first; an entry page keeps its own entry and only the plainest of its companions."""
    # The first paragraph of an entry outranks a plainer sentence further down, which may define the word in another sense.
    titled = [(candidate.opens, definition.score, -definition.span[0], definition) for candidate, definition in own if candidate.paged]
    best = max(titled, key=lambda made: made[:3])[3] if titled else None
    kept: dict[tuple[str, ...], FoundDefinition] = {}
    for candidate, definition in own:
        if best is None or definition is best or _is_companion(candidate, definition, best):
            _keep_best(kept, definition)
    for definition in listed:
        _keep_best(kept, definition)
    return sorted(kept.values(), key=lambda made: made.span)


def _is_companion(candidate: Candidate, definition: FoundDefinition, best: FoundDefinition) -> bool:
    """A plainly defined proper name of its own, not one that only adds words to the entry's."""
    adds = set(name_key(best.entity)) <= set(name_key(definition.entity))
    return not candidate.paged and candidate.proper and definition.score >= _COMPANION_SCORE and not adds


def _keep_best(kept: dict[tuple[str, ...], FoundDefinition], definition: FoundDefinition) -> None:
    key = name_key(definition.entity) or (definition.entity,)
    if key not in kept or definition.score > kept[key].score:
        kept[key] = definition
