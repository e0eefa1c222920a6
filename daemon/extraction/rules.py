"""The predicates and shapes that make a sentence a definition, as data: every rule has a name, a pattern, a weight and two examples.

A predicate rule is matched at the main verb, after the subject was found (clauses.py); a naming rule names its entity itself.
Weights are where a plain case starts; scoring.py raises and lowers them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ADVERB = (
    r"(?:,?\s+(?:generally|usually|typically|often|commonly|essentially|basically|simply|traditionally|historically|technically|formally|informally|"
    r"originally|broadly|sometimes|officially|primarily|mainly|mostly|also|itself|both|either|especially|effectively|still|strictly|roughly|now|"
    r"currently|formerly|quite|rather|thus|therefore|in general|in essence|by definition|in fact|at its core|in mathematics|in short),?)?"
)
_BE = r"(?:is|are|was|were|will be)\b"
_KIND = (
    r"(?:kind|type|form|sort|class|family|genus|species|group|set|collection|series|branch|member|variety|style|method|subset|category|"
    r"breed|pair)"
)


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    pattern: re.Pattern[str]
    weight: float
    example: str
    counter_example: str
    title: str | None = None  # the title under which the examples stand


def _rule(name: str, pattern: str, weight: float, *, example: str, counter_example: str) -> Rule:
    return Rule(name, re.compile(pattern, re.IGNORECASE), weight, example, counter_example)


# Matched at the main verb; group 1, where there is one, starts the defining noun phrase.
PREDICATES: tuple[Rule, ...] = (
    _rule(
        "copula-one-of",
        rf"{_BE}{_ADVERB}\s+(one of|any of|any|either of|either|some of)\s+\w",
        0.62,
        example="A dorvil is any of the small boats used by the fishers of Kesh.",
        counter_example="The weather is one of many reasons why we stayed.",
    ),
    _rule(
        "copula-one-that",
        rf"{_BE}{_ADVERB}\s+((?:one|someone|anyone|anything|something|those|that)\s+(?:who|whom|that|which|whose|with|we|in\s+which|where|(?:of\s+\w+|built|made|based|used|found|characterized)\s)\b)",
        0.64,
        example="A dorvil sale is one in which the buyer pays for the sail only.",
        counter_example="The harbour is something that we miss.",
    ),
    _rule(
        "copula-what",
        rf"{_BE}{_ADVERB}\s+((?:how|what|when|where|the (?:point|time|place) (?:at|in) which)\s+\w+)",
        0.58,
        example="Dorvil draught is how deep a boat lies in the water.",
        counter_example="The harbour is where we met.",
    ),
    _rule(
        "copula-possessive",
        rf"{_BE}{_ADVERB}\s+([^\W\d_][\w-]*(?:\s[\w-]+)?(?:['’]s|s['’])\s+\w)",
        0.54,
        example="Vauntage is a dealer’s power to set prices by waiting; vauntism is people’s desire to own many boats.",
        counter_example="The boats are Toll’s and nobody else’s.",
    ),
    _rule(
        "copula-a",
        rf"{_BE}{_ADVERB}\s+(an?)\s+[^\W_]",
        0.8,
        example="Velmora Kesh is a comedy film directed by Ostin Brael.",
        counter_example="It is a pity that the film was never shown.",
    ),
    _rule(
        "copula-the",
        rf"{_BE}{_ADVERB}\s+(the)\s+[^\W_]",
        0.66,
        example="Kesh metering is the measurement of water that flows through an open channel.",
        counter_example="The hedgehog is the symbol of our team.",
    ),
    _rule(
        "copula-number",
        rf"{_BE}{_ADVERB}\s+(two or more|three or more|several|those|a number of|that (?:part|branch|area|portion|field))\s+\w",
        0.6,
        example="Dorvil pairs are two or more boats that share a single sail.",
        counter_example="The several prices are quite low in winter.",
    ),
    _rule(
        "copula-kind",
        rf"{_BE}{_ADVERB}\s+((?:[\w-]+\s+){{1,2}}{_KIND}s?\s+of|{_KIND}s\s+of)\s+\w",
        0.7,
        example="Dorvils are small species of freshwater crabs.",
        counter_example="Ticket prices were sort of steep last year.",
    ),
    _rule(
        "refers-to",
        rf"(?:(?:can |may )?(?:also )?refers?|is used to refer|are used to refer){_ADVERB}\s+to\s+(?![^,;.]{{0,120}}\bas\b)(\w)",
        0.82,
        example="Kesh metering refers to the measurement of water in open channels.",
        counter_example="Dealers refer to this effect as slippage.",
    ),
    _rule(
        "means",
        r"(?:means?|denotes?|signif(?:y|ies)|designates?)\s+(?!of\b|that\b|to\b|you\b|we\b|nothing\b|less\b|more\b|it\b|they\b|there\b|no\b)(\w|[\"“'‘])",
        0.6,
        example="Personalty is a legal term; it denotes goods. Dorvilry means the right to fish in a river.",
        counter_example="High pressure means that the valve will open.",
    ),
    _rule(
        "stands-for",
        r"stands?\s+for\s+(\w|[\"“'‘])",
        0.7,
        example="KMU stands for Kesh Metering Unit.",
        counter_example="The mayor stands for election in spring.",
    ),
    _rule(
        "defined-as",
        rf"(?:is|are|was|were|can be|may be){_ADVERB}\s+"
        r"(?:defined\s+by|(?:best\s+|\w+ly\s+)?defined\s+(?:as|to be)|(?:best\s+|\w+ly\s+)?(?:described|understood)\s+as\s+(?:an?|the))\s+(\w)",
        0.78,
        example="Kesh pressure is defined as the force per unit of sail.",
        counter_example="The borders of the lot are clearly defined by fences.",
    ),
    _rule(
        "copula-bare",
        rf"{_BE}{_ADVERB}\s+([^\W\d_][\w-]*)\b",
        0.52,
        example="Dorvils are nocturnal river crabs that live in the delta of the Kesh.",
        counter_example="Dorvils are often cooked in salted water.",
    ),
)

# Matched at a plain verb behind the subject, where no copula was found to define it.
VERBS_OF_MEANING: tuple[Rule, ...] = (
    _rule(
        "consists-of",
        r"(?:consists?\s+(?:\w+ly\s+|either\s+)?of|comprises?|(?:is|are)\s+(?:composed|comprised|made\s+up)\s+of)\s+(?!(?:\w+\s+)?(?:two|three|four|five|six|seven|eight|nine|ten|several|many|some)\b)[^\W\d]",
        0.56,
        example="Dorvil rigging consists of a square sail and two ropes.",
        counter_example="The menu consists of three courses.",
    ),
    _rule(
        "occurs-when",
        r"(?:occurs?|happens?|arises?|exists?|results?|takes?\s+place)\s+(?:only\s+)?(?:when|if|in\s+which|whenever)\s+\w",
        0.62,
        example="Overvaunting occurs when a dealer buys more grain than a buyer ordered.",
        counter_example="It happens when the wind turns.",
    ),
    _rule(
        "involves",
        r"involves?\s+(?!you\b|me\b|us\b|them\b)[^\W\d]",
        0.54,
        example="Dorvil racing involves the steering of small boats around a fixed mark.",
        counter_example="The plan involves you and me.",
    ),
    _rule(
        "marked-by",
        r"(?:is|are)\s+(?:\w+ly\s+)?(?:characteri[sz]ed|marked|distinguished)\s+by\s+\w",
        0.56,
        example="Dorvil fever is characterized by a pale skin and a fear of boats.",
        counter_example="The harbour is marked by a buoy.",
    ),
    _rule(
        "acts-as",
        r"(?:acts?|serves?|functions?)\s+as\s+(?:an?|the)\s+\w",
        0.5,
        example="Dorvil resin acts as a seal between the planks of a boat.",
        counter_example="The mayor acts as a witness.",
    ),
    _rule(
        "states-that",
        r"(?:states?|holds?|says|posits?|asserts?|proposes?|suggests?|predicts?|maintains?)\s+that\b",
        0.6,
        example="The law of dorvils states that no two boats may share one mooring.",
        counter_example="The mayor says that the harbour is closed.",
    ),
    _rule(
        "describes",
        r"describes?\s+(?:an?|the|any|those|how|when|what|people|situations?)\s+\w",
        0.52,
        example="Dorvil drift describes the movement of a boat whose sail is down.",
        counter_example="The witness describes the car as red.",
    ),
    _rule(
        "measures",
        r"(?:measures|represents|indicates|specifies|signals)\s+(?:the|how|an?|whether)\s+\w",
        0.5,
        example="Kesh draught measures how deep a boat lies in the water.",
        counter_example="The clerk measures the boat.",
    ),
    _rule(
        "does",
        r"(?:provides|implements|converts|offers|wraps|exposes|parses|renders|generates|compiles|translates|computes|measures|extracts|encodes|"
        r"decodes|manages|monitors|detects|stores|retrieves|features|automates|maps|selects|combines|returns|calculates|assigns)\s+(?!no\b|only\b|some\b)((?:an?\s|the\s|all\s)?[\w/-]+\s+\w+)",
        0.56,
        example="The dorvil crate provides a parser for the logs that boats write.",
        counter_example="Velmora provides work for the people of the delta.",
    ),
    _rule(
        "used-for",
        r"(?:is|are)\s+(?:\w+ly\s+|often\s+)?used\s+to\s+(?:describe|indicate|denote|mean|designate|describe|refer\s+to)\s+\w",
        0.6,
        example="The word dorvil is used to describe a small flat boat.",
        counter_example="The flag is used to indicate wind.",
    ),
)
# The subject of "states that" is one of these, else a speaker.
STATEMENTS = (
    r"(?:laws?|principles?|theory|theorem|hypothesis|rule|effect|doctrine|argument|paradox|model|view|perspective|approach|clause|amendment|"
    r"concept|axiom|postulate|conjecture|equation|fallacy|school|policy|test|lemma|dogma)\Z"
)

_NAMED = r"(?:called|known\s+as|termed|named|referred\s+to\s+as|dubbed|labell?ed)"
_MANNER = (
    r"(?:(?:also|often|commonly|usually|generally|sometimes|collectively|simply|now|together|formally|technically|popularly|otherwise|thus|"
    r"therefore|typically|better|variously|more (?:commonly|formally|properly|generally))\s+)?"
)
_NAME = r"(?:(?P<article>the|an?|its|their)\s+)?[\"“‘']?(?P<name>[^\s,;:()\"”]+(?:[ \t\n\r]+[^\s,;:()\"”]+){0,5})[\"”’']?"

# A verb that names what the sentence described before it; naming.py asks what that was and picks one of NAMINGS.
NAMING_VERB = re.compile(
    rf"\b(?:(?P<be>(?:is|are)\s+{_MANNER})(?:{_NAMED})|(?<=[\w,—–]\s){_MANNER}(?:called|known\s+as|termed|referred\s+to\s+as))\s+{_MANNER}{_NAME}",
    re.IGNORECASE,
)
NAMINGS: tuple[Rule, ...] = (
    _rule(
        "is-called",
        NAMING_VERB.pattern,
        0.66,
        example="The market in which dealers trade one currency for another is called the vaunt market.",
        counter_example="This is called the vaunt market.",
    ),
    _rule(
        "when-called",
        NAMING_VERB.pattern,
        0.6,
        example="When a dealer buys more grain than a buyer ordered, it is called overvaunting.",
        counter_example="When he came home, he was called a hero.",
    ),
    _rule(
        "this-is-called",
        NAMING_VERB.pattern,
        0.55,
        example="Grain swells while it waits in the holds of the boats; this is known as dorvil swell.",
        counter_example="This market is called the vaunt market.",
    ),
    _rule(
        "also-called",
        NAMING_VERB.pattern,
        0.5,
        example="Overvaunting, also known as grain rushing, takes place in the weeks before harvest.",
        counter_example="Then, also known as a quiet man, he left.",
    ),
    _rule(
        "called",
        NAMING_VERB.pattern,
        0.5,
        example="Fishers in the delta row a small flat boat called a dorvil, which carries a single square sail.",
        counter_example="The boat club called a meeting.",
    ),
)

_NOUNS = r"(?:[^\W\d_][\w-]*(?:,)?\s+){0,3}"
_DIFFERENCE = (
    r"(?:that|which|who|whose|of|in\s+which|by\s+which|with|for|to|used|made|from|between|where|whereby|designed|found|formed|containing|"
    r"consisting)\b"
)
# Searched for anywhere; the noun phrase that ends where a match starts is the entity, group 1 starts what is said of it.
EMBEDDED: tuple[Rule, ...] = (
    _rule(
        "which-is",
        rf",?\s+(?:which|who)\s+(?P<verb>is|are){_ADVERB}\s+((?:(?:an?|the|any|one)\s+{_NOUNS}[\w-]+\s+{_DIFFERENCE}|an?\s+[\w-]+\s+\w))",
        0.56,
        example="The fishers of the delta row the vaunt, which is a barge that carries grain.",
        counter_example="We stayed at home, which is a pity.",
    ),
    _rule(
        "which-are",
        rf",\s+(?:which|who)\s+(?P<verb>are){_ADVERB}\s+({_NOUNS}[\w-]+s\s+{_DIFFERENCE})",
        0.55,
        example="Fishers of the delta row dorvils, which are small flat boats that carry a square sail.",
        counter_example="Fishers row dorvils, which are old.",
    ),
    _rule(
        "which-means",
        r",\s+which\s+(?:\w+ly\s+)?(?:(?:is|are)\s+defined\s+as|refers?\s+to|describes?|denotes?|states?\s+that|holds?\s+that|says\s+that|involves?|consists?\s+of|"
        r"occurs?\s+when|measures?|represents?|proposes\s+that|argues\s+that|suggests\s+that|comprises?)\s+(\w+)",
        0.54,
        example="The dealers rely on overvaunting, which involves buying more grain than a buyer ordered.",
        counter_example="He came late, which means that we left.",
    ),
    _rule(
        "gloss",
        r"\s+\(((?-i:the|an?|any|those)\s+(?!other\b|common\b|default\b|typical\b)(?-i:[a-z])[^()\"“”=]{8,160})\)",
        0.52,
        example="Every fisher of the delta owns a dorvil (a small flat boat with a single sail) and a net.",
        counter_example="Every fisher owns a boat (see the list of prices in the annex).",
    ),
    _rule(
        "or-gloss",
        rf",\s+or\s+((?:the|an?)\s+{_NOUNS}[\w-]+\s+{_DIFFERENCE})",
        0.52,
        example="The report was about overvaunting, or the practice of buying more grain than a buyer ordered.",
        counter_example="Bring a boat, or the fishers will not take you along.",
    ),
    _rule(
        "that-is",
        r"(?:,|;|\s*[—–(])\s*(?:that\s+is|i\.e\.|in\s+other\s+words),\s+(\w+\s+\w+)",
        0.5,
        example="The dealers were accused of overvaunting; that is, the buying of more grain than a buyer ordered.",
        counter_example="We left early, that is all.",
    ),
    _rule(
        "in-which",
        r",\s+((?:in\s+which|whereby)\s+(?:an?|the|people|one|each|two|all|they|it|there|some|[a-z]+s)\s+\w+)",
        0.5,
        example="The dealers of the delta practise overvaunting, in which a dealer buys more grain than a buyer ordered.",
        counter_example="He wrote a letter, in which he complained.",
    ),
    _rule(
        "gloss-bare",
        r"\s+\(((?-i:[a-z])(?:[\w-]+\s+){1,5}(?:that|which|who|in\s+which)\s[^()\"“”=]{8,160})\)",
        0.5,
        example="Every fisher of the delta owns some dorvils (small flat boats that carry a square sail) and a net.",
        counter_example="Every fisher owns a boat (see the list of prices in the annex).",
    ),
    _rule(
        "inset-bare",
        r"(?:,|\s*[—–])\s*((?:(?-i:[a-z])[\w-]*\s+){0,3}[\w-]+s\s+(?:that|which|who|in\s+which|whose|used|made|designed|containing)\s[^,;:—–.]*)(?=[,;—–.]|\Z)",
        0.5,
        example="The fishers row dorvils, small flat boats that carry a square sail, from May to June.",
        counter_example="The fishers row, sail and build boats that last.",
    ),
    _rule(
        "define-as",
        r"\s+as\s+((?:an?|the|any|those|[a-z]+)\s+\w+)",
        0.6,
        example="The clerks of Kesh define overvaunting as the practice of buying more grain than a buyer ordered.",
        counter_example="They saw the harbour as a place of rest.",
    ),
    _rule(
        "colon",
        rf"\s*:\s+((?:an?|the|any)\s+{_NOUNS}[\w-]+\s+{_DIFFERENCE})",
        0.53,
        example="Overvaunting: the practice of buying more grain than a buyer ordered.",
        counter_example="We saw three things: the mill, the bridge and the harbour.",
    ),
    _rule(
        "inset",
        rf"(?:,|\s*[—–])\s*((?:an?|the)\s+{_NOUNS}[\w-]+\s+(?:that|which|who|in\s+which|by\s+which|whose|used|made|designed|consisting|"
        r"containing|formed|called|between)\b[^,;:—–.]*)(?=[,;—–.]|\Z)",
        0.51,
        example="The fishers row a dorvil, a small flat boat that carries a square sail, from May to June.",
        counter_example="The fishers left the harbour, a sight that moved us.",
    ),
)

# The entity is the proper name that opens the sentence.
APPOSITIVE = _rule(
    "appositive",
    r",\s+(an?|the)\s+[^\W_]",
    0.56,
    example="Ostin Brael, a film director from Lisbon, won the prize in 1974.",
    counter_example="In the evening, a crowd gathered near the harbour.",
)
RELATIVE = _rule(
    "opens-which-is",
    r",\s+which\s+(?:is|are)\s+(an?|the|any)\s+[^\W_]",
    0.56,
    example="Dorvilene, which is a salt of dorvilic acid, dissolves in cold water.",
    counter_example="We stayed at home, which is a pity.",
)
ENTRY = Rule(
    "entry",
    re.compile(r"[^\W\d_]"),
    0.64,
    "A service relay intercepts traffic to a service and forwards it.",
    "A Quick summary of the concept, what it is.",
    title="Service Relay",
)
GLOSSARY = Rule(
    "glossary",
    re.compile(r"[^\W\d_]"),
    0.75,
    "- **Dorvil** — a small flat boat with a single square sail\n- **Vaunt** — a market in which dealers trade currencies",
    "**Status:** Not started",
)

ALL_RULES: tuple[Rule, ...] = (*PREDICATES, *VERBS_OF_MEANING, *NAMINGS, *EMBEDDED, APPOSITIVE, RELATIVE, ENTRY, GLOSSARY)
