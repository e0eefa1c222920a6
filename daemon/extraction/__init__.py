"""Finds the definitions in a text: which entity, which sentences, where, how sure. Pure rules; no registry, no torch, no network.

    for found in find_definitions(document.text, title=document.title):
        found.entity, found.definition, found.span, found.score, found.pattern, found.aliases

Precision comes before recall: a definition that is missed costs nothing, a wrong one is learnt. scoring.py documents the score, rules.py
holds the patterns, screen.py what never becomes a definition. A definition is the text as it stands, markup included; `readable` shows it
without.
"""

from daemon.extraction.find import examine, find_definitions
from daemon.extraction.found import Examined, FoundDefinition, Refused, collapse
from daemon.extraction.markup import readable
from daemon.extraction.meaning import Comparison, compare
from daemon.extraction.screen import screen
from daemon.extraction.sentences import sentences

__all__ = [
    "Comparison",
    "Examined",
    "FoundDefinition",
    "Refused",
    "collapse",
    "compare",
    "examine",
    "find_definitions",
    "readable",
    "screen",
    "sentences",
]
