from __future__ import annotations

import json

import pytest

from memrepo import JobTimeoutError, MemoryRepoBusyError, MemoryRepos, ResultExpiredError, Settings
from memrepo.dispatch.lost.resend import PAUSE_GROWTH_MAX, RESENDS_MAX, Resends
from memrepo.dispatch.session import Connections
from memrepo.routing import route
from memrepo.wire.keys import LEASES_KEY, REFUSED_KEY, unacked_key
from tests.producer.stand_in import SHA, StandIn, claim
from tests.support.valkey import Valkey
from tests.support.waiting import wait_for

QUEUE = route("acme", "agent-1")


def settings(broker: Valkey, **values: float) -> Settings:
    """Return settings of a client that looks soon, on a broker whose queue a worker serves, as it seems."""
    claim(broker, QUEUE)
    return Settings(
        broker.url,
        broker.url,
        **{"resend_after_s": 0.2, "poll_interval_s": 0.05, **values},  # type: ignore[arg-type]
    )


def test_a_request_that_the_broker_lost_is_sent_again_under_its_id(broker: Valkey) -> None:
    with MemoryRepos(settings=settings(broker)) as repos:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        broker.client().delete(QUEUE)

        with StandIn(broker) as worker:
            assert job.result(timeout_s=30) == SHA
    assert [taken.id for taken in worker.taken] == [job.id]


def test_a_lost_request_is_sent_again_however_often_the_broker_was_too_full_for_it(broker: Valkey) -> None:
    bounds = settings(broker, resend_after_s=0.05, shard_depth_max=1)
    with MemoryRepos(settings=bounds) as repos, broker.client() as client:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        client.lset(QUEUE, 0, "another client's")

        wait_for(
            lambda: int(client.hget(REFUSED_KEY, "shard_depth_max") or 0) > RESENDS_MAX,
            "more tries than it may be sent",
        )
        client.delete(QUEUE)

        wait_for(lambda: job.id in (client.lindex(QUEUE, 0) or ""), "the lost one")
        job.pending.look_at()


def test_only_the_lost_ones_of_many_are_sent_again(broker: Valkey) -> None:
    with MemoryRepos(settings=settings(broker)) as repos, broker.client() as client:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        jobs = [repo.commit({"n": str(number) * 10_000}, "m") for number in range(120)]
        with client.pipeline(transaction=True) as at_once:
            for number in (0, 60, 119):  # LPUSH puts the last one first
                at_once.lset(QUEUE, 119 - number, "lost")
            at_once.lrem(QUEUE, 0, "lost")
            at_once.execute()

        wait_for(lambda: client.llen(QUEUE) == 120, "the lost ones to be back")
    with StandIn(broker, lambda _: None) as worker:
        taken = [one.id for one in worker.wait_taken(120)]
    kept = [job.id for number, job in enumerate(jobs) if number not in (0, 60, 119)]
    assert taken[:117] == kept
    assert set(taken[117:]) == {jobs[0].id, jobs[60].id, jobs[119].id}


@pytest.mark.parametrize("where", ["queue", "a worker's hands"])
def test_a_request_that_is_somewhere_is_not_sent_again(where: str, broker: Valkey) -> None:
    with MemoryRepos(settings=settings(broker)) as repos, broker.client() as client:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        job = repo.get_head_sha()
        if where != "queue":
            message = client.rpop(QUEUE)
        if where == "a worker's hands":
            client.hset(unacked_key(QUEUE), "1", message)
            client.set(f"celery-task-meta-{job.id}", json.dumps({"task_id": job.id, "status": "STARTED"}))

        other = repos.repo(
            org_id="acme", agent_id="agent-1"
        ).get_head_sha()  # lost, to show that looks are made
        client.lrem(QUEUE, 1, client.lindex(QUEUE, 0))
        wait_for(lambda: client.lindex(QUEUE, 0) and other.id in client.lindex(QUEUE, 0), "the lost one")

        assert client.llen(QUEUE) == (2 if where == "queue" else 1)


