"""Every rule that makes a sentence a definition: each has a name, a pattern, a weight and two examples, and each is tested by them.

A predicate rule is matched at the main verb, after the subject was found (clauses.py); a naming rule names its entity itself.
Weights are where a plain case starts; scoring.py raises and lowers them.
"""

from __future__ import annotations

import re

from daemon.extraction.insets import APPOSITIVE, EMBEDDED, RELATIVE
from daemon.extraction.namings import NAMINGS
from daemon.extraction.predicates import PREDICATES, VERBS_OF_MEANING
from daemon.extraction.rule import Rule

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
