"""What the commands that write share: who writes, and whether they wait."""

from __future__ import annotations

from typing import Any

import click

from memrepo.cli.common import author_of, outcome_of
from memrepo.cli.ending import printing_of
from memrepo.cli.output import print_result, show_json
from memrepo.jobs.job import Job
from memrepo.models import DEFAULT_AUTHOR, CommitResult

author_option = click.option(
    "--author",
    type=author_of,
    metavar="'NAME <EMAIL>'",
    default=DEFAULT_AUTHOR,
    show_default="memrepo",
    help="Who writes it.",
)
on_conflict_option = click.option(
    "--on-conflict",
    type=click.Choice(["fail", "rebase", "merge"]),
    default="fail",
    show_default=True,
    help="What to do where the branch has moved on since --expected-head.",
)
no_wait_option = click.option(
    "--no-wait", is_flag=True, help="Print the job's id and leave; see memrepo job."
)


def settle(job: Job[CommitResult], no_wait: bool, timeout_s: float, as_json: bool) -> None:
    """Print the job's id, or wait for its result and print that."""
    if no_wait:
        was_sent(job, as_json)
        return
    print_result(outcome_of(job, timeout_s), as_json)


def was_sent(job: Job[Any], as_json: bool) -> None:
    """Print the job's id, for who does not wait."""
    job.pending.look_at()  # whoever is told its id looks after it
    with printing_of(f"The request was sent, as job {job.id}", job_id=job.id):
        show_json({"job_id": job.id}) if as_json else click.echo(job.id)
