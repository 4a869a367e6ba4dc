"""Commands about the client itself: ``job``, ``config``."""

from __future__ import annotations

import click

from memrepo.commands.common import client, json_option, outcome_of, timeout_option
from memrepo.commands.show import show_json, to_json
from memrepo.settings import Settings, shown


@click.command()
@click.argument("job_id")
@click.option("--wait", is_flag=True, help="Wait for the result.")
@click.option("--cancel", is_flag=True, help="Ask that it not be started.")
@timeout_option
@json_option
def job(job_id: str, wait: bool, cancel: bool, timeout_s: float, as_json: bool) -> None:
    """Print a job's status and, once it is done, its result; a failed job gives its error and exit code."""
    with client() as repos:
        found = repos.job(job_id)
        if cancel:
            found.cancel()
        status = found.status()
        if not wait and not found.done():
            show_json({"id": job_id, "status": status}) if as_json else click.echo(status)
            return
        result = outcome_of(found, timeout_s)
    if as_json:
        show_json({"id": job_id, "status": "done", "result": to_json(result)})
    else:
        click.echo("done")
        show_json(result)


@click.command()
@json_option
def config(as_json: bool) -> None:
    """Print the settings as the environment gives them, secrets masked."""
    values = shown(Settings.from_env())
    if as_json:
        show_json(values)
        return
    for name, value in values.items():
        click.echo(f"{name}={value}")
