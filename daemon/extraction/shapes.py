"""Asks every rule about one sentence and returns the best candidate. Between the rules (data) and find.py (the document)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from daemon.extraction.clauses import Clause, read
from daemon.extraction.rules import APPOSITIVE, ENTRY, NAMINGS, PREDICATES, RELATIVE, Rule
from daemon.extraction.scoring import Setting, kind_head, names_a_document, predicate, score, speaks_to_someone
from daemon.extraction.subjects import Subject, name_from_words, read_subject
from daemon.extraction.titles import Title, fuller_name, same_thing
from daemon.extraction.words import (
    DETERMINERS,
    EVENT_VERBS,
    FIRST_OR_SECOND_PERSON,
    PREPOSITIONS,
    PRONOUNS,
    REPORTING_VERBS,
    ROLE_VERBS,
    SOFT_ADVERBS,
    SUBORDINATORS,
    words,
)

_TRIGGER = re.compile(
    r"\b(?:is|are|was|were|refers?|means?|denotes?|signif(?:y|ies)|designates?|stands?|describes?|called|known|termed|named|referred|dubbed)\b"
    r"|,\s+(?:an?|the|which)\s",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"[\"“(\s]*(?P<word>it|this)\s+(?=(?:is|was)\s+(?:an?|the|one of)\s)", re.IGNORECASE)
# inside a sentence, May is a month
_WAVERS = re.compile(r"\b(?:may|(?i:might|could|perhaps|probably|possibly|reportedly|allegedly|rumou?red))\b|\A\W*May\b|!\s*\Z")
_NAME_STOPS = words(
    """
    that which who whose because and or when where in for by to with from is are was were as after due if while since at on into
    can will may has  have had but so than during before until through under between they it he she we you this these its their
    his her a an the
    """
)
_ADJECTIVE = re.compile(r"(?:ous|ic|ible|able|al|ive|ed|ent|ant)\Z")
_MIN_DESCRIPTION_WORDS = 5
_TITLE_BONUS_ROOM = 12


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


def best(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """The strongest candidate that text[start:end] gives, with the name its title writes; None where no rule holds."""
    sentence = text[start:end]
    if sentence.rstrip('"”’)] ').endswith("?") or not (place.opens or _TRIGGER.search(sentence)):
        return None
    found = _pronoun(text, start, end, place=place)
    clause = read(text, start, end) if found is None else None
    if clause is not None:
        options = [
            option
            for option in (
                _predicate(text, end, clause, place=place),
                _opening(text, end, clause, place=place),
                _entry(text, end, clause, place=place),
            )
            if option
        ]
        found = max(options, key=lambda option: option.score) if options else None
    if found is None or found.score < 0.5:
        found = _naming(text, start, end, place=place) or found
    if found is None:
        return None
    return replace(found, score=found.score - (0.05 if found.titled else 0.2)) if speaks_to_someone(sentence) else found


def wavers(sentence: str) -> bool:
    """True where a sentence guesses, shouts or speaks to its reader: it does not go on defining."""
    return bool(_WAVERS.search(sentence)) or speaks_to_someone(sentence)


def speaks(text: str) -> bool:
    return speaks_to_someone(text)


def _titled(subject: Subject, place: Place) -> Title | None:
    for title in (place.page, place.heading):
        if title is not None and same_thing(title, subject.entity, subject.aliases):
            return title
    opening = place.opens and place.index == 0 and subject.proper and not subject.joined
    return place.page if opening and place.page is not None and fuller_name(place.page, subject.entity) else None


def _candidate(subject: Subject, value: float, rule: Rule, *, kind: str, place: Place) -> Candidate:
    title = _titled(subject, place)
    if title is None:
        return Candidate(subject.entity, subject.aliases, value, rule.name, kind, titled=False, proper=subject.proper, opens=place.opens)
    names = dict.fromkeys(name for name in (*title.aliases, subject.entity, *subject.aliases) if name.lower() != title.name.lower())
    return Candidate(
        title.name, tuple(names), value, rule.name, kind, titled=True, proper=subject.proper, opens=place.opens, paged=title is place.page
    )


def _setting(subject: Subject, clause: Clause, place: Place) -> Setting:
    titled = _titled(subject, place) is not None
    return Setting(place.index, titled, clause.lead, opens_document=place.opens and place.index == 0)


def _predicate(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
    """ "X is a ...", "X refers to ...": a rule that holds at the main verb."""
    if clause.verb is None:
        return None
    at = clause.tokens[clause.verb].start
    for rule in PREDICATES:
        match = rule.pattern.match(text, at, end)
        if match is None:
            continue
        subject = read_subject(clause)
        if subject is None:
            return None
        if (rule.name == "describes" and not subject.termed) or (rule.name == "stands-for" and not (subject.proper or subject.termed)):
            return None
        said = predicate(
            rule.name, rule.weight, clause.tokens[clause.verb].text, text=text[match.start(1) : end], bare=rule.name == "copula-bare"
        )
        if rule.name in ("copula-a", "copula-the"):
            said = predicate(rule.name, rule.weight, said.verb, text=text[match.end(1) : end], bare=False)
        value = score(subject, said, _setting(subject, clause, place))
        return _candidate(subject, value, rule, kind=kind_head(said), place=place)
    return None


def _opening(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
    """ "X, a ..., ..." and "X, which is a ...": the name that opens the sentence, and what its first comma adds."""
    comma = next((n for n in range(clause.first + 1, min(len(clause.tokens), clause.first + 9)) if clause.tokens[n].text == ","), None)
    if comma is None or (clause.verb is not None and clause.verb < comma):
        return None
    for rule in (RELATIVE, APPOSITIVE):
        at = clause.tokens[comma].start
        match = rule.pattern.match(text, at, end)
        subject = read_subject(clause, until=comma) if match else None
        if match is None or subject is None:
            continue
        inside = text[match.end(1) : end].split(",")[0]
        if rule is APPOSITIVE and not _stands_in_apposition(subject, clause, comma, inside=inside):
            continue
        if rule is APPOSITIVE and match.group(1).lower() == "the" and _titled(subject, place) is None:
            continue  # "Ostin Brael, the director of the NYA, hired ...": it says which one, not what
        said = predicate(rule.name, rule.weight - (0.1 if match.group(1).lower() == "the" else 0.0), "is", text=inside, bare=False)
        return _candidate(subject, score(subject, said, _setting(subject, clause, place)), rule, kind=kind_head(said), place=place)
    return None


def _stands_in_apposition(subject: Subject, clause: Clause, comma: int, *, inside: str) -> bool:
    """A proper name of its own, a second comma, no "and" in between: not a list, not a lead-in."""
    name = clause.tokens[clause.first : comma]
    capitals = sum(token.text[0].isupper() or token.text[0].isdigit() for token in name)
    closed = next((n for n in range(comma + 1, min(len(clause.tokens), comma + 40)) if clause.tokens[n].text == ","), None)
    if closed is None or closed + 1 >= len(clause.tokens) or len(inside.split()) < 2:
        return False
    after = clause.tokens[closed + 1].lower
    follows = after not in PREPOSITIONS | DETERMINERS | PRONOUNS | REPORTING_VERBS | {"and", "or", "but"}
    words = [word for word in name if word.lower not in PREPOSITIONS | DETERMINERS]
    return subject.proper and capitals >= len(words) and follows and " and " not in f" {inside} " and clause.lead != "connective"


def _entry(text: str, end: int, clause: Clause, *, place: Place) -> Candidate | None:
    """ "A service relay intercepts ...": the page's title as the subject of a plain present verb, in the first paragraph."""
    if place.page is None or not place.opens or place.index > 2:
        return None
    for until in range(min(len(clause.tokens) - 2, clause.first + _TITLE_BONUS_ROOM), clause.first, -1):
        subject = read_subject(clause, until=until)
        if subject is None or not same_thing(place.page, subject.entity, subject.aliases) or not _defining_verb(clause, until):
            continue
        value = ENTRY.weight - 0.04 * place.index - (0.06 if clause.lead == "connective" else 0.0)
        return _candidate(subject, value, ENTRY, kind="", place=place)
    return None


