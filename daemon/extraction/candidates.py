"""What one rule says of one sentence, and what the sentence's place adds: the title that names its entity."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.extraction.clauses import Clause
from daemon.extraction.rule import Rule
from daemon.extraction.scoring import Setting
from daemon.extraction.subjects import Subject
from daemon.extraction.titles import Title, fuller_name, same_thing


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sentence stands: its number in its paragraph, whether that opens the document, and the names above it."""

    index: int
    opens: bool
    item: bool
    page: Title | None
    heading: Title | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one rule says of one sentence. `titled`: a title names the entity; `paged`: the page's own title does."""

    entity: str
    aliases: tuple[str, ...]
    score: float
    pattern: str
    kind: str
    titled: bool
    proper: bool
    opens: bool
    paged: bool = False


def titled_by(subject: Subject, place: Place) -> Title | None:
    for title in (place.page, place.heading):
        if title is not None and same_thing(title, subject.entity, subject.aliases):
            return title
    opening = place.opens and place.index == 0 and subject.proper and not subject.joined
    return place.page if opening and place.page is not None and fuller_name(place.page, subject.entity) else None


def candidate_of(subject: Subject, value: float, rule: Rule, *, kind: str, place: Place) -> Candidate:
    title = titled_by(subject, place)
    if title is None:
        return Candidate(subject.entity, subject.aliases, value, rule.name, kind, titled=False, proper=subject.proper, opens=place.opens)
    names = dict.fromkeys(name for name in (*title.aliases, subject.entity, *subject.aliases) if name.lower() != title.name.lower())
    return Candidate(
        title.name, tuple(names), value, rule.name, kind, titled=True, proper=subject.proper, opens=place.opens, paged=title is place.page
    )


def setting_of(subject: Subject, clause: Clause, place: Place) -> Setting:
    titled = titled_by(subject, place) is not None
    return Setting(place.index, titled, clause.lead, opens_document=place.opens and place.index == 0)
