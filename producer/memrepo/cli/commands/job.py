"""Commands about the client itself: ``job``, ``config``."""

from __future__ import annotations

import click

from memrepo.cli.common import client, json_option, outcome_of, repo_of, say_where_from, timeout_option
from memrepo.cli.ending import CONFLICT, CommandError
from memrepo.cli.output import show_json, show_outcome, to_json
from memrepo.cli.up_state import completed
from memrepo.errors import ResultExpiredError
from memrepo.jobs.state import JobState
from memrepo.models import RequestOutcome
from memrepo.settings import Settings, environment, shown


@click.command()
@click.argument("job_id")
@click.option("--wait", is_flag=True, help="Wait for the result.")
@click.option("--cancel", is_flag=True, help="Ask that it not be started.")
@click.option(
    "--of",
    nargs=2,
    metavar="ORG AGENT",
    help="When there is no result, ask what became of the request of that id at this agent.",
)
@timeout_option
@json_option
def job(
    job_id: str, wait: bool, cancel: bool, of: tuple[str, str] | None, timeout_s: float, as_json: bool
) -> None:
    """Print how far a job is and, once it is done, its result; a failed job gives its error and exit code.

    JOB_ID is what --no-wait printed, and what a time-out and Ctrl+C name.
    """
    if cancel and (wait or of):
        raise click.UsageError("--cancel does not wait nor ask: give it alone. Nothing was done.")
    with client() as repos:
        found = repos.job(job_id)
        if cancel:
            found.cancel()
        state = found.describe()
        if cancel:
            _show_cancelled(job_id, state, as_json)
            return
        if of and state.status == "unknown":
            outcome = outcome_of(repo_of(repos, *of).find_request(job_id), timeout_s)
            state = found.describe()  # if it was queued still, this question came after it
            if state.status == "unknown":
                _print_outcome(job_id, outcome, as_json)
                return
        if not wait and not found.done():
            if state.status == "unknown":
                raise _unknown(job_id)
            show_json(_state_json(job_id, state)) if as_json else click.echo(str(state))
            return
        result = outcome_of(found, timeout_s)
        state = found.describe()
    if as_json:
        show_json({**_state_json(job_id, state), "result": to_json(result)})
    else:
        click.echo("done")
        show_json(result)


def _show_cancelled(job_id: str, state: JobState, as_json: bool) -> None:
    """Print that a job was cancelled; that it was not, as a worker had begun it or it has ended, is a conflict."""
    values = _state_json(job_id, state)
    if state.status != "cancelled":
        raise CommandError("TooLateError", f"Too late to cancel job {job_id}: {state}.", CONFLICT, values)
    show_json(values) if as_json else click.echo(str(state))


def _state_json(job_id: str, state: JobState) -> dict[str, object]:
    """Return a job's state for programs."""
    since = None if state.since is None else state.since.isoformat()
    return {
        "id": job_id,
        "status": state.status,
        "reason": state.reason,
        "since": since,
        "served": state.served,
    }


def _unknown(job_id: str) -> ResultExpiredError:
    return ResultExpiredError(
        f"There is no record of job {job_id}: it may wait in its queue for a worker, its result may have expired, or "
        f"it was never sent. `memrepo job {job_id} --wait` waits for it, `memrepo job {job_id} --of ORG AGENT` asks "
        "that agent's memory.",
        {"job_id": job_id, "status": "unknown"},
    )


def _print_outcome(request_id: str, outcome: RequestOutcome | None, as_json: bool) -> None:
    """Print what became of a request that has no result any more; a failed one gives its error."""
    if outcome is None:
        raise ResultExpiredError(
            f"There is no trace of request {request_id}: this agent settled none of that id within the last day, and "
            "no branch or tag has its commit.",
            {"request_id": request_id},
        )
    if outcome.error is not None:
        raise outcome.error
    if as_json:
        show_json({"id": request_id, "status": "unknown", "outcome": to_json(outcome)})
    else:
        show_outcome(outcome)


@click.command()
@json_option
def config(as_json: bool) -> None:
    """Print the settings, secrets masked: of the environment and, where it says nothing, of the `memrepo up` here."""
    env, found = completed(environment())
    say_where_from(found, as_json=as_json)
    values = shown(Settings.from_env(env))
    if as_json:
        show_json(values)
        return
    for name, value in values.items():
        click.echo(f"{name}={value}")
