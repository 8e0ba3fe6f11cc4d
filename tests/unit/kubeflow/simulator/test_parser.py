"""Reading a compiled file: what cannot be simulated is refused by name, before anything starts."""

import re
from pathlib import Path

import pytest
import yaml
from compiled import compile_to, keep, say, shell, take
from kfp import dsl, kubernetes

from ordain.errors import ConfigError
from ordain.kubeflow.simulator.fault_injection import Injection, read_injections
from ordain.kubeflow.simulator.job import Retry, default_of
from ordain.kubeflow.simulator.parser import read_job
from ordain.kubeflow.simulator.secret_values import SecretValues


def refusal(folder: Path, build) -> str:
    with pytest.raises(ConfigError) as caught:
        read_job(compile_to(folder, build))
    return caught.value.message


def changed(folder: Path, change) -> Path:
    """A good file whose first document was changed."""

    def build():
        first = say(script="true")
        shell(script=f"echo {first.outputs['said']}")

    file = compile_to(folder, build)
    document = yaml.safe_load(file.read_text())
    change(document)
    file.write_text(yaml.safe_dump(document))
    return file


class TestReading:
    def test_a_task_with_all_there_is(self, tmp_path):
        def build(place: str = "here"):
            made = keep(script="true")
            task = take(script=place, kept=made.outputs["kept"])
            task.set_retry(4, "30s", 2.5, "600s").set_display_name("Taker")
            task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
            kubernetes.set_timeout(task, 90)
            kubernetes.mount_pvc(task, "claim", "/data")
            kubernetes.use_secret_as_env(task, "db", {"password": "PASSWORD"})

        job = read_job(compile_to(tmp_path, build))
        task = job.tasks[1]
        assert [t.name for t in job.tasks] == ["keep", "take"]
        assert (task.title, task.needs, task.timeout_s) == ("Taker", ("keep",), 90.0)
        inputs = task.spec.inputs
        assert inputs.parameters["script"].component_input_parameter == "place"
        kept = inputs.artifacts["kept"].task_output_artifact
        assert (kept.producer_task, kept.output_artifact_key) == ("keep", "kept")
        assert task.retry == Retry(4, 30.0, 2.5, 600.0)
        assert task.mounts == [("/data", "volume claim")]
        assert task.resources == {"accelerator": "nvidia.com/gpu", "accelerator_count": "1"}
        secrets = SecretValues("secret", "--secret", {"db.password": "value"})
        assert secrets.environment(task, {}) == {"PASSWORD": "value"}
        assert default_of(job.parameters["place"]) == "here"

    def test_a_task_without_retries_or_limits(self, tmp_path):
        job = read_job(compile_to(tmp_path, lambda: shell(script="true")))
        assert job.tasks[0].retry == Retry(0, 0.0, 1.0, None)
        assert job.tasks[0].timeout_s is None


class TestRefusals:
    def test_an_importer(self, tmp_path):
        def build():
            found = dsl.importer(artifact_uri="gs://x/y", artifact_class=dsl.Dataset)
            take(script="true", kept=found.output)

        text = refusal(tmp_path, build)
        assert "task importer: is an importer" in text
        assert "needs 'importer'" not in text

    def test_a_condition(self, tmp_path):
        def build():
            first = say(script="true")
            with dsl.If(first.outputs["said"] == "yes"):
                shell(script="true")

        assert "task condition-1: is a nested graph" in refusal(tmp_path, build)

    def test_a_loop(self, tmp_path):
        def build():
            with dsl.ParallelFor(["a", "b"]) as item:
                shell(script=item)

        text = refusal(tmp_path, build)
        assert re.search(r"task for-loop-\d: is a nested graph", text)

    def test_an_exit_handler_behind_another_task(self, tmp_path):
        def build():
            with dsl.ExitHandler(shell(script="true")):
                one = shell(script="true")
            del one
            first = say(script="true")
            with dsl.ExitHandler(shell(script="true")):
                shell(script=first.outputs["said"])

        text = refusal(tmp_path, build)
        assert "task exit-handler-2: is a nested graph" in text
        assert "exit-handler-1" not in text

    @pytest.mark.parametrize(
        ("how", "problem"),
        [
            ("several", "tasks.shell-2: waits for shell, shell-3; must wait for one task"),
            ("beside", "tasks.shell-2: waits for shell, as shell-3 do; no other task may"),
            ("behind", "tasks.shell-3: waits for shell-2; no task may wait"),
        ],
    )
    def test_a_task_after_failures_that_a_cluster_would_not_run_so(self, tmp_path, how, problem):
        def build():
            first = shell(script="true")
            if how == "several":
                shell(script="true").after(first, shell(script="true")).ignore_upstream_failure()
            else:
                last = shell(script="true").after(first).ignore_upstream_failure()
                shell(script="true").after(first if how == "beside" else last)

        assert problem in refusal(tmp_path, build)

    def test_a_pipeline_in_a_pipeline(self, tmp_path):
        @dsl.pipeline(name="inner")
        def inner():
            shell(script="true")

        assert "task inner: is a nested graph" in refusal(tmp_path, inner)

    def test_a_function_that_installs_packages(self, tmp_path):
        @dsl.component
        def add(a: int) -> int:
            return a + 1

        assert "task add: its command installs packages with pip" in refusal(
            tmp_path, lambda: add(a=1)
        )

    def test_a_placeholder_of_the_run_in_a_command(self, tmp_path):
        @dsl.container_component
        def named():
            return dsl.ContainerSpec(
                image="x", command=["echo"], args=[f"run-{dsl.PIPELINE_JOB_ID_PLACEHOLDER}"]
            )

        text = refusal(tmp_path, named)
        assert "{{$.pipeline_job_uuid}}; not filled in a command" in text

    def test_a_placeholder_that_nothing_fills(self, tmp_path):
        def rename(document):
            executors = document["deploymentSpec"]["executors"]
            executors["exec-shell"]["container"]["args"] = ["{{$.inputs.parameters['other']}}"]

        with pytest.raises(ConfigError, match=r"exec-shell.*'other'.*inputs are script"):
            read_job(changed(tmp_path, rename))

    def test_an_image_without_a_command(self, tmp_path):
        @dsl.container_component
        def bare():
            return dsl.ContainerSpec(image="x")

        assert "task bare: has no command" in refusal(tmp_path, bare)

    def test_a_field_of_the_pod_that_is_not_here(self, tmp_path):
        def build():
            kubernetes.use_field_path_as_env(shell(script="true"), "IP", "status.podIP")

        assert "variable IP is the pod's status.podIP" in refusal(tmp_path, build)

    def test_everything_is_named_at_once(self, tmp_path):
        def build():
            dsl.importer(artifact_uri="gs://x/y", artifact_class=dsl.Dataset)
            with dsl.ParallelFor(["a"]) as item:
                shell(script=item)

        text = refusal(tmp_path, build)
        assert "task importer" in text
        assert "task for-loop-" in text


