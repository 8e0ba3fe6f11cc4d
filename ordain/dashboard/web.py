"""HTTP routes of the dashboard, and headers of every response.

Limits on headers, bodies and slow clients are those of the model server (`serving.server`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

from aiohttp import hdrs, web

from ordain.dashboard import security, views
from ordain.dashboard.actions import ACTIONS, carry_out
from ordain.dashboard.pages import Pages, read_asset
from ordain.dashboard.run_files import read_log, read_report
from ordain.dashboard.security import Guard
from ordain.dashboard.versions import read_versions
from ordain.dashboard.views import View
from ordain.dashboard.workspaces import Site, Source
from ordain.errors import OrdainError
from ordain.serving.server.errors import Code, RequestError
from ordain.serving.server.rest.body import read_body
from ordain.serving.server.settings import Settings

log = logging.getLogger("ordain.dashboard")

HTML = "text/html"
#: Limit on fields of a form; the dashboard's has four.
MAX_FIELDS = 10
Handler = Callable[..., Awaitable[View | web.Response | None]]
_NO_REPORT = "this run has no report; ordain report PROJECT RUN writes it"


class Router:
    """Routes requests to pages."""

    def __init__(self, site: Site, guard: Guard, settings: Settings) -> None:
        """Create it from the site, access control, and limits."""
        self._site = site
        self._guard = guard
        self._settings = settings
        self._pages = Pages(site.names, guard.allows_actions)
        project, run, node = (rf"(?P<{n}>[^/]+)" for n in ("project", "run", "node"))
        version = r"versions/(?P<version>[0-9]{1,18})/(?P<action>[a-z-]+)"
        below = f"/projects/{project}"
        # Method, path, handler, and the message if it finds nothing.
        routes: list[tuple[str, str, Handler, str]] = [
            ("GET", "/", lambda _: views.projects(site), ""),
            ("GET", "/runs", lambda r: views.runs(site, r.rel_url.query), ""),
            ("GET", "/static/(?P<name>[a-z.]+)", _asset, "file not found"),
            ("GET", below, lambda _, source: views.project(source), ""),
            ("GET", f"{below}/models", self._models, ""),
            ("GET", f"{below}/drift", lambda _, source: views.drift(site, source), ""),
            ("GET", f"{below}/decisions", _decisions, ""),
            ("GET", f"{below}/runs/{run}", _run, "run not found in this project"),
            ("GET", f"{below}/runs/{run}/report", _report, _NO_REPORT),
            ("GET", f"{below}/runs/{run}/logs/{node}", _log, "log not found in this run"),
            ("GET", f"{below}/{version}", self._confirm, "version not found"),
            ("POST", f"{below}/{version}", self._act, "version not found"),
        ]
        self._routes = routes

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to a request, with the policies that every response carries."""
        try:
            response = await self._answer(request)
        except RequestError as error:
            response = self._refuse(error.code.http, error.message)
        except TimeoutError:
            response = self._refuse(503, "ML Metadata did not answer in time; reload to try again")
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            response = self._refuse(500, "internal error; the dashboard's log has the cause")
        for name, value in security.HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Content-Security-Policy", security.PAGE_POLICY)
        if request.method == "HEAD":
            response.body = b""
        return response

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if not security.is_local_host(request.headers.get(hdrs.HOST)):
            raise RequestError(
                Code.PERMISSION_DENIED,
                "unknown host: use localhost or 127.0.0.1",
            )
        method = "GET" if request.method == "HEAD" else request.method
        allowed = set()
        for known, path, handler, missing in self._routes:
            match = re.fullmatch(path, request.path)
            if match is None:
                continue
            if known == method:
                found = await handler(request, **self._resolved(match.groupdict()))
                if found is None:
                    raise _missing(missing)
                return self._page(found) if isinstance(found, View) else found
            allowed.add(known)
        if allowed:
            raise RequestError(
                Code.METHOD_NOT_ALLOWED, f"method {request.method} is not allowed for this page"
            )
        raise _missing("page not found")

    def _resolved(self, parts: dict[str, Any]) -> dict[str, Any]:
        if "project" in parts:
            name = parts.pop("project")
            if name not in self._site.sources:
                raise _missing("project not found: the dashboard was started without it")
            parts["source"] = self._site.sources[name]
        return parts

    def _page(self, view: View) -> web.Response:
        body = self._pages.draw(view).encode("utf-8", errors="replace")
        return _response(body, status=view.status)

    def _refuse(self, status: int, message: str) -> web.Response:
        content = {"message": message, "code": status}
        return self._page(View("problem.html", "Not shown", content, status=status))

    async def _models(self, request: web.BaseRequest, source: Source) -> View:
        done = request.rel_url.query.get("done", "")
        news = ACTIONS[done].done if done in ACTIONS else ""
        return await views.models(self._site, source, news, self._guard.allows_actions)

    async def _confirm(
        self, request: web.BaseRequest, source: Source, version: str, action: str
    ) -> web.Response | None:
        self._check_action(action)
        return await self._form(request, source, version, action)

    async def _form(
        self,
        request: web.BaseRequest,
        source: Source,
        version: str,
        action: str,
        status: int = 200,
        problem: str = "",
        form: dict[str, str] | None = None,
    ) -> web.Response | None:
        published = await source.ask(lambda: read_versions(source.project))
        found = published.find(int(version))
        if found is None:
            return None
        cookie = self._guard.new_cookie()
        content = {
            "action": ACTIONS[action],
            "version": found,
            "published": published,
            "field": self._guard.form_field(cookie, request.path),
            "problem": problem,
            "form": form or {},
        }
        title = f"{ACTIONS[action].title} version {version}"
        response = self._page(
            View("action.html", title, content, source.project.name, "models", status=status)
        )
        response.set_cookie(
            security.COOKIE, cookie, path=request.path, httponly=True, samesite="Strict"
        )
        return response

    async def _act(
        self, request: web.BaseRequest, source: Source, version: str, action: str
    ) -> web.Response | None:
        self._check_action(action)
        host = request.headers.get(hdrs.HOST, "")
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        is_own = security.is_own_origin(request.headers.get(hdrs.ORIGIN), host)
        form = _fields(await read_body(request, self._settings))
        cookie = request.cookies.get(security.COOKIE)
        if not (
            is_own
            and site == "same-origin"
            and self._guard.is_own_form(cookie, request.path, form.get("form", ""))
        ):
            raise RequestError(
                Code.PERMISSION_DENIED,
                "the form is expired or was not shown by this dashboard: reload its page",
            )
        if self._guard.is_closed:
            raise RequestError(
                Code.RESOURCE_EXHAUSTED, "too many wrong tokens: wait a minute, then try again"
            )
        if not self._guard.accepts(form.get("token", "")):
            log.warning("a wrong token for %s", request.path)
            problem = (
                f"Wrong token: it must be that of {security.TOKEN_VARIABLE}. Nothing was changed."
            )
            return await self._form(request, source, version, action, 403, problem, form)
        try:
            await source.change(
                lambda: carry_out(source.project, ACTIONS[action], int(version), form)
            )
        except OrdainError as error:
            problem = f"Nothing was changed: {error.message}."
            return await self._form(request, source, version, action, 409, problem, form)
        log.info("%s: %s version %s", source.project.name, ACTIONS[action].title, version)
        response = web.Response(status=303)
        query = urlencode({"done": action})
        response.headers[hdrs.LOCATION] = f"/projects/{source.project.name}/models?{query}"
        response.del_cookie(security.COOKIE, path=request.path)
        return response

    def _check_action(self, action: str) -> None:
        if action not in ACTIONS:
            raise _missing("page not found")
        if not self._guard.allows_actions:
            raise RequestError(
                Code.PERMISSION_DENIED,
                "this dashboard is read-only; start it with --allow-actions to change labels",
            )


