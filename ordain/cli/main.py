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

#: Command -> its line in `--help`. The command is `NAME` or `NAME_` in the module of its name.
COMMANDS = {
    "plan": "Check a project without running it, and show its nodes.",
    "run": "Run a project's pipeline on this machine.",
    "retrain": "Check whether a retrain is due, and run it if so.",
    "schedule": "Retrain on a schedule or when the data changes; show the status.",
    "runs": "List past runs; show one, its lineage, its logs; compare two.",
    "compile": "Compile a project for Kubeflow Pipelines or Vertex AI.",
    "submit": "Compile a project, upload it to Kubeflow Pipelines and start a run.",
    "cluster": "List, cancel and schedule runs on a Kubeflow Pipelines server.",
    "report": "Print the path of a run's report; write it if missing.",
    "dashboard": "Show all runs of one or several projects in the browser.",
    "tensorboard": "Start TensorBoard on the training logs of a project's runs.",
    "models": "List, compare, label and roll back published versions.",
    "serve": "Serve a project's published model over REST and gRPC.",
    "predict": "Score rows with a project's published model.",
    "schema": "Freeze, compare and accept a project's schema.",
    "simulate": "Run a compiled pipeline on this machine, without Kubernetes.",
    "gc": "Remove artifacts and folders of old runs.",
    "doctor": "Check this machine and installation.",
}
_IN_KUBEFLOW = ("compile", "submit", "cluster", "simulate")


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
        room = "ordain.cli.kubeflow" if cmd_name in _IN_KUBEFLOW else "ordain.cli"
        module = importlib.import_module(f"{room}.{cmd_name}")
        # `compile_`, since `compile` is a builtin.
        command = getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_")
        assert isinstance(command, click.Command)  # noqa: S101  a wrong table above is a bug
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


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
        click.echo(f"error: {error}", err=True)
        sys.exit(int(error.exit_code))


if __name__ == "__main__":
    main()
