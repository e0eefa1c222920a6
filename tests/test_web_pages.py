"""The dashboard over real HTTP: what each page says, who may see it, who may act, and what becomes of an action."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from daemon.serving.keys import Holder, digest_of
from daemon.web.actions import ACTIONS
from daemon.web.session import FAILURES_PER_MINUTE, LASTS_S, Sessions
from registry import Definition, Registry
from tests.registry_parts import NOW, add_feed
from tests.serving_parts import serving
from tests.web_parts import ADMIN_KEY, USER_KEY, Visitor, fill, gateway, visitor

PAGES = (
    "/ui/", "/ui/definitions", "/ui/definitions?state=review&topic=security&entity=quo", "/ui/definitions/1", "/ui/topics/news", "/ui/topics/nothing",
    "/ui/adapters/news@2", "/ui/adapters/news@3", "/ui/diff?left=news@1&right=news@2", "/ui/feeds", "/ui/playground", "/ui/audit",
    "/ui/audit?about=alias%20news", "/ui/running",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, str, dict[str, Definition]]]:
    with Registry.open(tmp_path_factory.mktemp("web") / "home") as registry:
        found = fill(registry)
        with gateway(registry) as url:
            yield registry, url, found


@pytest.fixture
def registry(place: tuple[Registry, str, dict[str, Definition]]) -> Registry:
    return place[0]


@pytest.fixture
def found(place: tuple[Registry, str, dict[str, Definition]]) -> dict[str, Definition]:
    return place[2]


@pytest.fixture
def url(place: tuple[Registry, str, dict[str, Definition]]) -> str:
    return place[1]


@pytest.fixture
def admin(url: str) -> Iterator[Visitor]:
    with visitor(url, ADMIN_KEY) as one:
        yield one


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_and_asks_nobody_outside(admin: Visitor, path: str) -> None:
    answer = admin.get(path)

    assert answer.status_code == 200
    assert "https://" not in answer.text.replace("https://example.org", "")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert len(answer.headers.get_list("content-security-policy")) == 1


@pytest.mark.parametrize("path", PAGES)
def test_without_a_key_there_is_only_the_way_in(url: str, path: str) -> None:
    with visitor(url) as stranger:
        answer = stranger.get(path)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/ui/sign-in?to=")


def test_what_came_from_a_feed_is_text_and_never_markup(admin: Visitor, found: dict[str, Definition]) -> None:
    page = admin.get(f"/ui/definitions/{found['Oslith'].id}").text

    assert "<lamp>" not in page
    assert "<b>News</b>" not in page
    assert "<mark>The Oslith is a blue &lt;lamp&gt; that burns under water.</mark>" in page


def test_the_overview_says_what_is_served_what_runs_and_what_needs_somebody(admin: Visitor) -> None:
    page = admin.get("/ui/").text

    for expected in (
        "news@2",
        "learned <b>70.0%</b>",
        "42%",
        "Quorra",
        "skills fell by 9 points",
        "the server answered &lt;503&gt;",
        "it broke",
        "does not answer",
    ):
        assert expected in page


def test_a_topic_shows_every_version_with_its_numbers(admin: Visitor) -> None:
    page = admin.get("/ui/topics/news").text

    for version, learned in ((1, 0.6), (2, 0.7), (3, 0.8)):
        assert f'data-value="{version}">news@{version}</th><td class="num" data-value="{learned}' in page


def test_a_difference_names_what_only_one_has_learnt(admin: Visitor) -> None:
    page = admin.get("/ui/diff?left=news@1&right=news@2").text

    assert page.index("Only in news@1") < page.index("Oslith") < page.index("Only in news@2") < page.index("Velmora")
    assert "+0.100" in page


def test_definitions_are_paged_by_the_database(registry: Registry) -> None:
    newest = registry.pages.definitions(limit=2)
    older = registry.pages.definitions(limit=2, before=newest[-1].id)

    assert [d.entity for d in newest] == ["Tarn", "Quorra"]
    assert [d.entity for d in older] == ["Marrow", "Velmora"]
    assert [d.entity for d in registry.pages.definitions(entity="VEL")] == ["Velmora"]
    assert registry.pages.definitions(entity="%") == []


def test_what_there_is_not_is_said_with_a_next_step(admin: Visitor) -> None:
    answer = admin.get("/ui/adapters/news@99")

    assert answer.status_code == 404
    assert "There is no adapter news@99" in answer.text
    assert "Try:" in answer.text


# Who may act


def act(one: Visitor, action: str, subject: object, **fields: str) -> tuple[int, str]:
    answer = one.post("/ui/do", action=action, object=str(subject), **fields)
    return answer.status_code, answer.text


def test_a_wrong_key_opens_nothing(url: str) -> None:
    with visitor(url) as stranger:
        assert stranger.sign_in("guess").status_code == 403
        assert stranger.get("/ui/").status_code == 303


def test_a_users_key_shows_everything_and_changes_nothing(url: str, registry: Registry, found: dict[str, Definition]) -> None:
    with visitor(url, USER_KEY) as user:
        assert ">Roll back<" not in user.get("/ui/").text
        status, text = act(user, "reject", found["Quorra"].id, confirmed="yes")

    assert status == 403
    assert "administrator" in text
    assert registry.read.definition(found["Quorra"].id).state == "review"


@pytest.mark.parametrize("how", ["token", "origin", "site", "no token"])
def test_a_form_of_another_page_does_nothing(admin: Visitor, registry: Registry, found: dict[str, Definition], how: str) -> None:
    headers = {"origin": {"origin": "https://evil.example"}, "site": {"sec-fetch-site": "cross-site"}}.get(how, {})
    fields = {"token": {"token": "guess"}, "no token": {"token": ""}}.get(how, {})
    answer = admin.post("/ui/do", headers=headers, **{"action": "reject", "object": str(found["Quorra"].id), "confirmed": "yes", **fields})

    assert answer.status_code == 403
    assert registry.read.definition(found["Quorra"].id).state == "review"


def test_an_address_alone_does_nothing(admin: Visitor, found: dict[str, Definition]) -> None:
    assert admin.get(f"/ui/do?action=reject&object={found['Quorra'].id}&confirmed=yes").status_code == 405


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_do_not_get(url: str) -> None:
    with visitor(url) as one:
        before = one.get("/ui/sign-in").headers["set-cookie"]
        after = one.sign_in(ADMIN_KEY).headers["set-cookie"]

    assert before.split(";")[0] != after.split(";")[0]
    for expected in ("HttpOnly", "SameSite=strict", "Path=/ui"):
        assert expected in after


def test_after_signing_in_nobody_is_sent_elsewhere(url: str) -> None:
    with visitor(url) as one:
        one.get("/ui/sign-in")
        assert one.post("/ui/sign-in", key=ADMIN_KEY, to="//evil.example/ui/").headers["location"] == "/ui/"


def test_signing_out_ends_it(admin: Visitor) -> None:
    admin.get("/ui/")
    admin.post("/ui/sign-out")
    assert admin.get("/ui/").status_code == 303


# What becomes of it


def test_an_action_says_first_what_it_will_do(admin: Visitor, registry: Registry, found: dict[str, Definition]) -> None:
    status, text = act(admin, "approve", found["Quorra"].id)

    assert status == 200
    assert "“Quorra” will be learnt." in text
    assert registry.read.definition(found["Quorra"].id).state == "review"


def test_forgetting_says_first_what_goes_and_what_is_learnt_again(admin: Visitor, registry: Registry, found: dict[str, Definition]) -> None:
    status, text = act(admin, "forget", "entity Oslith")

    assert status == 200
    assert "1 definition is forgotten for good (Oslith); 3 versions had it in training" in text
    assert "news is learnt again without it" in text
    assert "This cannot be taken back." in text
    assert registry.read.definition(found["Oslith"].id).state == "learned"
    page = admin.get(f"/ui/definitions/{found['Oslith'].id}").text
    assert 'value="entity Oslith"' in page
    assert f'value="document {found["Oslith"].document_id}"' in page


@pytest.mark.parametrize(
    ("action", "subject", "said"),
    [
        ("approve", "Quorra", "“Quorra” is waiting now."),
        ("release", "Tarn", "“Tarn” is waiting now."),
        ("hold", "Tarn", "“Tarn” is held now."),
        ("reject", "Marrow", "“Marrow” is rejected now."),
        ("rollback", "news", "news serves news@1 again."),
        ("promote", "news@2", "news serves news@2 now."),
        ("learn", "news", "Learning news is queued."),
        ("pause", "harbour", "harbour is paused now."),
        ("resume", "harbour", "harbour is active now."),
        ("poll", "harbour", "A poll of harbour is queued."),
        ("retry", "2", "Job 2 is queued."),
        ("pause_learning", "learning", "Learning is paused."),
        ("resume_learning", "learning", "Learning goes on."),
        ("forget", "entity Velmora", "1 definition is forgotten; news is learnt again without it."),
        ("forget", "feed rumours", "2 definitions are forgotten."),
    ],
)
def test_confirmed_it_happens_and_the_audit_log_names_who(
    admin: Visitor, registry: Registry, found: dict[str, Definition], action: str, subject: str, said: str
) -> None:
    """In this order, on one registry: each goes on where the one before it stopped."""
    target = str(found[subject].id) if subject in found else subject
    answer = admin.post("/ui/do", action=action, object=target, confirmed="yes", reason="it was asked for")

    assert answer.status_code == 303, answer.text
    page = admin.get(answer.headers["location"])
    assert f'role="status">{said}</p>' in page.text
    assert action == "poll" or any(e.actor == "operator alice" for e in registry.read.events(5))
    assert registry.audit().whole


def test_every_action_was_tried() -> None:
    [marks] = test_confirmed_it_happens_and_the_audit_log_names_who.pytestmark
    assert {case[0] for case in marks.args[1]} == set(ACTIONS)


@pytest.mark.parametrize(
    ("action", "subject"),
    [
        ("promote", "news@3"),
        ("promote", "news@77"),
        ("approve", "12x"),
        ("rollback", "nobody"),
        ("approve", "1"),
        ("forget", "everything"),
        ("forget", "document x"),
        ("forget", "entity Nobody"),
        ("forget", "entity Velmora"),
        ("resume_learning", "learning"),
    ],
)
def test_what_the_rules_refuse_is_refused_in_words(admin: Visitor, action: str, subject: str) -> None:
    for fields in ({}, {"confirmed": "yes"}):
        status, text = act(admin, action, subject, **fields)
        assert status == 409
        assert "Try:" in text


def test_the_playground_tells_of_an_engine_that_is_away(admin: Visitor) -> None:
    answer = admin.post("/ui/playground", question="What is Oslith?", models="base")

    assert answer.status_code == 200
    assert '<p class="answer bad">' in answer.text
    assert "engine" in answer.text.partition('<p class="answer bad">')[2].partition("</p>")[0]


def test_the_playground_asks_several_models_and_says_who_answered(tmp_path: Path) -> None:
    """An engine that says its model's name: what is seen is what the gateway made of each name."""

    async def listing(_: Request) -> JSONResponse:
        return JSONResponse(
            {"object": "list", "data": [{"id": name, "root": name, "parent": None} for name in ("tiny", "news@1", "news@2")]}
        )

    async def chat(request: Request) -> JSONResponse:
        said = f"<i>I am {(await request.json())['model']}</i>"
        return JSONResponse({"choices": [{"index": 0, "message": {"role": "assistant", "content": said}}], "usage": {}})

    engine = Starlette(
        routes=[Route("/health", listing), Route("/v1/models", listing), Route("/v1/chat/completions", chat, methods=["POST"])],
    )
    with Registry.open(tmp_path / "home") as registry:
        fill(registry)
        with serving(engine) as engine_url, gateway(registry, engine_url=engine_url) as url, visitor(url, USER_KEY) as user:
            page = user.client.post(
                "/ui/playground",
                content=f"token={user.token}&question=What+is+Velmora%3F&models=base&models=news&models=news%401",
                headers={"content-type": "application/x-www-form-urlencoded"},
            ).text

    for said, by in (("tiny", "base"), ("news@2", "news@2"), ("news@1", "news@1")):
        assert f'<p class="answer">&lt;i&gt;I am {said}&lt;/i&gt;</p><p class="small">answered by {by}</p>' in page


