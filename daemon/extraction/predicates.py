"""Rules that are matched at a sentence's main verb, after its subject was found (clauses.py), as data."""

from __future__ import annotations

from daemon.extraction.rule import ADVERB, BE, DOES, Rule, rule

_KIND = (
    r"(?:kind|type|form|sort|class|family|genus|species|group|set|collection|series|branch|member|variety|style|method|subset|category|"
    r"breed|pair)"
)

# Matched at the main verb; group 1, where there is one, starts the defining noun phrase.
PREDICATES: tuple[Rule, ...] = (
    rule(
        "copula-one-of",
        rf"{BE}{ADVERB}\s+(one of|any of|any|either of|either|some of)\s+\w",
        0.62,
        example="A dorvil is any of the small boats used by the fishers of Kesh.",
        counter_example="The weather is one of many reasons why we stayed.",
    ),
    rule(
        "copula-one-that",
        rf"{BE}{ADVERB}\s+((?:one|someone|anyone|anything|something|those|that)\s+(?:who|whom|that|which|whose|with|we|in\s+which|where|(?:of\s+\w+|built|made|based|used|found|characterized)\s)\b)",
        0.64,
        example="A dorvil sale is one in which the buyer pays for the sail only.",
        counter_example="The harbour is something that we miss.",
    ),
    rule(
        "copula-what",
        rf"{BE}{ADVERB}\s+((?:how|what|when|where|the (?:point|time|place) (?:at|in) which)\s+\w+)",
        0.58,
        example="Dorvil draught is how deep a boat lies in the water.",
        counter_example="The harbour is where we met.",
    ),
    rule(
        "copula-possessive",
        rf"{BE}{ADVERB}\s+([^\W\d_][\w-]*(?:\s[\w-]+)?(?:['’]s|s['’])\s+\w)",
        0.54,
        example="Vauntage is a dealer’s power to set prices by waiting; vauntism is people’s desire to own many boats.",
        counter_example="The boats are Toll’s and nobody else’s.",
    ),
    rule(
        "copula-a",
        rf"{BE}{ADVERB}\s+(an?)\s+[^\W_]",
        0.8,
        example="Velmora Kesh is a comedy film directed by Ostin Brael.",
        counter_example="It is a pity that the film was never shown.",
    ),
    rule(
        "copula-the",
        rf"{BE}{ADVERB}\s+(the)\s+[^\W_]",
        0.66,
        example="Kesh metering is the measurement of water that flows through an open channel.",
        counter_example="The hedgehog is the symbol of our team.",
    ),
    rule(
        "copula-number",
        rf"{BE}{ADVERB}\s+(two or more|three or more|several|those|a number of|that (?:part|branch|area|portion|field))\s+\w",
        0.6,
        example="Dorvil pairs are two or more boats that share a single sail.",
        counter_example="The several prices are quite low in winter.",
    ),
    rule(
        "copula-kind",
        rf"{BE}{ADVERB}\s+((?:[\w-]+\s+){{1,2}}{_KIND}s?\s+of|{_KIND}s\s+of)\s+\w",
        0.7,
        example="Dorvils are small species of freshwater crabs.",
        counter_example="Ticket prices were sort of steep last year.",
    ),
    rule(
        "refers-to",
        rf"(?:(?:can |may )?(?:also )?refers?|is used to refer|are used to refer){ADVERB}\s+to\s+(?![^,;.]{{0,120}}\bas\b)(\w)",
        0.82,
        example="Kesh metering refers to the measurement of water in open channels.",
        counter_example="Dealers refer to this effect as slippage.",
    ),
    rule(
        "means",
        r"(?:means?|denotes?|signif(?:y|ies)|designates?)\s+(?!of\b|that\b|to\b|you\b|we\b|nothing\b|less\b|more\b|it\b|they\b|there\b|no\b)(\w|[\"“'‘])",
        0.6,
        example="Personalty is a legal term; it denotes goods. Dorvilry means the right to fish in a river.",
        counter_example="High pressure means that the valve will open.",
    ),
    rule(
        "stands-for",
        r"stands?\s+for\s+(\w|[\"“'‘])",
        0.7,
        example="KMU stands for Kesh Metering Unit.",
        counter_example="The mayor stands for election in spring.",
    ),
    rule(
        "defined-as",
        rf"(?:is|are|was|were|can be|may be){ADVERB}\s+"
        r"(?:defined\s+by|(?:best\s+|\w+ly\s+)?defined\s+(?:as|to be)|(?:best\s+|\w+ly\s+)?(?:described|understood)\s+as\s+(?:an?|the))\s+(\w)",
        0.78,
        example="Kesh pressure is defined as the force per unit of sail.",
        counter_example="The borders of the lot are clearly defined by fences.",
    ),
    rule(
        "copula-bare",
        rf"{BE}{ADVERB}\s+([^\W\d_][\w-]*)\b",
        0.52,
        example="Dorvils are nocturnal river crabs that live in the delta of the Kesh.",
        counter_example="Dorvils are often cooked in salted water.",
    ),
)

