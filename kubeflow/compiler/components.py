"""Builds the pipeline with KFP's SDK: a component for each task and the settings of its pod.

KFP names a component after its function, so each task gets a new function.
"""

# No `from __future__ import annotations`: KFP reads the annotations as objects.

from collections.abc import Callable, Sequence
from typing import Any

from kfp import dsl, kubernetes

from ordain.config.kubeflow import Kubeflow, Pod
from ordain.kubeflow.compiler.plan import CompilePlan
from ordain.kubeflow.placeholders import EXECUTOR_INPUT
from ordain.kubeflow.task_contract import (
    ENTRYPOINT,
    GROUP,
    ON_EXIT,
    PIPELINE_ROOT,
    PLAN,
    PREPARE,
    RESULT,
    RUN_ID,
    SETTINGS,
    as_argument,
    project_words,
    task_name,
)

#: A parameter that the task writes to a file; mypy takes no call as an annotation.
OutputText: Any = dsl.OutputPath(str)


def build_pipeline(plan: CompilePlan) -> Any:
    """Builds the KFP pipeline of a plan.

    All tasks but `on-exit` are in one group, KFP's exit handler. The backend turns a task that
    runs after failures into an Argo hook on each task that it waits for (argocompiler's `dag.go`):
    it would run once after each of them, not at all after a failed one that has dependants
    (argo-workflows#16057), and its exit code would not fail the run. The group is one task
    without dependants; `result`, inside the group, fails the run.
    """
    section, images = plan.project.kubeflow, plan.images
    folder, config, env = section.project, plan.config, plan.env
    prepare = [
        *project_words(PREPARE, folder, config, env),
        *("--source", plan.source, "--nodes", as_argument(plan.topology)),
    ]
    # It takes nothing from `prepare`, which may fail.
    on_exit = project_words(ON_EXIT, folder, config, env)

    def build(span: str = "", settings: str = "", pipeline_root: str = plan.pipeline_root) -> None:
        # The driver fills this as the whole value of an input; the launcher does not fill it in a
        # command.
        run = {RUN_ID: dsl.PIPELINE_JOB_ID_PLACEHOLDER}
        given = {SETTINGS: settings, PIPELINE_ROOT: pipeline_root, **run}
        ending = on_exit_component(ON_EXIT, images[RESULT], on_exit)(**given)
        configure_task(ending, ON_EXIT, section.pod(RESULT), section, is_retried=False)
        with dsl.ExitHandler(ending, name=GROUP):
            first = prepare_component(PREPARE, images[PREPARE], prepare)(span=span, **given)
            configure_task(first, PREPARE, section.pod(PREPARE), section, is_retried=True)
            run_plan = first.outputs[PLAN]
            tasks: dict[str, Any] = {}
            for node, waits_for in plan.topology.items():
                component = planned_component(node, images[node], ["node", "--node", node])
                task = component(plan=run_plan, **run)
                tasks[node] = task.after(first, *(tasks[other] for other in waits_for))
                configure_task(task, node, section.pod(node), section, is_retried=True)
            component = planned_component(RESULT, images[RESULT], [RESULT])
            last = component(plan=run_plan, **run).after(first, *tasks.values())
            # A run whose model was not blessed must not be retried.
            configure_task(last, RESULT, section.pod(RESULT), section, is_retried=False)

    return dsl.pipeline(name=plan.project.name)(build)


def prepare_component(name: str, image: str, words: Sequence[str]) -> Any:
    """The component of `prepare`: run parameters in, the run's plan out."""

    def component(
        span: str,
        settings: str,
        pipeline_root: str,
        run_id: str,
        plan: OutputText,
        html: dsl.Output[dsl.HTML],
        metrics: dsl.Output[dsl.Metrics],
    ) -> dsl.ContainerSpec:
        del metrics  # the values go through the executor output
        run = ["--span", span, "--settings", settings, "--pipeline-root", pipeline_root]
        return _container(image, [*words, *run, "--plan-output", plan], run_id, html)

    return _named(component, name)


