"""Delivery: what is refused is put aside, what fails is sent again and later each time."""

import threading
import time

import pytest

from medprior.deploy.node.delivery import QueueSender, compute_wait_seconds
from medprior.deploy.node.destinations import Delivery
from medprior.deploy.node.metrics import NodeMetrics
from medprior.deploy.node.settings import NodeSettings
from medprior.deploy.node.work_queue import WorkQueue

SETTINGS = NodeSettings(first_wait_seconds=0.01, longest_wait_seconds=0.05)


class Archive:
    """Answers by the content of an object: `later` fails twice, `no` is refused, `crash` breaks the sender."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.tries = 0

    def send(self, content: bytes) -> tuple[Delivery, str]:
        self.tries += 1
        if content == b"no":
            return Delivery.REFUSED, "a900"
        if content == b"later" and self.tries < 3:
            return Delivery.UNREACHABLE, "no_association"
        if content == b"crash" and self.tries < 3:
            raise RuntimeError("DOE^JANE")
        self.stored.append(content)
        return Delivery.SENT, "0000"


def deliver(folder, *contents: bytes) -> tuple[Archive, WorkQueue, NodeMetrics]:
    queue, archive, built = WorkQueue(folder), Archive(), threading.Event()
    metrics = NodeMetrics(queue.count_files)
    for content in contents:
        queue.add(b"picture")
        queue.finish(queue.take(), {"seg": content})
    sender = QueueSender(archive, queue, metrics, SETTINGS, built)
    sender.start()
    deadline = time.monotonic() + 20
    while queue.list_outgoing() and time.monotonic() < deadline:
        time.sleep(0.01)
    sender.close()
    return archive, queue, metrics


@pytest.mark.parametrize("fault", [b"later", b"crash"])
def test_a_failed_delivery_is_tried_again_and_keeps_the_order(fault, tmp_path, caplog):
    archive, queue, metrics = deliver(tmp_path, fault, b"next")
    assert archive.stored == [fault, b"next"]
    assert archive.tries == 4
    assert queue.count_files() == {"incoming": 0, "outgoing": 0, "failed": 0}
    assert b'outcome="unreachable"} 2.0' in metrics.format_text()
    assert "DOE" not in caplog.text


def test_what_the_archive_refuses_is_kept_and_the_next_goes_on(tmp_path):
    archive, queue, _ = deliver(tmp_path, b"no", b"next")
    assert archive.stored == [b"next"]
    assert queue.count_files() == {"incoming": 0, "outgoing": 0, "failed": 1}


def test_waits_double_up_to_a_limit():
    settings = NodeSettings(first_wait_seconds=1, longest_wait_seconds=60)
    for failures, longest in ((1, 1), (2, 2), (5, 16), (7, 60), (1000, 60)):
        waits = [compute_wait_seconds(failures, settings) for _ in range(50)]
        assert longest / 2 <= min(waits) <= max(waits) <= longest
