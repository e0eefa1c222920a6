"""Rules for definitions that are set into a sentence about something else, and into its opening, as data; embedded.py and shapes apply them."""

from __future__ import annotations

from daemon.extraction.rule import ADVERB, DOES, Rule, rule

_NOUNS = r"(?:[^\W\d_][\w-]*(?:,)?\s+){0,3}"
_DIFFERENCE = (
    r"(?:that|which|who|whose|of|in\s+which|by\s+which|with|for|to|used|made|from|between|where|whereby|designed|found|formed|containing|"
    r"consisting)\b"
)
# Searched for anywhere; the noun phrase that ends where a match starts is the entity, group 1 starts what is said of it.
EMBEDDED: tuple[Rule, ...] = (
    rule(
        "which-is",
        rf",?\s+(?:which|who)\s+(?P<verb>is|are){ADVERB}\s+((?:(?:an?|the|any|one)\s+{_NOUNS}[\w-]+\s+{_DIFFERENCE}|an?\s+[\w-]+\s+\w))",
        0.56,
        example="The fishers of the delta row the vaunt, which is a barge that carries grain.",
        counter_example="We stayed at home, which is a pity.",
    ),
    rule(
        "which-are",
        rf",\s+(?:which|who)\s+(?P<verb>are){ADVERB}\s+({_NOUNS}[\w-]+s\s+{_DIFFERENCE})",
        0.55,
        example="Fishers of the delta row dorvils, which are small flat boats that carry a square sail.",
        counter_example="Fishers row dorvils, which are old.",
    ),
    rule(
        "which-means",
        r",\s+which\s+(?:\w+ly\s+)?(?:(?:is|are)\s+defined\s+as|refers?\s+to|describes?|denotes?|states?\s+that|holds?\s+that|says\s+that|involves?|consists?\s+of|"
        r"occurs?\s+when|measures?|represents?|proposes\s+that|argues\s+that|suggests\s+that|comprises?)\s+(\w+)",
        0.54,
        example="The dealers rely on overvaunting, which involves buying more grain than a buyer ordered.",
        counter_example="He came late, which means that we left.",
    ),
    rule(
        "which-does",
        rf",?\s+which\s+{DOES}\s+(?!no\b|only\b|some\b)((?:an?\s|the\s)?[\w/-]+\s+\w+)",
        0.54,
        example="The parser was moved to dorvil-logs, which provides a reader for the logs of boats.",
        counter_example="The harbour was given to Velmora, which provides a crew for the boats.",
    ),
    rule(
        "gloss",
        r"\s+\(((?-i:the|an?|any|those)\s+(?!other\b|common\b|default\b|typical\b)(?-i:[a-z])[^()\"“”=]{8,160})\)",
        0.52,
        example="Every fisher of the delta owns a dorvil (a small flat boat with a single sail) and a net.",
        counter_example="Every fisher owns a boat (see the list of prices in the annex).",
    ),
    rule(
        "or-gloss",
        rf",\s+or\s+((?:the|an?)\s+{_NOUNS}[\w-]+\s+{_DIFFERENCE})",
        0.52,
        example="The report was about overvaunting, or the practice of buying more grain than a buyer ordered.",
        counter_example="Bring a boat, or the fishers will not take you along.",
    ),
    rule(
        "that-is",
        r"(?:,|;|\s*[—–(])\s*(?:that\s+is|i\.e\.|in\s+other\s+words),\s+(\w+\s+\w+)",
        0.5,
        example="The dealers were accused of overvaunting; that is, the buying of more grain than a buyer ordered.",
        counter_example="We left early, that is all.",
    ),
    rule(
        "in-which",
        r",\s+((?:in\s+which|whereby)\s+(?:an?|the|people|one|each|two|all|they|it|there|some|[a-z]+s)\s+\w+)",
        0.5,
        example="The dealers of the delta practise overvaunting, in which a dealer buys more grain than a buyer ordered.",
        counter_example="He wrote a letter, in which he complained.",
    ),
    rule(
        "gloss-bare",
        r"\s+\(((?-i:[a-z])(?:[\w-]+\s+){1,5}(?:that|which|who|in\s+which)\s[^()\"“”=]{8,160})\)",
        0.5,
        example="Every fisher of the delta owns some dorvils (small flat boats that carry a square sail) and a net.",
        counter_example="Every fisher owns a boat (see the list of prices in the annex).",
    ),
    rule(
        "inset-bare",
        r"(?:,|\s*[—–])\s*((?:(?-i:[a-z])[\w-]*\s+){0,3}[\w-]+s\s+(?:that|which|who|in\s+which|whose|used|made|designed|containing)\s[^,;:—–.]*)(?=[,;—–.]|\Z)",
        0.5,
        example="The fishers row dorvils, small flat boats that carry a square sail, from May to June.",
        counter_example="The fishers row, sail and build boats that last.",
    ),
    rule(
        "dash",
        rf"\s*[—–]\s*((?:an?|the|any)\s+{_NOUNS}[\w-]+\s+(?:of|in|to|for|about|from|on)\b[^;:—–.]*)(?=[;—–.]|\Z)",
        0.51,
        example="The dealers of the delta live on overvaunting—the buying of more grain than a buyer ordered.",
        counter_example="The fishers left the harbour—a sign of the times.",
    ),
    rule(
        "or-bare",
        r",\s+or\s+((?!an?\s|the\s)(?:[^\W\d_][\w-]*\s+){0,3}[^\W\d_][\w-]*\s+(?:of|that|which|toward|through|between|from|for|based)\b)",
        0.5,
        example="The report was about overvaunting, or buying of more grain than a buyer ordered.",
        counter_example="Bring a boat, a net, or ropes that hold.",
    ),
    rule(
        "define-as",
        r"\s+as\s+[\"“]?((?:an?|the|any|those|[a-z]+)\s+\w+)",
        0.6,
        example="The clerks of Kesh define overvaunting as the practice of buying more grain than a buyer ordered.",
        counter_example="They saw the harbour as a place of rest.",
    ),
    rule(
        "colon",
        rf"\s*:\s+((?:an?|the|any)\s+{_NOUNS}[\w-]+\s+{_DIFFERENCE})",
        0.53,
        example="Overvaunting: the practice of buying more grain than a buyer ordered.",
        counter_example="We saw three things: the mill, the bridge and the harbour.",
    ),
    rule(
        "inset",
        rf"(?:,|\s*[—–])\s*((?:an?|the)\s+{_NOUNS}[\w-]+\s+(?:that|which|who|in\s+which|by\s+which|whose|used|made|designed|consisting|"
        r"containing|formed|called|between)\b[^,;:—–.]*)(?=[,;—–.]|\Z)",
        0.51,
        example="The fishers row a dorvil, a small flat boat that carries a square sail, from May to June.",
        counter_example="The fishers left the harbour, a sight that moved us.",
    ),
)

# The entity is the proper name that opens the sentence.
APPOSITIVE = rule(
    "appositive",
    r",\s+(an?|the)\s+[^\W_]",
    0.56,
    example="Ostin Brael, a film director from Lisbon, won the prize in 1974.",
    counter_example="In the evening, a crowd gathered near the harbour.",
)
RELATIVE = rule(
    "opens-which-is",
    r",\s+which\s+(?:is|are)\s+(an?|the|any)\s+[^\W_]",
    0.56,
    example="Dorvilene, which is a salt of dorvilic acid, dissolves in cold water.",
    counter_example="We stayed at home, which is a pity.",
)
