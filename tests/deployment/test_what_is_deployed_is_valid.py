"""The files for Kubernetes, Prometheus and Docker, as the tools that read them judge them."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from memrepo import MemoryRepos, RepoExistsError
from memrepo_worker.cli.doctor import doctor
from memrepo_worker.cli.worker import worker
from memrepo_worker.settings import WorkerSettings, shown
from tests.deployment.tools import debians, pythons
from tests.documents.test_the_dashboard_asks_for_what_is_there import alert_queries, dashboard_queries
from tests.fresh.debian.machine import run
from tests.support.documents import ROOT
from tests.support.ports import LOOPBACK, free_ports
from tests.support.started import started
from tests.support.systems import running_worker
from tests.support.valkey import valkey
from tests.support.waiting import wait_for

MANIFESTS = ROOT / "docs/deploying/kubernetes.yaml"
KEDA = "keda.sh/"
"""Its kinds are its own: no schema of Kubernetes knows them."""


def manifests() -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all(MANIFESTS.read_text())


def pods() -> list[dict[str, Any]]:
    return [
        manifest["spec"]["template"]["spec"]
        for manifest in manifests()
        if "template" in manifest.get("spec", {})
    ]


def test_the_dockerfile_pleases_hadolint() -> None:
    assert run(pythons("hadolint"), str(ROOT / "Dockerfile")) == ""


def test_kubernetes_takes_every_manifest() -> None:
    # It says all on standard error, and with which exit code it agrees.
    said = run("/bin/sh", "-c", f'"{pythons("kubernetes-validate")}" --strict "{MANIFESTS}" 2>&1')

    passed = re.findall(r"passed for resource (\S+)", said)
    expected = [manifest for manifest in manifests() if not manifest["apiVersion"].startswith(KEDA)]
    assert passed == [f"{manifest['kind']}/{manifest['metadata']['name']}".lower() for manifest in expected]


def test_no_container_has_rights_that_it_does_not_need() -> None:
    assert len(pods()) == 2
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_what_the_manifests_say_to_memrepo_is_there() -> None:
    (serving,) = [
        container for pod in pods() for container in pod["containers"] if container["name"] == "worker"
    ]
    settings = shown(WorkerSettings(store_url="file:///store"))
    named = {
        *(variable["name"] for variable in serving["env"]),
        *(
            name
            for manifest in manifests()
            for name in {**manifest.get("data", {}), **manifest.get("stringData", {})}
        ),
    }
    assert named <= set(settings)
    memrepo, command, *options = serving["args"]
    assert (memrepo, command) == ("memrepo", "worker")
    assert worker.make_context("worker", list(options)).params["processes"] == 2
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        memrepo, command, *options = serving[probe]["exec"]["command"]
        assert (memrepo, command) == ("memrepo", "doctor")
        doctor.make_context("doctor", list(options))


def test_a_pod_has_time_to_hand_over_before_it_is_killed() -> None:
    (serving,) = [pod for pod in pods() if pod["containers"][0]["name"] == "worker"]
    assert serving["terminationGracePeriodSeconds"] >= WorkerSettings.soft_shutdown_timeout_s + 30


def test_promtool_takes_the_alerts() -> None:
    said = run(debians("promtool", "prometheus"), "check", "rules", str(ROOT / "docs/monitoring/alerts.yml"))
    assert "SUCCESS" in said


def test_pods_are_not_taken_away_while_nothing_is_known_of_the_queues() -> None:
    (scaled,) = [manifest["spec"] for manifest in manifests() if manifest["apiVersion"].startswith(KEDA)]
    (trigger,) = scaled["triggers"]

    assert trigger["metadata"]["ignoreNullValues"] == "false"


@dataclass(frozen=True)
class Scraped:
    """What Prometheus reads every 15 s, in promtool's words (`_` is nothing), and what fires then, by its labels."""

    series: Mapping[str, str]
    at: str
    fires: Sequence[str] = ()


