"""Documents to definitions: which entities a text defines, in which words, at which characters."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext

from daemon.config import Settings
from daemon.extraction import FoundDefinition, Refused, compare, examine, readable, screen
from daemon.stages.model_reader import ModelReader, ReaderFailed
from daemon.stages.report import StageReport, add
from registry import Document, DocumentState, NewDefinition, Registry
from registry.near import signature

log = logging.getLogger(__name__)

AT_ONCE = 100


def extract(registry: Registry, settings: Settings) -> StageReport:
    """Reads every document that nobody has read yet, a hundred at a time: thousands may have come at once."""
    reports = []
    with ModelReader.of(settings.extract) or nullcontext() as reader:
        while unread := registry.read.documents(state=DocumentState.NEW, limit=AT_ONCE):
            reports += [_read(registry, document, settings, reader) for document in unread]
    return add("extract", reports)


def _read(registry: Registry, document: Document, settings: Settings, reader: ModelReader | None) -> StageReport:
    examined = examine(document.text, title=document.title)
    refused = screen(document.text, document=True)
    further, unread = _further(document, examined.found, reader) if refused is None else ([], None)
    found = [f for f in (*examined.found, *further) if f.score >= settings.extract.min_score]
    taken = [f for f in found if len(f.definition) <= settings.extract.max_chars]
    problem = refused or unread or _problem(document, len(found), len(taken), examined.refused, settings)
    stored = registry.write.record_definitions(
        document.id,
        [NewDefinition(f.entity, readable(f.definition), f.span, f.score, f.aliases) for f in taken],
        problem=problem,
        compare=compare,
        signature=signature(document.text),
        suspect=refused,  # the definitions stand beside text that talks to a model: an operator looks at them first
        a_day=settings.extract.feed_day_max,
    )
    log.info(
        "Document %d has %d definitions, %d of them new", document.id, len(taken), len(stored),
        extra={"action": "extracted", "document": document.id, "definitions": len(stored)},
    )  # fmt: skip
    return StageReport("extract", {"documents": 1, "definitions": len(stored)}, (f"document {document.id}: {problem}",) if problem else ())


def _further(document: Document, found: Sequence[FoundDefinition], reader: ModelReader | None) -> tuple[list[FoundDefinition], str | None]:
    """What the model finds beside the rules, or why it could not be asked: a document does not wait for an endpoint that is away."""
    if reader is None:
        return [], None
    try:
        return reader.further(document.text, document.title, found), None
    except ReaderFailed as err:
        log.warning("Document %d: %s", document.id, err, extra={"action": "not_read_by_model", "document": document.id})
        return [], f"{err} So only the rules have read it."


def _problem(document: Document, found: int, taken: int, refused: tuple[Refused, ...], settings: Settings) -> str | None:
    if not document.text.strip():
        return "The document is empty."
    if refused:
        named = ", ".join(dict.fromkeys(one.entity for one in refused))
        reasons = " ".join(dict.fromkeys(one.reason for one in refused))
        return f"{len(refused)} definitions were refused ({named}): {reasons}"
    if taken < found:
        return f"{found - taken} definitions are longer than extract.max_chars = {settings.extract.max_chars} and were left out."
    return None if found else "No sentence of it defines anything."
