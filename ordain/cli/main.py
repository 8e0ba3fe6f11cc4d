"""`ordain`: the command line's entry point.

A command's module is imported when it is called, which keeps `--help` fast. Errors of the user are
printed as a headline and the next step; a bug keeps its traceback.
"""

from __future__ import annotations

import importlib
import sys

import click

from ordain.errors import ExitCode, OrdainError
from ordain.upstream.tensorflow_import import quiet_tensorflow

#: Command name -> its module and attribute, and its line in `--help`.
COMMANDS = {
    "plan": ("ordain.cli.plan:plan", "Check a project without running it, and show its nodes."),
    "run": ("ordain.cli.run:run", "Run a project's pipeline on this machine."),
    "retrain": ("ordain.cli.retrain:retrain", "Check whether a retrain is due, and run it if so."),
    "schedule": (
        "ordain.cli.schedule:schedule",
        "Retrain on a schedule or when the data changes; show the status.",
    ),
    "runs": (
        "ordain.cli.runs:runs",
        "List past runs; show one, its lineage, its logs; compare two.",
    ),
    "compile": (
        "ordain.cli.kubeflow.compile:compile_",
        "Compile a project for Kubeflow Pipelines or Vertex AI.",
    ),
    "submit": (
        "ordain.cli.kubeflow.submit:submit",
        "Compile a project, upload it to Kubeflow Pipelines and start a run.",
    ),
    "cluster": (
        "ordain.cli.kubeflow.cluster:cluster",
        "See, cancel and schedule runs on a Kubeflow Pipelines server.",
    ),
    "report": (
        "ordain.cli.report:report",
        "Print the path of a run's report; write it if missing.",
    ),
    "dashboard": (
        "ordain.cli.dashboard:dashboard",
        "Show all runs of one or several projects in the browser.",
    ),
    "tensorboard": (
        "ordain.cli.tensorboard:tensorboard",
        "Start TensorBoard on the training logs of a project's runs.",
    ),
    "models": (
        "ordain.cli.models:models",
        "List, compare, label and roll back published versions.",
    ),
    "serve": ("ordain.cli.serve:serve", "Serve a project's published model over REST and gRPC."),
    "predict": ("ordain.cli.predict:predict", "Score rows with a project's published model."),
    "schema": ("ordain.cli.schema:schema", "Freeze, compare and accept a project's schema."),
    "simulate": (
        "ordain.cli.kubeflow.simulate:simulate",
        "Run a compiled pipeline on this machine, without Kubernetes.",
    ),
    "gc": ("ordain.cli.gc:gc", "Remove artifacts and folders of old runs."),
    "doctor": ("ordain.cli.doctor:doctor", "Check this machine and installation."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in order of use."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101  a wrong table above is a bug
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ordain")
def cli() -> None:
    """Run TFX pipelines that publish only models that passed every gate.

    PROJECT is a folder with pipeline.yaml and model.py, such as examples/flights.

    \b
    Examples:
      ordain plan examples/flights
      ordain run examples/flights
      ordain runs list examples/flights

    Exit codes: 0 success, 1 a node failed, 2 configuration or usage error, 3 data blocked,
    4 model not blessed, 5 publishing or infrastructure error.
    """


def main() -> None:
    """Run the command line and exit with the documented code."""
    quiet_tensorflow()
    try:
        # Without standalone mode click returns the code passed to `ctx.exit`.
        code = cli(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else int(ExitCode.DONE))
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(int(ExitCode.CONFIG))
    except OrdainError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  next: {error.hint}", err=True)
        sys.exit(int(error.exit_code))


if __name__ == "__main__":
    main()