# Matched at a plain verb behind the subject, where no copula was found to define it.
VERBS_OF_MEANING: tuple[Rule, ...] = (
    rule(
        "consists-of",
        r"(?:consists?\s+(?:\w+ly\s+|either\s+)?of|comprises?|(?:is|are)\s+(?:composed|comprised|made\s+up)\s+of)\s+(?!(?:\w+\s+)?(?:two|three|four|five|six|seven|eight|nine|ten|several|many|some)\b)[^\W\d]",
        0.56,
        example="Dorvil rigging consists of a square sail and two ropes.",
        counter_example="The menu consists of three courses.",
    ),
    rule(
        "occurs-when",
        r"(?:occurs?|happens?|arises?|exists?|results?|takes?\s+place)\s+(?:only\s+)?(?:when|if|in\s+which|whenever)\s+\w",
        0.62,
        example="Overvaunting occurs when a dealer buys more grain than a buyer ordered.",
        counter_example="It happens when the wind turns.",
    ),
    rule(
        "involves",
        r"involves?\s+(?!you\b|me\b|us\b|them\b)[^\W\d]",
        0.54,
        example="Dorvil racing involves the steering of small boats around a fixed mark.",
        counter_example="The plan involves you and me.",
    ),
    rule(
        "marked-by",
        r"(?:is|are)\s+(?:\w+ly\s+)?(?:characteri[sz]ed|marked|distinguished)\s+by\s+\w",
        0.56,
        example="Dorvil fever is characterized by a pale skin and a fear of boats.",
        counter_example="The harbour is marked by a buoy.",
    ),
    rule(
        "acts-as",
        r"(?:acts?|serves?|functions?)\s+as\s+(?:an?|the)\s+\w",
        0.5,
        example="Dorvil resin acts as a seal between the planks of a boat.",
        counter_example="The mayor acts as a witness.",
    ),
    rule(
        "states-that",
        r"(?:states?|holds?|says|posits?|asserts?|proposes?|suggests?|predicts?|maintains?)\s+that\b",
        0.6,
        example="The law of dorvils states that no two boats may share one mooring.",
        counter_example="The mayor says that the harbour is closed.",
    ),
    rule(
        "focuses-on",
        r"(?:(?:focus(?:es)?|concentrates?|cent(?:er|re)s)\s+on|deals?\s+with|(?:is|are)\s+concerned\s+with)\s+(?!you\b|me\b|us\b|them\b|it\b)[^\W\d]",
        0.54,
        example="Dorvil mechanics deals with the forces that act on a boat.",
        counter_example="The mayor deals with the harbour.",
    ),
    rule(
        "describes",
        r"describes?\s+(?:an?|the|any|those|how|when|what|people|situations?)\s+\w",
        0.52,
        example="Dorvil drift describes the movement of a boat whose sail is down.",
        counter_example="The witness describes the car as red.",
    ),
    rule(
        "measures",
        r"(?:measures|represents|indicates|specifies|signals)\s+(?:the|how|an?|whether)\s+\w",
        0.5,
        example="Kesh draught measures how deep a boat lies in the water.",
        counter_example="The clerk measures the boat.",
    ),
    rule(
        "does",
        rf"(?:{DOES}|provide|implement|wrap|offer|expose|parse)\s+(?!no\b|only\b|some\b)((?:an?\s|the\s|all\s)?[\w/-]+\s+\w+)",
        0.56,
        example="The dorvil crate provides a parser for the logs that boats write.",
        counter_example="Velmora provides work for the people of the delta.",
    ),
    rule(
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