FIRED = 'ALERTS{alertstate="firing",'
DAMAGE = 'memrepo_requests_total{operation="commit",outcome="failed",error="MemoryDamagedError"}'
ALERTED = {
    "the first damage that is told": Scraped(
        {DAMAGE: "_x20 1x40"},
        "7m",
        [f'{FIRED}alertname="MemrepoDamageOrFault",severity="page",error="MemoryDamagedError"}}'],
    ),
    "damage that was told long ago": Scraped({DAMAGE: "_x20 1x40"}, "14m"),
    "the first look of a fleet's first worker": Scraped(
        {'memrepo_shards_without_owner{instance="a"}': "_x20 64 0x20"}, "5m"
    ),
    "a worker that begins while shards are taken over": Scraped(
        {
            'memrepo_shards_without_owner{instance="a"}': "0x20 16 0x20",
            'memrepo_shards_without_owner{instance="b"}': "_x20 16 0x20",
        },
        "5m",
    ),
    "shards that nobody owns, of which all workers tell": Scraped(
        {
            'memrepo_shards_without_owner{cell="a",instance="1"}': "0x20 16x20",
            'memrepo_shards_without_owner{cell="a",instance="2"}': "0x20 16x20",
            'memrepo_shards_without_owner{cell="b",instance="3"}': "0x41",
        },
        "8m",
        [f'{FIRED}alertname="MemrepoShardsWithoutOwner",severity="page",cell="a"}}'],
    ),
    "the workers of one cell": Scraped(
        {'memrepo_broker_up{cell="a"}': "1x60", 'memrepo_broker_up{cell="b"}': "1x20 stale"},
        "10m",
        [f'{FIRED}alertname="MemrepoWorkersGone",severity="page",cell="b"}}'],
    ),
    "all workers": Scraped(
        {"memrepo_broker_up": "1x20 stale"},
        "10m",
        [f'{FIRED}alertname="MemrepoWorkersGone",severity="page"}}'],
    ),
    "one process of two": Scraped(
        {'memrepo_processes{instance="a"}': "2x60", 'memrepo_processes_up{instance="a"}': "2x20 1x40"},
        "12m",
        [f'{FIRED}alertname="MemrepoProcessesDown",severity="ticket",instance="a"}}'],
    ),
}


@pytest.mark.parametrize("what", ALERTED)
def test_an_alert_fires_for_what_it_is_there_for_and_for_nothing_else(tmp_path: Path, what: str) -> None:
    scraped = ALERTED[what]
    up = {} if any("broker_up" in name for name in scraped.series) else {"memrepo_broker_up": "1x60"}
    test = {
        "rule_files": [str(ROOT / "docs/monitoring/alerts.yml")],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [
                    {"series": name, "values": values} for name, values in {**up, **scraped.series}.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": 'ALERTS{alertstate="firing"}',
                        "eval_time": scraped.at,
                        "exp_samples": [{"labels": labels, "value": 1} for labels in scraped.fires],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))

    assert "SUCCESS" in run(debians("promtool", "prometheus"), "test", "rules", str(tmp_path / "test.yml"))


def test_prometheus_answers_every_query_of_the_dashboard_and_the_alerts_from_a_workers_page(
    tmp_path: Path,
) -> None:
    metrics, port = free_ports(2)
    config = {
        "global": {"scrape_interval": "1s"},  # one that takes longer leaves the gauges without a value
        "scrape_configs": [
            {"job_name": "memrepo", "static_configs": [{"targets": [f"{LOOPBACK}:{metrics}"]}]}
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        *(debians("prometheus", "prometheus"), f"--config.file={tmp_path / 'prometheus.yml'}"),
        *(f"--storage.tsdb.path={tmp_path / 'metrics'}", f"--web.listen-address={LOOPBACK}:{port}"),
    ]

    def ask(query: str) -> list[dict[str, Any]]:
        """Return what Prometheus answers; a query that it does not understand is an error."""
        text = query.replace("$__rate_interval", "1m").replace("$job", ".*")
        url = f"http://{LOOPBACK}:{port}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return list(told["data"]["result"])

    def is_up() -> bool:
        try:
            return bool(ask('count_over_time(memrepo_broker_up{job="memrepo"}[1m]) > 3'))
        except OSError:
            return False

    with (
        valkey(tmp_path / "valkey") as broker,
        running_worker(
            tmp_path / "worker",
            broker,
            (tmp_path / "store").as_uri(),
            env={"MEMREPO_METRICS_PORT": str(metrics)},
        ),
        MemoryRepos(broker_url=broker.database(0)) as repos,
    ):
        memory = repos.repo(org_id="acme", agent_id="agent-42")
        assert memory.create_repo({"human.md": "likes tea\n"}).result(timeout_s=60).created
        with pytest.raises(RepoExistsError):
            memory.create_repo().result(timeout_s=60)
        with started(command, folder=tmp_path, ready=lambda: True):
            wait_for(is_up, "Prometheus to have scraped the page", timeout_s=60)
            for query in dashboard_queries():
                if _counts_what_did_not_happen(query):  # what did not happen here has no series
                    assert not ask(query), query
                else:
                    wait_for(partial(ask, query), f"an answer to {query}", timeout_s=60)
            assert not any(ask(query) for query in alert_queries()), "nothing is wrong"


def _counts_what_did_not_happen(query: str) -> bool:
    return any(name in query for name in ("bounds_hit", 'outcome="cancelled"'))
