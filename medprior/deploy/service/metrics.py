"""Counters of the service, for `/metrics` (Prometheus)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import Counter, Gauge, Histogram

from medprior.deploy.node.metrics import SECONDS_BUCKETS, DeliveryMetrics


class ServiceMetrics(DeliveryMetrics):
    """The service's counters; their labels are codes and kinds of objects, nothing of a patient.

    Args:
        count_files: counts the files in the queue of objects by folder; nothing where none are sent.
    """

    def __init__(self, count_files: Callable[[], Mapping[str, int]] = dict) -> None:
        super().__init__("medprior_service", count_files)
        self.answers = Counter(
            "medprior_service_answers", "Radiographs answered, or the code of their refusal", ["code"],
            registry=self.registry,
        )  # fmt: skip
        self.answer_seconds = Histogram(
            "medprior_service_answer_seconds", "From start of reading to the answer", buckets=SECONDS_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.pending = Gauge("medprior_service_pending", "Radiographs in work or waiting", registry=self.registry)