@pytest.mark.parametrize("state", ["STARTED", "RETRY", "RECEIVED"])
def test_a_request_that_a_worker_has_begun_and_nobody_holds_is_sent_again(state: str, broker: Valkey) -> None:
    with MemoryRepos(settings=settings(broker)) as repos, broker.client() as client:
        job = repos.repo(org_id="acme", agent_id="agent-1").commit({"a.md": "x"}, "m")
        client.set(f"celery-task-meta-{job.id}", json.dumps({"task_id": job.id, "status": state}))
        client.delete(QUEUE)  # as a failover does that loses the message, and not the record

        wait_for(lambda: client.llen(QUEUE) == 1, "the lost one")
        assert job.id in (client.lindex(QUEUE, 0) or "")
        job.pending.look_at()


def test_nothing_is_looked_for_while_nobody_serves_the_queue(broker: Valkey) -> None:
    with MemoryRepos(settings=settings(broker, resend_after_s=0.05)) as repos, broker.client() as client:
        client.delete(LEASES_KEY)
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        client.delete(QUEUE)

        def calls(command: str) -> int:
            found = client.info("commandstats").get(f"cmdstat_{command}")
            return int(found["calls"]) if found else 0

        scripts, looks = calls("evalsha"), calls("mget")
        wait_for(lambda: calls("mget") > looks + 10, "ten polls")
        assert (calls("evalsha"), client.llen(QUEUE)) == (scripts, 0)

        claim(broker, QUEUE)
        wait_for(lambda: client.llen(QUEUE) == 1, "the lost one")
        job.pending.look_at()


def test_what_a_server_loses_that_begins_anew_is_looked_for_soon_however_long_it_has_waited(
    broker: Valkey,
) -> None:
    with MemoryRepos(settings=settings(broker, resend_after_s=0.1)) as repos, broker.client() as client:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        (tracked,) = (one for some in resends_of(repos)._tracked.values() for one in some.values())
        wait_for(lambda: tracked.pause_s > 0.1, "it to be looked for, and found")
        assert tracked.pause_s <= 0.1 * PAUSE_GROWTH_MAX
        tracked.pause_s = 3600.0

        broker.cut_connections("pubsub")
        wait_for(lambda: tracked.pause_s < 3600, "the connection to be made anew")
        client.delete(QUEUE)
        wait_for(lambda: client.llen(QUEUE), "the lost one")
        job.pending.look_at()


def resends_of(repos: MemoryRepos) -> Resends:
    connections = repos._dispatcher._connections  # type: ignore[attr-defined]
    assert isinstance(connections, Connections)
    return connections.resends


def test_a_request_is_sent_again_three_times_at_most_and_then_expires(broker: Valkey) -> None:
    sent = []
    quick = settings(broker, resend_after_s=0.02, poll_interval_s=0.02, result_expires_s=1)
    with MemoryRepos(settings=quick) as repos, broker.client() as client:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()

        def lose_it() -> bool:
            lost = client.rpop(QUEUE)
            sent.extend([lost] if lost else [])
            return job.done()

        wait_for(lose_it, "the job to be given up")

        with pytest.raises(ResultExpiredError, match=f'repo.find_request\\("{job.id}"\\) tells'):
            job.result(timeout_s=0)
    assert len(sent) == 1 + 3


def test_a_job_that_expired_names_the_request_id_that_its_caller_chose(broker: Valkey) -> None:
    quick = settings(broker, resend_after_s=0.02, poll_interval_s=0.02, result_expires_s=1)
    with MemoryRepos(settings=quick) as repos, broker.client() as client:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        job = repo.commit({"a": "x"}, "m", request_id="my-own-id-1")

        def lose_it() -> bool:
            client.delete(QUEUE)
            return job.done()

        wait_for(lose_it, "the job to be given up")

        with pytest.raises(ResultExpiredError, match=r'repo\.find_request\("my-own-id-1"\) tells') as told:
            job.result(timeout_s=0)
    assert told.value.details == {"job_id": job.id, "request_id": "my-own-id-1"}


