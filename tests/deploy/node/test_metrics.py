"""The metrics as Prometheus reads them, and the health check."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from medprior.deploy.node.metrics import MetricsServer, NodeMetrics


@pytest.fixture
def served():
    state = {"status": "alive", "queue": {"incoming": 2}}
    metrics = NodeMetrics(lambda: {"incoming": 2, "outgoing": 5})
    server = MetricsServer("127.0.0.1", 0, metrics, lambda: state)
    server.start()
    yield metrics, state, f"http://127.0.0.1:{server.port}"
    server.close()


def test_prometheus_reads_the_metrics(served):
    metrics, _, url = served
    metrics.read.labels("ok").inc(3)
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples[("medprior_node_queue", "incoming")] == 2
    assert samples[("medprior_node_queue", "outgoing")] == 5
    assert samples[("medprior_node_read_total", "ok")] == 3


def test_the_health_is_unhealthy_where_a_part_stopped(served):
    _, state, url = served
    assert httpx.get(f"{url}/health").json() == state
    state["status"] = "stopped: sending"
    assert httpx.get(f"{url}/health").status_code == 503


def test_other_requests_are_refused(served):
    assert httpx.get(f"{served[2]}/else").status_code == 404
    assert httpx.post(f"{served[2]}/metrics").status_code == 405
