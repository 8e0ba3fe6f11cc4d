"""Compiled pipelines, run for real: processes, files, signals."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from compiled import (
    Heard,
    compile_to,
    keep,
    log_of,
    say,
    shell,
    simulate,
    states,
    take,
    task_of,
    tell,
)
from kfp import dsl, kubernetes

from ordain.errors import ConfigError

pytestmark = pytest.mark.process


@pytest.fixture
def pipeline(tmp_path: Path) -> Callable[..., Path]:
    """Compiles a function that makes tasks."""

    def make(build: Callable[..., Any]) -> Path:
        return compile_to(tmp_path, build)

    return make


@dsl.container_component
def everything(
    text: str,
    whole: int,
    real: float,
    is_so: bool,
    items: list,
    table: dict,
    maybe: str = "",
    left_out: str = None,  # noqa: RUF013  how KFP spells an optional input
):
    return dsl.ContainerSpec(
        image="x",
        command=["sh", "-c", 'for word in "$@"; do echo "[$word]"; done', "sh"],
        args=[
            text,
            whole,
            real,
            is_so,
            items,
            table,
            dsl.ConcatPlaceholder(["--text=", text, "/", whole]),
            dsl.IfPresentPlaceholder("left_out", then=["--left-out", left_out], else_=["none"]),
            dsl.IfPresentPlaceholder("maybe", then=["--maybe", maybe]),
        ],
    )


@dsl.container_component
def names(run: str, title: str, resource: str, task: str, made: str):
    return dsl.ContainerSpec(image="x", command=["echo"], args=[run, title, resource, task, made])


class TestValues:
    def test_parameters_of_each_type(self, pipeline):
        def build(text: str = "w", whole: int = 3):
            everything(
                text=text,
                whole=whole,
                real=1.5,
                is_so=True,
                items=[1, "a"],
                table={"b": 2},
                maybe="m",
            )

        report = simulate(pipeline(build), parameters={"whole": "7"})
        assert log_of(report, "everything").splitlines() == [
            "[w]",
            "[7]",
            "[1.5]",
            "[true]",
            '[[1,"a"]]',
            '[{"b":2}]',
            "[--text=w/7]",
            "[none]",
            "[--maybe]",
            "[m]",
        ]
        assert report.parameters == {"text": "w", "whole": 7}

    def test_placeholders_of_the_run(self, pipeline):
        def build():
            names(
                run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                title=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
                resource=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER,
                task=dsl.PIPELINE_TASK_NAME_PLACEHOLDER,
                made=dsl.PIPELINE_JOB_CREATE_TIME_UTC_PLACEHOLDER,
            ).set_display_name("Names")

        report = simulate(pipeline(build))
        run, title, resource, task, made = log_of(report, "names").split()
        assert run == report.run_id
        assert title == resource == f"made-for-a-test-{run[:5]}"
        assert (task, made) == ("Names", report.started)

    def test_an_output_goes_on_inside_a_text(self, pipeline):
        def build():
            first = say(script='printf "a b" > "$0"')
            shell(script=f"echo 'got {first.outputs['said']}'")

        report = simulate(pipeline(build))
        assert log_of(report, "shell") == "got a b\n"
        assert report.tasks[0].parameters == {"said": "a b"}

    def test_artifacts_in_and_out(self, pipeline):
        def build():
            made = keep(script='mkdir "$0"; echo one > "$0/a"; echo two > "$0/b"')
            take(script='cat "$0/a" "$0/b" > "$1"', kept=made.outputs["kept"])

        report = simulate(pipeline(build))
        kept, page = report.tasks[0].artifacts["kept"], report.tasks[1].artifacts["page"]
        assert (kept["type"], kept["bytes"]) == ("system.Dataset", 8)
        assert page["type"] == "system.HTML"
        assert Path(page["uri"]).read_text() == "one\ntwo\n"

    def test_an_artifact_may_stay_away_and_a_parameter_may_not(self, pipeline):
        def build():
            keep(script="true")
            say(script="true")

        report = simulate(pipeline(build))
        assert states(report) == {"keep": "succeeded", "say": "failed"}
        assert task_of(report, "keep").artifacts["kept"]["bytes"] is None
        assert (
            "output said: the task exited with 0 without writing" in task_of(report, "say").reason
        )
        assert report.exit_code == 1

    def test_what_the_sdks_executor_writes_comes_first(self, pipeline):
        code = (
            "import json, sys; out = json.loads(sys.argv[1])['outputs'];"
            "open(out['parameters']['n']['outputFile'], 'w').write('1');"
            "told = {'parameterValues': {'n': 5},"
            " 'artifacts': {'m': {'artifacts': [{'metadata': {'auc': 0.9}}]}}};"
            "json.dump(told, open(out['outputFile'], 'w'))"
        )

        @dsl.container_component
        def told(n: dsl.OutputPath(int), m: dsl.Output[dsl.Metrics]):
            return dsl.ContainerSpec(image="x", command=["python", "-c", code], args=["{{$}}"])

        report = simulate(pipeline(told))
        assert report.tasks[0].parameters == {"n": 5}
        assert report.tasks[0].artifacts["m"]["metadata"] == {"auc": 0.9}

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"n": "many"}, "--param n: NUMBER_INTEGER"),
            ({}, "parameter n has no default"),
            ({"n": "1", "m": "2"}, "--param m: the file's parameters are: n"),
        ],
    )
    def test_parameters_that_do_not_fit(self, pipeline, given, message):
        def build(n: int):
            shell(script=f"echo {n}")

        with pytest.raises(ConfigError, match=message):
            simulate(pipeline(build), parameters=given)


class TestOrder:
    def test_each_task_starts_after_those_it_needs(self, pipeline):
        def build():
            last = shell(script="true").set_display_name("last")
            first = say(script='echo 1 > "$0"')
            middle = shell(script=f"echo {first.outputs['said']}")
            last.after(middle)

        heard = Heard()
        simulate(pipeline(build), heard, parallel=8)
        starts = [name for event, name in heard.events if event == "started"]
        assert starts == ["say", "shell-2", "shell"]

    @pytest.mark.parametrize("parallel", [1, 2, 3])
    def test_no_more_at_once_than_allowed(self, pipeline, tmp_path, parallel):
        running = tmp_path / "running"
        running.mkdir()
        mine = f"{running}/$KFP_POD_NAME"
        script = f"touch {mine}; ls {running} | wc -l; sleep 0.4; rm {mine}"

        def build():
            for _ in range(5):
                shell(script=script)

        report = simulate(pipeline(build), parallel=parallel)
        seen = [int(log_of(report, task.name)) for task in report.tasks]
        assert max(seen) == parallel

    def test_what_needs_a_failed_task_does_not_start_and_the_rest_ends(self, pipeline):
        def build():
            bad = shell(script="echo no good; exit 7").set_display_name("bad")
            behind = shell(script="true").after(bad)
            shell(script="true").after(behind)
            other = shell(script="sleep 0.3")
            shell(script="true").after(other)

        report = simulate(pipeline(build))
        assert states(report) == {
            "shell": "failed",
            "shell-2": "not started",
            "shell-3": "not started",
            "shell-4": "succeeded",
            "shell-5": "succeeded",
        }
        assert task_of(report, "shell-2").reason == "upstream task shell did not succeed"
        assert report.failed[0].exit_code == 7
        assert (report.state, report.exit_code) == ("failed", 1)

    def test_a_task_may_run_after_failed_ones(self, pipeline):
        def build():
            bad = shell(script="exit 3")
            shell(script="true").after(bad).ignore_upstream_failure()

        report = simulate(pipeline(build))
        assert states(report) == {"shell": "failed", "shell-2": "succeeded"}
        assert report.exit_code == 3

    @pytest.mark.parametrize("fails", [True, False])
    def test_an_exit_task_runs_once_after_everything_else_of_its_group(
        self, pipeline, tmp_path, fails
    ):
        def build(name: str = "run 7"):
            note = f'echo "$0" >> {tmp_path}/order'
            ending = shell(script=f"sh -c '{note}' exit; exit 4")
            with dsl.ExitHandler(ending, name="all"):
                first = tell(script=note, word=name)
                second = shell(script="exit 3" if fails else "true").after(first)
                shell(script=f"sh -c '{note}' behind").after(second)
                shell(script=f"sleep 0.5; sh -c '{note}' beside").after(first)

        report = simulate(pipeline(build))
        assert task_of(report, "shell").state == "failed"
        behind = "not started" if fails else "succeeded"
        assert task_of(report, "shell-3").state == behind
        order = (tmp_path / "order").read_text().splitlines()
        assert order[0] == "run 7"
        assert order[-1] == "exit"
        assert sorted(order[1:-1]) == (["beside"] if fails else ["behind", "beside"])
        assert report.exit_code == (3 if fails else 4)

    @pytest.mark.parametrize(("code", "ours"), [(3, 3), (4, 4), (5, 5), (17, 1)])
    def test_exit_codes_of_ordain_are_passed_on(self, pipeline, code, ours):
        assert simulate(pipeline(lambda: shell(script=f"exit {code}"))).exit_code == ours


class TestRetries:
    def test_until_it_succeeds_with_the_back_off_of_the_file(self, pipeline, tmp_path):
        script = f"echo x >> {tmp_path}/attempts; test $(wc -l < {tmp_path}/attempts) = 3"

        def build():
            shell(script=script).set_retry(3, "1s", 2, "60s")

        heard = Heard()
        report = simulate(pipeline(build), heard)
        attempts = report.tasks[0].attempts
        assert [a.state for a in attempts] == ["failed", "failed", "succeeded"]
        assert [a.waited_s for a in attempts] == [0, 1, 2]
        assert attempts[2].started_s >= attempts[1].started_s + 2
        assert report.state == "succeeded"

    def test_no_wait_skips_the_backoff(self, pipeline):
        def build():
            shell(script="exit 1").set_retry(2, "600s", 2, "3600s")

        report = simulate(pipeline(build), has_backoff=False)
        assert len(report.tasks[0].attempts) == 3
        assert report.tasks[0].reason == "exit code 1 after 3 attempts"

    def test_none_that_would_start_beyond_the_limit_of_all_tries(self, pipeline):
        def build():
            shell(script="exit 1").set_retry(5, "1s", 3, "2s")

        report = simulate(pipeline(build))
        assert [a.waited_s for a in report.tasks[0].attempts] == [0, 1]

    def test_each_attempt_has_folders_of_its_own(self, pipeline):
        script = 'touch kept "$TMPDIR/t" "$HOME/h"; ls "$TMPDIR" "$HOME" .; pwd; exit 1'

        def build():
            shell(script=script).set_retry(1, "0s")

        report = simulate(pipeline(build))
        (*_, first), (*_, second) = (log_of(report, "shell", n).splitlines() for n in (0, 1))
        assert first != second
        assert [line for line in log_of(report, "shell").splitlines() if "/" not in line] == [
            *(".:", "kept", "", "h", "", "t")
        ]
        assert not Path(first).exists()

    def test_a_time_limit_ends_an_attempt_and_it_is_retried(self, pipeline, tmp_path):
        script = f"test -e {tmp_path}/again && exit 0; touch {tmp_path}/again; sleep 60"

        def build():
            kubernetes.set_timeout(shell(script=script).set_retry(1, "0s"), 1)

        report = simulate(pipeline(build))
        attempts = report.tasks[0].attempts
        assert [a.state for a in attempts] == ["timed out", "succeeded"]
        assert (attempts[0].exit_code, attempts[0].reason) == (143, "timed out after 1 s")

    def test_one_that_does_not_listen_is_killed_after_the_grace_time(self, pipeline):
        def build():
            task = shell(script="trap '' TERM; while true; do sleep 0.1; done")
            kubernetes.set_timeout(task, 1)

        report = simulate(pipeline(build), grace_s=0.5)
        assert report.tasks[0].attempts[0].exit_code == 137


class TestInjection:
    def test_killed_and_retried(self, pipeline, tmp_path):
        script = f"echo here; test -e {tmp_path}/again || {{ touch {tmp_path}/again; sleep 60; }}"

        def build():
            shell(script=script).set_retry(1, "0s")

        report = simulate(pipeline(build), inject=("shell:kill@~here",))
        first, second = report.tasks[0].attempts
        assert (first.state, first.exit_code, first.reason) == ("failed", 137, "ended by SIGKILL")
        assert first.injected == "shell:kill@~here"
        assert (second.state, second.injected) == ("succeeded", "")

    def test_term_lets_a_task_tidy_up(self, pipeline):
        script = "trap 'echo tidy; exit 9' TERM; echo ready; while true; do sleep 0.05; done"
        report = simulate(pipeline(lambda: shell(script=script)), inject=("shell:term@~ready",))
        assert log_of(report, "shell").splitlines()[-1] == "tidy"
        assert report.tasks[0].exit_code == 9

    def test_a_lost_node_is_not_retried(self, pipeline):
        def build():
            shell(script="sleep 60").set_retry(3, "0s")

        report = simulate(pipeline(build), inject=("shell:lose@0.2",))
        (attempt,) = report.tasks[0].attempts
        assert (attempt.state, attempt.exit_code) == ("lost", None)
        assert "retry policy does not cover" in attempt.reason
        assert report.exit_code == 1

    def test_the_second_attempt(self, pipeline, tmp_path):
        def build():
            shell(script=f"test -e {tmp_path}/x && sleep 60; touch {tmp_path}/x; exit 1").set_retry(
                1, "0s"
            )

        report = simulate(pipeline(build), inject=("shell:kill@0.1#2",))
        assert [a.exit_code for a in report.tasks[0].attempts] == [1, 137]

    def test_an_injection_that_was_not_triggered_is_a_note(self, pipeline):
        report = simulate(pipeline(lambda: shell(script="true")), inject=("shell:kill@30",))
        assert report.state == "succeeded"
        assert any(
            note.startswith("--inject shell:kill@30 was not triggered") for note in report.notes
        )


class TestEnvironment:
    def test_what_the_file_gives_and_a_small_fixed_set(self, pipeline, monkeypatch):
        monkeypatch.setenv("LEAKED", "yes")
        monkeypatch.setenv("PYTHONPATH", "/somewhere")

        def build():
            task = shell(script="env | sort").set_env_variable("GIVEN", "a $(OTHER) b")
            kubernetes.use_config_map_as_env(task, "settings", {"mode": "MODE"})
            kubernetes.use_field_path_as_env(task, "POD", "metadata.name")
            kubernetes.use_secret_as_env(task, "maybe", {"key": "UNSET"}, optional=True)

        report = simulate(pipeline(build), config_maps={"settings.mode": "fast"})
        found = dict(line.split("=", 1) for line in log_of(report, "shell").splitlines())
        fixed = {"PATH", "HOME", "TMPDIR", "LANG", "KFP_POD_NAME"}
        # The shell's own.
        assert set(found) - {"PWD", "OLDPWD", "SHLVL", "_"} == fixed | {"GIVEN", "MODE", "POD"}
        assert found["GIVEN"] == "a $(OTHER) b"
        assert (found["MODE"], found["POD"]) == ("fast", f"{report.run_id}-shell-1")

    def test_python_is_the_interpreter_that_ordain_runs_in(self, pipeline):
        @dsl.container_component
        def python():
            code = (
                "import sys; from ordain.kubeflow.simulator import simulator; "
                "print(sys.prefix, simulator.__file__)"
            )
            return dsl.ContainerSpec(image="x", command=["python", "-c", code])

        report = simulate(pipeline(python))
        prefix, module = log_of(report, "python").split()
        assert prefix == sys.prefix
        assert Path(module).samefile(sys.modules["ordain.kubeflow.simulator.simulator"].__file__)

    def test_a_secret_reaches_its_task_and_nothing_that_is_written(self, pipeline, tmp_path):
        secret = "s3cret' word\\@/:"
        script = (
            f'test "$PASSWORD" = "$(cat {tmp_path}/expected)" && echo same; '
            'echo "$PASSWORD"; echo "$0"; printf %s "$PASSWORD" > "$1"'
        )
        (tmp_path / "expected").write_text(secret)

        @dsl.container_component
        def told(script: str, out: dsl.OutputPath(str)):
            return dsl.ContainerSpec(
                image="x", command=["sh", "-c"], args=[script, "--password=$(PASSWORD)", out]
            )

        def build():
            task = told(script=script)
            kubernetes.use_secret_as_env(task, "database", {"password": "PASSWORD"})
            shell(script='test -z "$PASSWORD"')

        report = simulate(pipeline(build), secrets={"database.password": secret})
        assert report.state == "succeeded", log_of(report, "told")
        assert log_of(report, "told").splitlines() == ["same", "***", "--password=***"]
        assert task_of(report, "told").attempts[0].command[-2] == "--password=***"
        assert task_of(report, "told").parameters == {"out": "***"}
        for file in Path(report.folder).rglob("*"):
            if file.is_file() and file.parent.name != "outputs":
                assert "3cret" not in file.read_text(), file

    def test_secrets_that_are_missing_or_unused(self, pipeline):
        def build():
            kubernetes.use_secret_as_env(shell(script="true"), "db", {"password": "PASSWORD"})

        file = pipeline(build)
        with pytest.raises(
            ConfigError, match=r"secret db\.password is not set; required by task shell"
        ):
            simulate(file)
        with pytest.raises(ConfigError, match=r"no task uses secret db\.user"):
            simulate(file, secrets={"db.password": "longenough", "db.user": "x"})

    def test_a_volume_has_to_be_here(self, pipeline, tmp_path):
        def build():
            kubernetes.mount_pvc(shell(script="true"), "claim", str(tmp_path / "volume"))

        file = pipeline(build)
        with pytest.raises(ConfigError, match=r"task shell has a volume claim at .*/volume"):
            simulate(file)
        (tmp_path / "volume").mkdir()
        assert simulate(file).state == "succeeded"


class TestProcesses:
    def test_a_program_that_is_not_there(self, pipeline):
        @dsl.container_component
        def missing():
            return dsl.ContainerSpec(image="x", command=["no-such-program"])

        report = simulate(pipeline(missing))
        assert report.tasks[0].exit_code == 127
        assert "no-such-program cannot be started" in log_of(report, "missing")

    def test_what_a_task_left_running_ends_with_it(self, pipeline):
        escaped = "setsid sh -c 'echo $$; exec sleep 600'"
        report = simulate(
            pipeline(lambda: shell(script=f"{escaped} & sleep 600 & echo $!; sleep 0.5"))
        )
        assert report.state == "succeeded"
        pids = [int(word) for word in log_of(report, "shell").split()]
        assert len(pids) == 2
        for pid in pids:
            assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"

    def test_a_log_of_many_megabytes_does_not_stand_in_the_way(self, pipeline):
        script = "head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end"
        report = simulate(pipeline(lambda: shell(script=script)))
        assert report.state == "succeeded"
        assert log_of(report, "shell").endswith("x\nend\n")
        assert len(log_of(report, "shell")) == 20_000_005


def test_the_report_is_one_document(pipeline):
    def build():
        shell(script="exit 4").set_memory_limit("2G").set_cpu_request("500m")

    report = simulate(pipeline(build))
    raw = json.loads((Path(report.folder) / "report.json").read_text())
    assert raw == json.loads(json.dumps(report.to_dict()))
    assert raw["exit_code"] == raw["tasks"][0]["exit_code"] == 4
    assert raw["tasks"][0]["resources"] == {"cpu_request": "500m", "memory_limit": "2G"}
    assert any("not enforced" in note for note in raw["notes"])
    assert any("cache is on for shell" in note for note in raw["notes"])
