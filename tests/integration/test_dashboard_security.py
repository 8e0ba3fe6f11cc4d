"""Requests refused by the dashboard: foreign hosts, forged forms, wrong tokens, escaping paths."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard import TOKEN, Dashboard, dashboard
from sandbox import PROJECTS, Sandbox, good_rows, write_csv

from ordain.config.loading import load_project
from ordain.serving.registry.label_file import read_labels

PROMOTE = "/projects/small/versions/1/promote"
SECRET = "what nobody should read"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """A project with two versions, and files beside its runs that are none of its own."""
    folder = tmp_path_factory.mktemp("security") / "small"
    shutil.copytree(PROJECTS / "small", folder)
    sandbox = Sandbox(folder)
    for span in (1, 2):
        write_csv(folder / "data" / str(span) / "rows.csv", good_rows(), ["x", "c", "y"])
        result = sandbox.run(span=span)
        assert result.is_new_version, result.headline
    loaded = load_project(folder)
    (folder / "secret.log").write_text(SECRET)
    logs = loaded.runs / result.run_id / "logs"
    (logs / "link.log").symlink_to(folder / "secret.log")
    (loaded.runs / result.run_id / "report.html").symlink_to(folder / "secret.log")
    (loaded.runs / "linked").symlink_to(logs.parent, target_is_directory=True)
    return loaded, result.run_id


@pytest.fixture
def shown(project: Any) -> Iterator[Dashboard]:
    with dashboard(project[0].folder, actions=True) as found:
        yield found


@pytest.fixture(scope="module")
def reading(project: Any) -> Iterator[Dashboard]:
    with dashboard(project[0].folder) as found:
        yield found


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8600", "127.0.0.1.evil.example", "", "localhost.evil", "[::2]"],
)
def test_a_foreign_host_is_refused(reading, host):
    for path in ("/", "/runs", "/static/style.css", "/projects/small/models"):
        answer = reading.ask(path, Host=host)
        assert answer.status == 403
        assert "small" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1:1", "[::1]:8600"])
def test_this_machine_is_answered_also_through_a_tunnel(reading, host):
    assert reading.ask("/", Host=host).status == 200


def test_every_answer_carries_its_policies(reading, project):
    for path in ("/", "/runs", "/nothing", "/static/live.js", PROMOTE):
        headers = reading.ask(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


def test_no_path_leads_out_of_the_runs(reading, project):
    _, run = project
    ways = ["..", "../..", "%2e%2e", "..%2f..", "%2e%2e%2f%2e%2e%2fsecret", ".", "%00", "linked"]
    ways += ["..%5c..", "%252e%252e", "/etc/passwd", "%2fetc%2fpasswd"]
    for way in ways:
        for path in (
            f"/projects/small/runs/{way}/report",
            f"/projects/small/runs/{way}/logs/Trainer",
            f"/projects/small/runs/{run}/logs/{way}",
            f"/projects/{way}/runs/{run}/report",
            f"/static/{way}",
        ):
            answer = reading.ask(path)
            assert answer.status == 404, path
            assert SECRET not in answer.text
    for path in (f"{run}/logs/link", f"{run}/report"):
        answer = reading.ask(f"/projects/small/runs/{path}")
        assert answer.status == 404, "links are not followed"
        assert SECRET not in answer.text
    assert reading.ask(f"/projects/small/runs/{run}/logs/Trainer").status == 200


def test_what_only_reads_changes_nothing(reading, project):
    before = read_labels(project[0].serving)
    assert reading.ask(PROMOTE).status == 403
    form = {"form": "0" * 64, "why": "because", "token": TOKEN}
    assert reading.ask(PROMOTE, "POST", form).status == 403
    assert "Promote" not in reading.ask("/projects/small/models").text
    assert read_labels(project[0].serving) == before


def test_a_change_needs_form_cookie_origin_and_token(shown, project):
    before = read_labels(project[0].serving)
    field, cookie = shown.form_of(PROMOTE)
    own = {"Cookie": cookie, "Origin": shown.url}
    form = {"form": field, "why": "because", "token": TOKEN}
    other, _ = shown.form_of("/projects/small/versions/2/canary")
    tried = [
        ({**form, "form": "0" * 64}, own),
        ({**form, "form": ""}, own),
        ({**form, "form": other}, own),
        (form, {"Origin": shown.url}),
        (form, {**own, "Cookie": "ordain_form=made-up"}),
        (form, {**own, "Origin": "http://evil.example"}),
        (form, {**own, "Origin": "null"}),
        (form, {**own, "Origin": "http://localhost:1"}),
        (form, {**own, "Sec_Fetch_Site": "cross-site"}),
        (form, {**own, "Host": "evil.example"}),
        ({**form, "token": ""}, own),
        ({**form, "token": TOKEN[:-1]}, own),
        ({**form, "token": f"{TOKEN} "}, own),
    ]
    for sent, headers in tried:
        assert shown.ask(PROMOTE, "POST", sent, **headers).status == 403, (sent, headers)
    assert shown.ask(PROMOTE, "PUT").status == 405
    assert shown.ask(PROMOTE, "POST", {**form, "why": ""}, **own).status == 409
    assert read_labels(project[0].serving) == before
    cookies = shown.ask(PROMOTE).headers["set-cookie"]
    assert "HttpOnly" in cookies
    assert "SameSite=Strict" in cookies

    answer = shown.ask(PROMOTE, "POST", {**form, "why": "it is <b>better</b>"}, **own)
    assert answer.status == 303
    after = read_labels(project[0].serving)
    assert after.stable == 1
    assert after.changes[-1].why == "it is <b>better</b>"
    assert "it is &lt;b&gt;better&lt;/b&gt;" in shown.ask(answer.headers["location"]).text


def test_each_change_is_that_of_the_command(shown, project):
    serving = project[0].serving

    def act(version: int, action: str, **fields: str) -> int:
        path = f"/projects/small/versions/{version}/{action}"
        field, cookie = shown.form_of(path)
        form = {"form": field, "why": "because", "token": TOKEN, **fields}
        return shown.ask(path, "POST", form, Cookie=cookie, Origin=shown.url).status

    assert act(2, "promote") == 303
    assert read_labels(serving).stable == 2
    assert act(1, "canary", share="100") == 409
    assert act(1, "canary", share="25") == 303
    assert read_labels(serving).canary.share == 0.25
    assert act(2, "drop-canary") == 409, "it is not the canary"
    assert act(1, "drop-canary") == 303
    assert read_labels(serving).canary is None
    assert act(1, "rollback") == 303
    assert read_labels(serving).pinned
    assert shown.ask("/projects/small/versions/99/promote").status == 404
    assert shown.ask("/projects/small/versions/1/delete").status == 404


def test_tokens_cannot_be_tried_one_after_the_other(shown, project):
    before = read_labels(project[0].serving)
    field, cookie = shown.form_of(PROMOTE)
    own = {"Cookie": cookie, "Origin": shown.url}
    form = {"form": field, "why": "because"}
    codes = [
        shown.ask(PROMOTE, "POST", {**form, "token": f"guess {i}"}, **own).status for i in range(6)
    ]
    assert codes == [403] * 5 + [429]
    assert shown.ask(PROMOTE, "POST", {**form, "token": TOKEN}, **own).status == 429
    assert read_labels(project[0].serving) == before


def test_what_is_too_large_is_not_read(shown):
    assert shown.ask(PROMOTE, "POST", {"why": "x" * 100_000}, Origin=shown.url).status == 413
    many = {f"f{i}": "1" for i in range(200)}
    assert shown.ask(PROMOTE, "POST", many, Origin=shown.url).status == 400
    assert shown.ask("/runs?project=" + "x" * 20_000).status == 400


def test_it_listens_on_loopback_only(reading):
    import psutil

    listening = [
        c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == reading.port
    ]
    assert {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_a_token_is_asked_for_before_it_starts(project, monkeypatch, tmp_path: Path):
    from click.testing import CliRunner

    from ordain.cli.main import cli
    from ordain.errors import ConfigError

    for token in ("", "short"):
        monkeypatch.setenv("ORDAIN_DASHBOARD_TOKEN", token)
        command = ["dashboard", str(project[0].folder), "--allow-actions", "--port", "0"]
        done = CliRunner().invoke(cli, command)
        assert isinstance(done.exception, ConfigError)
        assert "ORDAIN_DASHBOARD_TOKEN" in str(done.exception)
