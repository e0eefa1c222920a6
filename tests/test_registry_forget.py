"""Forgetting in the registry: what goes, what stays, and that nothing which carries it is served again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import BadValue, DefinitionState, NewDefinition, NotPromotable, NotThere, Registry
from tests.registry_parts import add_documents, add_feed, define, learn, promote, served, states


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "home") as opened:
        yield opened


def forget(registry: Registry, **what: object) -> list[str]:
    return [d.entity for d in registry.write.forget(actor="test", reason="withdrawn", **what).definitions]  # type: ignore[arg-type]


def test_a_document_is_withdrawn_and_what_only_it_says_is_forgotten(registry: Registry) -> None:
    feed = add_feed(registry)
    mole, tide = define(registry, feed, "Mole", "Mole is a pier."), define(registry, feed, "Tide", "Tide is a bar.")
    assert forget(registry, document=mole.document_id) == ["Mole"]
    assert states(registry, mole, tide) == ["forgotten", "waiting"]
    assert registry.read.document(mole.document_id).state == "withdrawn"
    assert registry.read.definition(mole.id).reason == "withdrawn"
    assert forget(registry, document=mole.document_id) == []


def test_what_another_document_says_too_stays_as_that_documents(registry: Registry) -> None:
    feed, other = add_feed(registry), add_feed(registry, "pilot")
    mole = define(registry, feed, "Mole", "Mole is a pier.")
    [witness] = add_documents(registry, other, "Said also: Mole is a pier.")
    registry.write.record_definitions(witness.id, [NewDefinition("Mole", "Mole is a pier.", (11, 26), 0.9)])
    plan = registry.write.forget(document=mole.document_id, actor="test", reason="withdrawn")
    assert (plan.definitions, [d.id for d in plan.witnessed]) == ((), [mole.id])
    stays = registry.read.definition(mole.id)
    assert (stays.document_id, stays.span, stays.feed, stays.witnesses) == (witness.id, (11, 26), "pilot", 0)
    assert forget(registry, feed="pilot") == ["Mole"]


def test_an_entity_is_forgotten_whoever_defined_it_and_its_text_is_not_taken_in_again(registry: Registry) -> None:
    feed, other = add_feed(registry), add_feed(registry, "pilot")
    first, second = define(registry, feed, "The Mole", "The Mole is a pier."), define(registry, other, "mole", "A mole is a rodent.")
    assert forget(registry, entity="Mole") == ["The Mole", "mole"]
    [again] = add_documents(registry, other, "Once more. The Mole is a pier.")
    assert registry.write.record_definitions(again.id, [NewDefinition("The Mole", "The Mole is a pier.", (11, 30), 0.9)]) == []
    assert states(registry, first, second) == ["forgotten", "forgotten"]


def test_what_the_forgotten_definition_had_replaced_is_learnt_again(registry: Registry) -> None:
    feed = add_feed(registry)
    old = define(registry, feed, "Mole", "Mole is a pier.")
    promote_new(registry, old.id)
    new = define(registry, feed, "Mole", "Mole is a bar.")
    promote_new(registry, new.id, parent="news@1")
    assert states(registry, old, new) == ["superseded", "learned"]
    forget(registry, document=new.document_id)
    assert states(registry, old, new) == ["waiting", "forgotten"]


def promote_new(registry: Registry, *definitions: int, parent: str | None = None) -> str:
    if not registry.read.aliases():
        registry.write.set_alias("news", topics=["news"], scope="mention")
    adapter = learn(registry, parent=parent, definitions=definitions)
    promote(registry, adapter)
    return adapter.name


def test_versions_that_grew_from_a_carrier_are_carriers_and_none_is_served_again(registry: Registry) -> None:
    feed = add_feed(registry)
    made = [define(registry, feed, name, f"{name} is a thing.") for name in ("Alba", "Brin", "Corl")]
    for number, one in enumerate(made):
        promote_new(registry, one.id, parent=f"news@{number}" if number else None)
    plan = registry.read.forgetting(entity="Brin")
    assert ([a.name for a in plan.carriers], plan.topics) == (["news@3", "news@2"], ("news",))
    forget(registry, entity="Brin")
    assert [bool(registry.read.forgotten_in(f"news@{v}")) for v in (1, 2, 3)] == [False, True, True]
    clean = registry.read.clean_ancestor("news@3")
    assert clean is not None
    assert clean.name == "news@1"
    with pytest.raises(NotPromotable, match=r"carries definition 2 \(Brin\), which was forgotten"):
        registry.write.rollback("news", to=2, actor="test", reason=None)
    registry.write.rollback("news", to=None, actor="test", reason=None)
    assert served(registry) == "news@1"
    for version in (2, 3):
        with pytest.raises(NotPromotable, match="which was forgotten"):
            registry.write.promote("news", f"news@{version}", actor="test", reason="all the same", forced=True)


def test_the_gateway_notices_that_a_name_must_not_be_answered_for(registry: Registry) -> None:
    made = define(registry, add_feed(registry), "Mole", "Mole is a pier.")
    promote_new(registry, made.id)
    with registry.served() as view:
        assert view.now().forgotten == {"news": 0}
        forget(registry, entity="Mole")
        assert view.now().forgotten == {"news": 1}


def test_what_is_not_there_or_not_one_thing_is_said(registry: Registry) -> None:
    feed = add_feed(registry)
    with pytest.raises(NotThere, match="'Mole'"):
        registry.read.forgetting(entity="Mole")
    with pytest.raises(NotThere, match="document 7"):
        registry.read.forgetting(document=7)
    for wrong in ({}, {"feed": feed.name, "entity": "Mole"}):
        with pytest.raises(BadValue, match="One thing"):
            registry.read.forgetting(**wrong)  # type: ignore[arg-type]


def test_nothing_leads_out_of_forgotten(registry: Registry) -> None:
    made = define(registry, add_feed(registry), "Mole", "Mole is a pier.")
    forget(registry, entity="Mole")
    for state in DefinitionState:
        if state is not DefinitionState.FORGOTTEN:
            with pytest.raises(Exception, match="forgotten and cannot become"):
                registry.write.move_definitions([made.id], state, reason=None, actor="test")
    assert registry.audit().whole
