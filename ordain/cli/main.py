"""`ordain`: the command line's entry point.

Command groups are imported when they are called, so that `--help` answers at once. Errors a
user caused are a headline and what to do next; a bug keeps its traceback.
"""

from __future__ import annotations

import importlib
import sys

import click

from ordain.cli.quiet import quiet_tensorflow
from ordain.errors import ExitCode, OrdainError

#: Command name -> module and attribute that hold it, and its line in `--help`.
COMMANDS = {
    "plan": ("ordain.cli.plan:plan", "Check a project without running it, and draw its chain."),
    "run": ("ordain.cli.run:run", "Run a project's chain on this machine."),
    "retrain": ("ordain.cli.retrain:retrain", "Run a project's chain if there is a reason to."),
    "schedule": (
        "ordain.cli.schedule:schedule",
        "Run a project by the clock, or when its data changes; show how that stands.",
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
        "Print where the page of a run is; write it if there is none.",
    ),
    "dashboard": (
        "ordain.cli.dashboard:dashboard",
        "Show all runs of one or several projects in the browser.",
    ),
    "tensorboard": (
        "ordain.cli.tensorboard:tensorboard",
        "Start TensorBoard on the training logs of a project's runs.",
    ),
    "models": ("ordain.cli.models:models", "List, compare, label, roll back published versions."),
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
    """A group that knows its commands' names and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order a project meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the module of a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101  a wrong table above is a bug
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands from the table, importing none of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ordain")
def cli() -> None:
    """Raw data in, a model that passed every gate out.

    PROJECT is a folder that holds pipeline.yaml and model.py, such as examples/flights.

    \b
    Examples:
      ordain plan examples/flights
      ordain run examples/flights
      ordain runs list examples/flights

    Exit codes: 0 done, 1 a node failed, 2 configuration or usage, 3 data blocked,
    4 model not blessed, 5 publishing or infrastructure.
    """


def main() -> None:
    """Runs the command line and exits with the documented code."""
    quiet_tensorflow()
    try:
        # Without standalone mode click returns the code that `ctx.exit` was given.
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
