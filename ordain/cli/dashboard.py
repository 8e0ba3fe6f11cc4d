"""`ordain dashboard`: web pages with all runs of one or several projects."""

from __future__ import annotations

import asyncio
import os

import click

from ordain.cli.options import log_to_stderr, open_in_browser, port_option
from ordain.config.loading import load_project
from ordain.errors import ConfigError

#: Not one of the model server's, 8500 and 8501.
DEFAULT_PORT = 8600


@click.command()
@click.argument("projects", metavar="PROJECT...", nargs=-1, required=True)
@click.option(
    "--env", metavar="NAME", help="Apply pipeline.NAME.yaml of each project over its pipeline.yaml."
)
@port_option(default=DEFAULT_PORT)
@click.option(
    "--allow-actions",
    is_flag=True,
    help="Allow users with the token in ORDAIN_DASHBOARD_TOKEN to promote, roll back and label.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in the browser.")
def dashboard(
    projects: tuple[str, ...], env: str | None, port: int, allow_actions: bool, is_opened: bool
) -> None:
    """Show all runs of one or several projects in the browser.

    The pages show runs with verdicts, live during a run; metrics of blessed models and drift over
    time; versions and labels; retraining decisions; disk usage; reports and logs. The server
    listens on 127.0.0.1 only, and is read-only unless --allow-actions is given.

    \b
    Examples:
      ordain dashboard examples/flights --open
      ordain dashboard examples/flights ../churn --port 8700
      ordain dashboard examples/flights --allow-actions
    """
    loaded = [load_project(project, env) for project in projects]
    from ordain.dashboard.app import serve_forever  # noqa: PLC0415  after the arguments are right
    from ordain.dashboard.security import TOKEN_VARIABLE  # noqa: PLC0415

    token = os.environ.get(TOKEN_VARIABLE, "") if allow_actions else ""
    if allow_actions and not token:
        raise ConfigError(
            f"--allow-actions needs a token, and {TOKEN_VARIABLE} is not set",
            f'export {TOKEN_VARIABLE}="$(openssl rand -hex 16)"',
        )
    log_to_stderr()

    def announce(address: str) -> None:
        click.echo(f"dashboard  {address}  (Ctrl-C stops it)")
        if is_opened:
            open_in_browser(address)

    asyncio.run(serve_forever(loaded, port, token, announce))
