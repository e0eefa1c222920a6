"""The dashboard's addresses. Every page is read in a thread, every form is checked for where it came from, every action asks twice."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import anyio.to_thread
import httpx2
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from daemon.serving.keys import Holder
from daemon.web import views
from daemon.web.actions import ACTIONS, Asked
from daemon.web.session import Keys, Session, Sessions, came_from_our_page, give_cookie
from registry import BadName, NotThere, Registry, RegistryError

FORM_LIMIT_BYTES = 1 << 16
ASK_TOKENS = 64
EVENTS_SHOWN = 200
ASK_TIMEOUT_S = 300.0
STATIC = Path(__file__).parent / "static"

Fields = dict[str, str]
Answering = Callable[..., Awaitable[None]]
Health = Callable[[], Awaitable[Mapping[str, bool]]]


class Dashboard:
    """`answering` is the gateway's own way to an answer; `health` tells of each engine whether it answers."""

    def __init__(self, registry: Registry, *, keys: Keys, base_name: str, answering: Answering, health: Health) -> None:
        self._registry, self._base_name, self._health = registry, base_name, health
        self._sessions = Sessions(keys)
        self._inner = Starlette(routes=[Route("/v1/chat/completions", answering, methods=["POST"])])

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/ui/", self.home),
            Route("/ui", lambda _: RedirectResponse("/ui/")),
            Route("/ui/running", self._reading("running.html", lambda _: views.running(self._registry))),
            Route("/ui/definitions", self._reading("definitions.html", self._definitions)),
            Route("/ui/definitions/{number:int}", self._reading("definition.html", self._definition)),
            Route("/ui/topics/{topic}", self._reading("topic.html", self._topic)),
            Route("/ui/adapters/{name}", self._reading("adapter.html", self._adapter)),
            Route("/ui/diff", self._reading("diff.html", self._diff)),
            Route("/ui/feeds", self._reading("feeds.html", self._feeds)),
            Route("/ui/audit", self._reading("audit.html", self._audit)),
            Route("/ui/playground", self.playground, methods=["GET", "POST"]),
            Route("/ui/do", self.do, methods=["POST"]),
            Route("/ui/sign-in", self.sign_in, methods=["GET", "POST"]),
            Route("/ui/sign-out", self.sign_out, methods=["POST"]),
            Mount("/ui/static", StaticFiles(directory=STATIC)),
        ]

    async def home(self, request: Request) -> Response:
        health = await self._health()
        return await self._page(
            request, "home.html", lambda: {**views.home(self._registry), "engines": health, "base_name": self._base_name}
        )

    def _reading(self, template: str, facts: Callable[[Request], views.Facts]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await self._page(request, template, functools.partial(facts, request))

        return endpoint

    def _definitions(self, request: Request) -> views.Facts:
        asked = request.query_params
        return views.definitions(
            self._registry,
            topic=asked.get("topic", ""),
            state=asked.get("state", ""),
            entity=asked.get("entity", ""),
            before=_number(asked.get("before")),
        )

    def _feeds(self, request: Request) -> views.Facts:
        return views.feeds(self._registry, after=_number(request.query_params.get("after")) or 0)

    def _definition(self, request: Request) -> views.Facts:
        return views.definition(self._registry, request.path_params["number"])

    def _topic(self, request: Request) -> views.Facts:
        return views.topic(self._registry, request.path_params["topic"], offset=_number(request.query_params.get("offset")) or 0)

    def _adapter(self, request: Request) -> views.Facts:
        return views.adapter(self._registry, request.path_params["name"], offset=_number(request.query_params.get("offset")) or 0)

    def _diff(self, request: Request) -> views.Facts:
        return views.difference(self._registry, request.query_params.get("left", ""), request.query_params.get("right", ""))

    def _audit(self, request: Request) -> views.Facts:
        about = request.query_params.get("about") or None
        return {
            "events": self._registry.read.events(EVENTS_SHOWN, about=about),
            "about": about,
            "report": self._registry.audit_tail(EVENTS_SHOWN),
        }

    async def playground(self, request: Request) -> Response:
        """One question to several models, side by side."""
        session, fields, refusal = await self._form(request) if request.method == "POST" else (self._sessions.of(request), {}, None)
        if refusal is not None:
            return refusal
        if self._sessions.holder(session) is Holder.NOBODY:
            return self._to_sign_in(request)
        question, models = fields.get("question", "").strip(), [name for name in fields.get("models", "").split() if name][:6]
        answers = [(name, *await self._ask(name, question)) for name in models] if question else []

        def facts() -> views.Facts:
            aliases = self._registry.read.aliases()
            there = ["base", *(alias.name for alias in aliases), *sorted({alias.adapter for alias in aliases if alias.adapter})]
            return {"question": question, "models": models or there[:2], "there": there, "answers": answers}

        return await self._page(request, "playground.html", facts, session=session)

    async def _ask(self, model: str, question: str) -> tuple[str, str, bool]:
        """The answer, who gave it, and whether it is an error."""
        body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": ASK_TOKENS, "temperature": 0}
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self._inner), base_url="http://gateway", timeout=ASK_TIMEOUT_S
        ) as client:
            answer = await client.post("/v1/chat/completions", json=body)
        if answer.status_code != httpx2.codes.OK:
            return str(answer.json()["error"]["message"]), "", True
        return str(answer.json()["choices"][0]["message"]["content"]), answer.headers.get("x-lorefeed-adapter", ""), False

    async def do(self, request: Request) -> Response:
        """First time: what would happen, and a form to confirm it. Second time: it happens."""
        session, fields, refusal = await self._form(request)
        if refusal is not None:
            return refusal
        if self._sessions.holder(session) is not Holder.ADMIN:
            return self._problem(
                request, session, 403, "This takes an administrator's key.", "Sign in with one. Make one: lorefeed keys add NAME --admin"
            )
        action, subject = ACTIONS.get(fields.get("action", "")), fields.get("object", "")
        if action is None:
            return self._problem(request, session, 400, "There is no such action.", "Go back and try again")
        try:
            if fields.get("confirmed") != "yes":
                told = await anyio.to_thread.run_sync(action.foretell, self._registry, subject)
                facts = {"action": action, "name": fields["action"], "object": subject, "told": told, "back": action.back(subject)}
                return self._html(request, session, "confirm.html", facts)
            actor = await anyio.to_thread.run_sync(self._actor, session)
            asked = Asked(subject, actor, fields.get("reason", "").strip() or None)
            said = await anyio.to_thread.run_sync(action.do, self._registry, asked)
        except RegistryError as err:
            return self._problem(request, session, 409, str(err), err.hint)
        return RedirectResponse(f"{quote(action.back(subject), safe='/@')}?{urlencode({'said': said})}", status_code=303)

    async def sign_in(self, request: Request) -> Response:
        session = self._sessions.of(request)
        to = request.query_params.get("to", "/ui/")
        if request.method == "GET":
            return self._html(request, session, "sign-in.html", {"to": to, "wrong": False})
        session, fields, refusal = await self._form(request)
        if refusal is not None:
            return refusal
        to = fields.get("to", "/ui/")
        signed_in = self._sessions.sign_in(session, fields.get("key", ""))
        if signed_in is None:
            return self._html(request, session, "sign-in.html", {"to": to, "wrong": True}, status=403)
        target = to if to.startswith("/ui/") and "//" not in to else "/ui/"
        response = RedirectResponse(target, status_code=303)
        give_cookie(response, signed_in, secure=request.url.scheme == "https")
        return response

    async def sign_out(self, request: Request) -> Response:
        session, _, refusal = await self._form(request)
        if refusal is not None:
            return refusal
        self._sessions.sign_out(session)
        return RedirectResponse("/ui/sign-in", status_code=303)

    def _actor(self, session: Session) -> str:
        """Who the audit log names: the key that was given."""
        name = next((key.name for key in self._registry.read.api_keys() if key.digest == session.key), "dashboard")
        return f"operator {name}"

    async def _form(self, request: Request) -> tuple[Session, Fields, Response | None]:
        session = self._sessions.of(request)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_LIMIT_BYTES:
                return session, {}, self._problem(request, session, 413, "The form is too large.", "Write less")
        fields: Fields = {}
        for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
            fields[name] = f"{fields[name]} {value}" if name == "models" and name in fields else value
        if not came_from_our_page(request, session, fields.get("token", "")):
            return (
                session,
                fields,
                self._problem(
                    request, session, 403, "The form did not come from this page, or the page was too old.", "Load the page again"
                ),
            )
        return session, fields, None

    async def _page(self, request: Request, template: str, facts: Callable[[], views.Facts], *, session: Session | None = None) -> Response:
        session = session or self._sessions.of(request)
        try:
            if self._sessions.holder(session) is Holder.NOBODY:
                return self._to_sign_in(request)
            found = await anyio.to_thread.run_sync(facts)
        except (NotThere, BadName) as err:
            return self._problem(request, session, 404, str(err), err.hint)
        except RegistryError as err:
            return self._problem(request, session, 503, str(err), err.hint)
        return self._html(request, session, template, found)

    def _to_sign_in(self, request: Request) -> Response:
        if request.headers.get("hx-request"):  # a fragment: the page it belongs to must go, not the fragment alone
            return Response(status_code=401, headers={"HX-Redirect": "/ui/sign-in"})
        return RedirectResponse(f"/ui/sign-in?{urlencode({'to': request.url.path})}", status_code=303)

    def _problem(self, request: Request, session: Session, status: int, message: str, hint: str) -> Response:
        return self._html(request, session, "problem.html", {"message": message, "hint": hint}, status=status)

    def _html(self, request: Request, session: Session, template: str, facts: views.Facts, *, status: int = 200) -> Response:
        holder = self._sessions.holder(session)
        common = {
            "token": session.token,
            "admin": holder is Holder.ADMIN,
            "signed_in": bool(session.key),
            "said": request.query_params.get("said", ""),
        }
        page = templates().get_template(template).render({**common, "path": request.url.path, **facts})
        response = HTMLResponse(page, status_code=status)
        give_cookie(response, session, secure=request.url.scheme == "https")
        return response


@functools.cache
def templates() -> Environment:
    """Everything that came from a feed is escaped: it is a stranger's text. A name that a template misspells is an error."""
    environment = Environment(
        loader=PackageLoader("daemon.web", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"when": when, "figure": figure, "shown": shown}
    return environment


def when(at: datetime | None) -> str:
    """A moment is one word, which is never broken over lines: not at its spaces, and not at its hyphens."""
    if at is None:
        return "never"
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{:%Y-%m-%d\u00a0%H:%M\u00a0UTC}</time>').format(utc.isoformat(timespec="seconds"), utc)


def figure(value: Any, name: str = "") -> str:
    """A share as percent, another number short, nothing as a dash. A divergence or a perplexity is never a share, however small."""
    if value is None:
        return "–"
    is_share = 0 <= value <= 1 and name != "local" and not any(part in name for part in ("kl", "ppl", "nll"))
    return f"{value:.1%}" if is_share else f"{value:.3g}"


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 16 else None