class TestFiles:
    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            read_job(tmp_path / "none.yaml")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: [", "must be YAML"),
            ("", "0 documents"),
            ("a: 1\n---\nb: 1\n---\nc: 1\n", "3 documents"),
            ("- 1\n", "1 documents"),
            ("schemaVersion: 2.1.0\nunknown: 1\n", "document 1: .* must be a PipelineSpec"),
            ("schemaVersion: 2.1.0\n---\nunknown: 1\n", "document 2: .* must be a PlatformSpec"),
            ("schemaVersion: 2.0.0\n", "schemaVersion: '2.0.0'"),
            ("schemaVersion: 2.1.0\n", "rule root: root: nothing"),
        ],
    )
    def test_other_files(self, tmp_path, text, message):
        file = tmp_path / "other.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_job(file)

    def test_a_task_that_is_not_there(self, tmp_path):
        def change(document):
            document["root"]["dag"]["tasks"]["shell"]["dependentTasks"] = ["other"]

        with pytest.raises(ConfigError, match="shell.dependentTasks: 'other'"):
            read_job(changed(tmp_path, change))

    def test_a_component_that_is_not_there(self, tmp_path):
        def change(document):
            document["root"]["dag"]["tasks"]["shell"]["componentRef"]["name"] = "other"

        with pytest.raises(ConfigError, match="shell.componentRef: 'other'"):
            read_job(changed(tmp_path, change))

    def test_an_executor_that_is_not_there(self, tmp_path):
        def change(document):
            document["components"]["comp-shell"]["executorLabel"] = "other"

        with pytest.raises(ConfigError, match="comp-shell.executorLabel: 'other'"):
            read_job(changed(tmp_path, change))

    def test_tasks_that_need_each_other(self, tmp_path):
        def change(document):
            document["root"]["dag"]["tasks"]["say"]["dependentTasks"] = ["shell"]

        with pytest.raises(ConfigError, match="say, shell wait for each other"):
            read_job(changed(tmp_path, change))


class TestInjections:
    @pytest.fixture
    def job(self, tmp_path):
        def build():
            shell(script="true").set_display_name("Trainer")

        return read_job(compile_to(tmp_path, build))

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("shell:kill", ("shell", "kill", 0.0, "", 1)),
            ("Trainer:term@2.5", ("shell", "term", 2.5, "", 1)),
            ("shell:lose@3#2", ("shell", "lose", 3.0, "", 2)),
            ("shell:kill@~step 10: loss", ("shell", "kill", 0.0, "step 10: loss", 1)),
            ("shell:kill@~half#3", ("shell", "kill", 0.0, "half", 3)),
        ],
    )
    def test_forms(self, job, text, expected):
        assert read_injections([text], job) == (Injection(text, *expected),)

    @pytest.mark.parametrize(
        "text",
        ["shell", "shell:stop", "shell:kill@", "shell:kill@soon", "shell:kill@-1", "shell:kill#0"],
    )
    def test_other_forms(self, job, text):
        with pytest.raises(ConfigError, match="expected TASK:kill"):
            read_injections([text], job)

    def test_a_task_that_is_not_there(self, job):
        with pytest.raises(ConfigError, match="there is no task trainer; did you mean Trainer"):
            read_injections(["trainer:kill"], job)