# Sessions by themselves


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Asking:
    def __init__(self, cookie: str = "") -> None:
        self.cookies = {"lorefeed_session": cookie}


def test_sessions_end_and_keys_that_are_removed_count_no_more() -> None:
    clock, keys = Clock(), {digest_of("k"): True}
    sessions = Sessions(lambda: keys, clock=clock)
    session = sessions.sign_in(sessions.of(Asking()), "k")  # type: ignore[arg-type]
    assert session is not None
    assert sessions.holder(session) is Holder.ADMIN

    keys.pop(digest_of("k"))
    keys[digest_of("other")] = False
    assert sessions.holder(session) is Holder.NOBODY
    clock.now = LASTS_S + 1
    assert sessions.of(Asking(session.id)).id != session.id  # type: ignore[arg-type]


def test_guessing_keys_is_slow() -> None:
    clock = Clock()
    sessions = Sessions(lambda: {digest_of("right"): True}, clock=clock)
    guesser = sessions.of(Asking())  # type: ignore[arg-type]
    for _ in range(FAILURES_PER_MINUTE):
        assert sessions.sign_in(guesser, "guess") is None

    assert sessions.sign_in(guesser, "right") is None
    clock.now = 61
    assert sessions.sign_in(guesser, "right") is not None


def test_where_there_are_no_keys_anybody_on_this_machine_may_look_and_nobody_may_act(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        fill(registry, keys=False)
        with gateway(registry) as url, visitor(url) as one:
            assert one.get("/ui/").status_code == 200
            one.get("/ui/playground")
            status, text = act(one, "rollback", "news", confirmed="yes")
            assert status == 403
            assert "lorefeed keys add NAME --admin" in text
            assert one.client.get("/ui/", headers={"host": "rebound.example"}).status_code == 421


def test_feeds_are_shown_a_page_at_a_time_and_a_failing_one_is_found_from_the_overview(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        for number in range(60):
            add_feed(registry, f"pier-{number:02}")
        last = registry.read.feed("pier-58")
        registry.write.record_poll_failure(last.id, error="it broke", next_check_at=NOW)
        registry.write.remove_feed("pier-59")
        with gateway(registry) as url, visitor(url) as one:
            first = one.get("/ui/feeds").text
            assert ("pier-49" in first, "pier-50" in first) == (True, False)
            rest = one.get(f"/ui/feeds?after={re.findall('after=([0-9]+)', first)[0]}").text
            assert [name for name in (f"pier-{n:02}" for n in range(60)) if name in rest] == [f"pier-{n}" for n in range(50, 59)]
            link = re.findall(r'href="(/ui/feeds[?]after=[0-9]+)#', one.get("/ui/").text)[0]
            assert "pier-58" in one.get(link).text
    with Registry.open(tmp_path / "home") as registry:
        assert len(registry.read.feeds(removed=False)) == 59
        assert len(registry.read.feeds()) == 60


def test_a_feed_that_answers_and_has_stopped_posting_needs_somebody(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "home") as registry:
        now = datetime.now(UTC)
        for name, days in (("ebb", 40), ("flow", 2)):
            rhythm = {"gap_s": 86400.0, "newest_at": (now - timedelta(days=days)).isoformat()}
            registry.write.record_poll(add_feed(registry, name).id, cursor=rhythm, next_check_at=now, documents=[])
        with gateway(registry) as url, visitor(url) as one:
            needs = one.get("/ui/").text.partition("What needs me")[2].partition("</section>")[0]
            assert "silent for 40 days; it used to post every 24 hours" in needs
            assert ("ebb" in needs, "flow" in needs) == (True, False)
            registry.write.set_feed_state("ebb", "paused")
            assert "Nothing." in one.get("/ui/").text