def on_exit_component(name: str, image: str, words: Sequence[str]) -> Any:
    """The component of `on-exit`: run parameters in, nothing from other tasks."""

    def component(
        settings: str,
        pipeline_root: str,
        run_id: str,
        html: dsl.Output[dsl.HTML],
        metrics: dsl.Output[dsl.Metrics],
    ) -> dsl.ContainerSpec:
        del metrics
        run = ["--settings", settings, "--pipeline-root", pipeline_root]
        return _container(image, [*words, *run], run_id, html)

    return _named(component, name)


def planned_component(name: str, image: str, words: Sequence[str]) -> Any:
    """The component of any other task, which takes the run's plan."""

    def component(
        plan: str, run_id: str, html: dsl.Output[dsl.HTML], metrics: dsl.Output[dsl.Metrics]
    ) -> dsl.ContainerSpec:
        del metrics
        return _container(image, [*words, "--plan", plan], run_id, html)

    return _named(component, name)


def _named(component: Callable[..., Any], name: str) -> Any:
    component.__name__ = task_name(name).replace("-", "_")
    component.__doc__ = None
    return dsl.container_component(component)


def _container(image: str, words: Sequence[Any], run_id: Any, html: Any) -> Any:
    run = ["--run-id", run_id]
    shown = ["--html", html.path, "--executor-input", EXECUTOR_INPUT]
    return dsl.ContainerSpec(image=image, command=list(ENTRYPOINT), args=[*words, *run, *shown])


def configure_task(task: Any, name: str, pod: Pod, section: Kubeflow, is_retried: bool) -> None:
    """Sets everything of a task but its command line.

    Args:
        task: KFP's task.
        name: Display name.
        pod: Settings of the task's pod.
        section: Settings of all pods.
        is_retried: Whether a retry can help.
    """
    task.set_display_name(name)
    # KFP's cache would skip the pod and leave TFX without an execution; TFX's own cache works.
    task.set_caching_options(False)
    _set_resources(task, pod)
    retries = pod.retries
    if is_retried and retries is not None and retries.count:
        task.set_retry(
            num_retries=retries.count,
            backoff_duration=f"{retries.backoff_s}s",
            backoff_factor=float(retries.factor),
            backoff_max_duration=f"{retries.max_s}s",
        )
    if section.env:
        # `set_env_variable` takes 0.1 s per call, because KFP 2.16 looks up its caller's source.
        task.container_spec.env = dict(section.env)
    for secret in section.secrets:
        if secret.path is not None:
            kubernetes.use_secret_as_volume(task, secret.name, secret.path)
        else:
            kubernetes.use_secret_as_env(task, secret.name, {secret.key: secret.env})
    for volume in section.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.path)
    for key, value in section.labels.items():
        kubernetes.add_pod_label(task, key, value)
    if section.pull_policy is not None:
        kubernetes.set_image_pull_policy(task, section.pull_policy)
    if section.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(section.pull_secrets))
    _place(task, pod)


def _set_resources(task: Any, pod: Pod) -> None:
    for request, quantity in (
        (task.set_cpu_limit, pod.cpu),
        (task.set_memory_limit, pod.memory),
        (task.set_cpu_request, pod.cpu_request),
        (task.set_memory_request, pod.memory_request),
    ):
        if quantity is not None:
            request(quantity)
    if pod.accelerator is not None:
        task.set_accelerator_type(pod.accelerator.type)
        task.set_accelerator_limit(pod.accelerator.count)


def _place(task: Any, pod: Pod) -> None:
    for key, value in (pod.node_selector or {}).items():
        kubernetes.add_node_selector(task, key, value)
    for taint in pod.tolerations or ():
        kubernetes.add_toleration(
            task,
            key=taint.key,
            operator=taint.operator,
            value=taint.value,
            effect=taint.effect,
            toleration_seconds=taint.seconds,
        )
    if pod.timeout_s is not None:
        kubernetes.set_timeout(task, pod.timeout_s)
