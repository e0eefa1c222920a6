"""Rules for sentences that describe a thing first and name it then ("... is called the vaunt market"), as data; naming.py applies them."""

from __future__ import annotations

import re

from daemon.extraction.rule import Rule, rule

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
    rule(
        "is-called",
        NAMING_VERB.pattern,
        0.66,
        example="The market in which dealers trade one currency for another is called the vaunt market.",
        counter_example="This is called the vaunt market.",
    ),
    rule(
        "when-called",
        NAMING_VERB.pattern,
        0.6,
        example="When a dealer buys more grain than a buyer ordered, it is called overvaunting.",
        counter_example="When he came home, he was called a hero.",
    ),
    rule(
        "this-is-called",
        NAMING_VERB.pattern,
        0.55,
        example="Grain swells while it waits in the holds of the boats; this is known as dorvil swell.",
        counter_example="This market is called the vaunt market.",
    ),
    rule(
        "also-called",
        NAMING_VERB.pattern,
        0.5,
        example="Overvaunting, also known as grain rushing, takes place in the weeks before harvest.",
        counter_example="Then, also known as a quiet man, he left.",
    ),
    rule(
        "called",
        NAMING_VERB.pattern,
        0.5,
        example="Fishers in the delta row a small flat boat called a dorvil, which carries a single square sail.",
        counter_example="The boat club called a meeting.",
    ),
)
