"""`ordain cluster schedule` against a server on loopback."""

import pytest

from ordain.errors import ConfigError


@pytest.fixture
def create(api, project, told):
    """Creates a schedule and returns what was told of it."""

    def call(*words, **keys):
        return told("cluster", "schedule", "create", project(**keys), "--host", api.url, *words)

    return call


class TestCreate:
    def test_what_is_sent(self, api, create):
        words = ("--cron", "30 3 * * 1-5", "--set", "train.steps=7")
        made = create(*words, service_account="ordain")
        (sent,) = api.sent("POST", "/recurringruns")
        assert sent.body == {
            "display_name": "toy",
            "experiment_id": next(iter(api.store.experiments)),
            "pipeline_version_reference": {
                "pipeline_id": made["pipeline_id"],
                "pipeline_version_id": made["version_id"],
            },
            "runtime_config": {"parameters": {"settings": '["train.steps=7"]'}},
            "service_account": "ordain",
            "trigger": {"cron_schedule": {"cron": "0 30 3 * * 1-5"}},
            "mode": "ENABLE",
            "max_concurrency": "1",
            "no_catchup": True,
        }
        assert made["is_enabled"] is True
        assert made["id"] in api.store.schedules

    def test_catching_up_is_asked_for(self, api, create):
        assert create("--cron", "0 0 3 * * *", "--catch-up")["catches_up"] is True
        (sent,) = api.sent("POST", "/recurringruns")
        assert sent.body["no_catchup"] is False

    def test_the_cron_of_the_project(self, api, project, ordain):
        folder = project(schedule={"cron": "0 3 * * 7", "timezone": "Europe/Berlin"})
        told = ordain("cluster", "schedule", "create", folder, "--host", api.url).output
        assert "note: '0 3 * * 7' is '0 0 3 * * 0' for the server" in told
        assert "note: schedule.timezone is Europe/Berlin; the server uses its own" in told
        (sent,) = api.sent("POST", "/recurringruns")
        assert sent.body["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 0"

    def test_no_cron_at_all(self, api, project, ordain):
        with pytest.raises(ConfigError, match="no cron expression"):
            ordain("cluster", "schedule", "create", project(), "--host", api.url)
        assert api.requests == []

    def test_a_wrong_one_is_refused_before_anything_is_sent(self, api, project, ordain):
        words = ("--host", api.url, "--cron", "0 3 L * *")
        with pytest.raises(ConfigError, match="'L' is not supported by Kubeflow"):
            ordain("cluster", "schedule", "create", project(), *words)
        assert api.requests == []

    def test_a_second_one_of_a_name_is_refused(self, api, project, create, ordain):
        first = create("--cron", "0 3 * * *")
        words = ("--host", api.url, "--cron", "0 4 * * *")
        with pytest.raises(ConfigError, match="schedule 'toy' of toy already exists") as caught:
            ordain("cluster", "schedule", "create", project(), *words)
        assert first["id"] in caught.value.hint
        assert list(api.store.schedules) == [first["id"]]

    def test_it_can_be_replaced(self, api, create):
        first = create("--cron", "0 3 * * *")
        second = create("--cron", "0 4 * * *", "--replace", labels={"team": "ml"})
        assert second["replaced"] == [first["id"]]
        assert list(api.store.schedules) == [second["id"]]
        assert second["version_id"] != first["version_id"]
        kinds = [r.method for r in api.requests if "/recurringruns" in r.path]
        assert kinds.index("DELETE") > kinds.index("POST")

    def test_one_of_another_name(self, api, create):
        create("--cron", "0 3 * * *")
        create("--cron", "0 4 * * *", "--name", "weekly")
        assert {s.display_name for s in api.store.schedules.values()} == {"toy", "weekly"}


class TestLife:
    def test_list(self, api, project, create, told, ordain, monkeypatch):
        monkeypatch.setattr("ordain.kubeflow.client.server.PAGE_SIZE", 2)
        ids = [create("--cron", "0 3 * * *", "--name", f"s{n}")["id"] for n in range(5)]
        found = told("cluster", "schedule", "list", project(), "--host", api.url)
        assert [one["id"] for one in found] == ids[::-1]
        line = ordain("cluster", "schedule", "list", "--host", api.url).output.splitlines()[0]
        assert line.split()[0] == ids[-1]
        assert line.endswith("on       0 0 3 * * *  s4")

    def test_pause_and_resume(self, api, create, told, ordain):
        key = create("--cron", "0 3 * * *")["id"]
        paused = told("cluster", "schedule", "pause", key, "--host", api.url)
        assert paused["is_enabled"] is False
        assert api.store.schedules[key].status == "DISABLED"
        line = ordain("cluster", "schedule", "resume", key, "--host", api.url).output
        assert "  on       0 0 3 * * *  toy" in line
        assert api.store.schedules[key].status == "ENABLED"

    def test_delete(self, api, create, ordain, told):
        key = create("--cron", "0 3 * * *")["id"]
        done = ordain("cluster", "schedule", "delete", key, "--host", api.url)
        assert done.output == f"schedule {key} deleted\n"
        assert told("cluster", "schedule", "list", "--host", api.url) == []

    @pytest.mark.parametrize("verb", ["pause", "resume", "delete"])
    def test_an_unknown_one(self, api, ordain, verb):
        with pytest.raises(ConfigError, match="there is no schedule 's1'") as caught:
            ordain("cluster", "schedule", verb, "s1", "--host", api.url)
        assert caught.value.hint == f"ordain cluster schedule list --host {api.url}"
