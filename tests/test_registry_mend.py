"""What doctor offers to put right: each offer names the thing, does what it says, and leaves doctor without that complaint."""

from pathlib import Path

import pytest

from registry import AdapterState, Mending, Registry
from tests.registry_parts import Clock, add_feed, begin, define, folder_of, learn, promote, publish, served


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(tmp_path: Path, clock: Clock):
    with Registry.open(tmp_path / "home", clock=clock) as one:
        feed = add_feed(one)
        for number in range(2):
            found = define(one, feed, f"oslith {number}", f"An oslith {number} is a blue lamp.")
            promote(one, learn(one, definitions=[found.id]))
        yield one


def offers(registry: Registry) -> list[Mending]:
    return registry.mendings(actor="operator")


def test_a_sound_registry_gets_no_offers(registry: Registry) -> None:
    assert offers(registry) == []


def test_a_damaged_served_adapter_can_give_way_to_the_one_before(registry: Registry) -> None:
    (folder_of(registry, registry.read.adapter("news@2")) / "adapter_model.safetensors").write_bytes(b"noise")

    [offer] = offers(registry)
    assert (offer.object, offer.offer) == ("alias news", "Serve what news served before news@2")
    assert offer.do() == "news serves news@1"
    assert served(registry) == "news@1"
    assert [f.level for f in registry.doctor()] == ["warning"]  # the folder is still damaged; nobody serves it
    assert registry.read.releases("news")[0].reason == "news@2 is not whole"


def test_a_folder_that_no_row_knows_can_go(registry: Registry) -> None:
    publish(registry, registry.read.adapter("news@1"), content=b"others")
    assert len(registry.doctor()) == 1

    [offer] = offers(registry)
    offer.do()

    assert registry.doctor() == []
    assert registry.read.events(1)[0].action == "deleted"


def test_what_was_published_before_a_crash_is_taken_in(registry: Registry) -> None:
    begun = begin(registry)
    publish(registry, begun)

    [offer] = offers(registry)
    offer.do()

    assert registry.read.adapter(begun.name).state is AdapterState.CHECKING
    assert registry.doctor() == []


def test_a_job_of_a_dead_worker_is_queued_again(registry: Registry, clock: Clock) -> None:
    registry.write.enqueue("poll", key="poll:harbour", payload={})
    registry.write.claim("dead", lease_s=10)
    clock.advance(60)
    assert len(registry.doctor()) == 1

    [offer] = offers(registry)
    assert offer.do() == "Queued 1"
    assert registry.doctor() == []


def test_a_job_that_was_given_up_can_be_tried_again_once(registry: Registry) -> None:
    job = registry.write.enqueue("poll", key="poll:harbour", payload={})
    assert job is not None
    registry.write.claim("worker", lease_s=10)
    registry.write.fail(job.id, "worker", "it broke", retry_at=None)

    [offer] = offers(registry)
    offer.do()

    assert registry.read.job(job.id).state == "queued"
    assert offers(registry) == []