def _defining_verb(clause: Clause, at: int) -> bool:
    while at < len(clause.tokens) - 1 and (clause.tokens[at].lower in SOFT_ADVERBS or clause.tokens[at].text == ","):
        at += 1
    word, before = clause.tokens[at], clause.tokens[at - 1].lower
    if word.lower in ROLE_VERBS:
        return True
    if word.text != word.lower or word.lower in EVENT_VERBS | PREPOSITIONS | PRONOUNS | DETERMINERS or not word.lower.isalpha():
        return False
    singular = not (before.endswith("s") and not before.endswith(("ss", "us", "is")))
    third_person = word.lower.endswith("s") and not word.lower.endswith(("ss", "us"))
    blocked = word.lower in {"and", "or", "but", "not", "is", "are", "was", "were", "can", "may", "will", "must", "should", "did", "had"}
    return not blocked and (third_person if singular else not re.search(r"(?:ed|ing|ly|s)\Z", word.lower))


def _pronoun(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "It is a ..." at the very start of a page whose title is the plain name of a thing."""
    match = _PRONOUN.match(text, start, end)
    if match is None or place.page is None or not place.page.plain or not place.opens or place.index > 0:
        return None
    for rule in PREDICATES[:3]:
        held = rule.pattern.match(text, match.end(), end)
        if held is None:
            continue
        said = predicate(rule.name, rule.weight, "is", text=text[held.end(1) : end], bare=False)
        if match["word"].lower() == "this" and names_a_document(said):
            return None
        name = name_from_words(place.page.name)
        if name is None:
            return None
        value = score(name, said, Setting(0, True, "", opens_document=True)) - 0.2
        return replace(_candidate(name, value, rule, kind=kind_head(said), place=place), entity=place.page.name, titled=True, paged=True)
    return None


def _naming(text: str, start: int, end: int, *, place: Place) -> Candidate | None:
    """ "A long description is called X" and "a small boat called X, which ...": the sentence names its entity at the end."""
    for rule in NAMINGS:
        for match in rule.pattern.finditer(text, start, end):
            subject = _named(match)
            if subject is None or place.item:
                continue
            value = _naming_score(text, start, end, match=match, rule=rule)
            if value >= 0.5:
                return _candidate(subject, value - (0.03 if place.index else 0.0), rule, kind="", place=place)
    return None


def _named(match: re.Match[str]) -> Subject | None:
    words: list[str] = []
    for word in match["name"].split():
        if word.lower().strip(".,—–") in _NAME_STOPS or "—" in word or "–" in word:
            head = re.split("[—–]", word)[0]
            words += [head] if head and head.lower() not in _NAME_STOPS else []
            break
        words.append(word)
    if not 0 < len(words) <= 5 or (len(words) == 1 and match["article"] is None and _ADJECTIVE.search(words[0].rstrip(".?!—–"))):
        return None
    return name_from_words(" ".join(words).rstrip(".?!"))


def _naming_score(text: str, start: int, end: int, *, match: re.Match[str], rule: Rule) -> float:
    before = re.sub(r"\([^()]{0,200}\)", " ", text[start : match.start()]).split()
    after = text[match.end("name") : end]
    lowers = {word.lower().strip(",.;") for word in before}
    if lowers & FIRST_OR_SECOND_PERSON or len(before) < _MIN_DESCRIPTION_WORDS:
        return 0.0
    if rule.name == "called":
        explained = (
            re.match(r"\W{0,3}\s*(?:,\s*)?(?:which|that|who|a|an)\b", after) is not None and len(after.split()) >= _MIN_DESCRIPTION_WORDS
        )
        return rule.weight + 0.06 if explained and {"a", "an"} & set(_last(before, 9)) else 0.0
    opener = before[0].lower()
    parts = " ".join(before).split(";")
    # "Some soils hold sand and silt; these soils are called loams": the pointing word points inside the sentence.
    backward = {"they"} if len(parts) > 1 else {"this", "these", "such", "they", "it"}
    pointing = bool(backward & {word.lower().strip(",.") for word in parts[-1].split()}) or opener in PRONOUNS | SUBORDINATORS
    described = bool(lowers & {"that", "which", "who", "whose", "where", "when", "of", "between", "with", "by", "from", "in"})
    if pointing or not described or opener in PREPOSITIONS:
        return 0.0
    return rule.weight


def _last(words: list[str], count: int) -> list[str]:
    return [word.lower() for word in words[-count:]]