async def _decisions(request: web.BaseRequest, source: Source) -> View:
    return await views.decisions(source, request.rel_url.query)


async def _run(_: web.BaseRequest, source: Source, run: str) -> View | None:
    return await views.run(source, run)


async def _report(_: web.BaseRequest, source: Source, run: str) -> web.Response | None:
    page = await source.ask(lambda: read_report(source.project.runs, run))
    headers = {"Content-Security-Policy": security.REPORT_POLICY}
    return None if page is None else _response(page, headers=headers)


async def _log(_: web.BaseRequest, source: Source, run: str, node: str) -> View | None:
    found = await source.ask(lambda: read_log(source.project.runs, run, node))
    content = {"log": found, "run": run, "node": node}
    name = source.project.name
    return None if found is None else View("log.html", f"{node} in {run}", content, name, "runs")


async def _asset(_: web.BaseRequest, name: str) -> web.Response | None:
    found = read_asset(name)
    return found and _response(*found)


def _fields(body: bytes) -> dict[str, str]:
    try:
        found = parse_qs(body.decode("utf-8"), max_num_fields=MAX_FIELDS, keep_blank_values=True)
    except ValueError as error:
        raise RequestError(Code.INVALID_ARGUMENT, "malformed form submission") from error
    return {name: values[-1] for name, values in found.items()}


def _response(body: bytes, kind: str = HTML, **more: Any) -> web.Response:
    return web.Response(body=body, content_type=kind, charset="utf-8", **more)


def _missing(message: str) -> RequestError:
    return RequestError(Code.NOT_FOUND, message)