def test_a_request_that_was_refused_is_not_sent_later(broker: Valkey) -> None:
    with MemoryRepos(settings=settings(broker, shard_depth_max=1)) as repos, broker.client() as client:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        kept = repo.get_head_sha()
        with pytest.raises(MemoryRepoBusyError):
            repo.get_head_sha()
        client.delete(QUEUE)  # now there is room: the one that was taken comes back, the refused one does not

        wait_for(lambda: client.llen(QUEUE), "the lost one")
        assert kept.id in client.lindex(QUEUE, 0)
        assert client.llen(QUEUE) == 1


def test_nothing_is_sent_again_when_that_is_turned_off(broker: Valkey) -> None:
    with MemoryRepos(settings=settings(broker, resend_after_s=0)) as repos, broker.client() as client:
        repo = repos.repo(org_id="acme", agent_id="agent-1")
        job = repo.get_head_sha()
        client.delete(QUEUE)
        with MemoryRepos(settings=settings(broker)) as other:  # one that does, to know how long it takes
            lost = other.repo(org_id="acme", agent_id="agent-1").get_head_sha()
            client.delete(QUEUE)
            wait_for(lambda: client.llen(QUEUE), "the other client's request")

        assert lost.id in client.lindex(QUEUE, 0)
        assert client.llen(QUEUE) == 1
        assert job.status() == "queued"


def test_a_job_of_which_nothing_is_known_expires(broker: Valkey) -> None:
    quick = settings(broker, result_expires_s=1)
    with MemoryRepos(settings=quick) as repos:
        job = repos.job("0b0f1c6e-7a3c-4c63-8f0a-0d8f1f7f7f7f")
        assert job.status() == "unknown"

        with pytest.raises(
            ResultExpiredError, match=r"find_request\(.*\) \(or the request id that you chose\)"
        ):
            job.result(timeout_s=30)
        assert job.status() == "unknown"


def test_a_job_found_by_its_id_is_only_read_and_asking_again_with_its_request_id_takes_its_place(
    broker: Valkey,
) -> None:
    names = {"org_id": "acme", "agent_id": "agent-1"}
    with MemoryRepos(settings=settings(broker)) as sender:
        sent = sender.repo(**names).commit({"a": "x"}, "m", request_id="my-own-id-1")
        sent.pending.look_at()
    with MemoryRepos(settings=settings(broker)) as repos, broker.client() as client:
        client.delete(QUEUE)  # and its sender has ended
        found = repos.job(sent.id)
        with pytest.raises(JobTimeoutError):
            found.result(timeout_s=0.01)
        own = repos.repo(**names).get_head_sha()
        client.delete(QUEUE)
        wait_for(lambda: client.llen(QUEUE), "its own to be sent again, to show that looks are made")
        assert own.id in (client.lindex(QUEUE, 0) or "")
        assert (client.llen(QUEUE), found.status()) == (1, "unknown")

        again = repos.repo(**names).commit({"a": "x"}, "m", request_id="my-own-id-1")
        assert again.id != sent.id, "a job of its own; the ledger knows the request"
        assert client.llen(QUEUE) == 2
        again.pending.look_at()
        own.pending.look_at()


def test_a_job_whose_record_the_store_lost_is_queued_again(broker: Valkey) -> None:
    with MemoryRepos(settings=settings(broker)) as repos, broker.client() as client:
        job = repos.repo(org_id="acme", agent_id="agent-1").get_head_sha()
        message = client.rpop(QUEUE)
        assert message
        with StandIn(broker) as worker:
            worker.store(job.id, "STARTED")
            assert job.status() == "running"
            client.delete(f"celery-task-meta-{job.id}")

            assert job.result(timeout_s=30) == SHA
