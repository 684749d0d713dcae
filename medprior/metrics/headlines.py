"""The few numbers of a result that stand in a list of runs; all others stay in its `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping

MAX_METRICS = 20
HEADLINE_KEYS = (
    "classification.mauc", "classification.map", "classification.ece", "classification.sensitivity",
    "classification.specificity", "segmentation.dice.mean", "segmentation.iou.mean", "cardiothoracic.mae",
    "cardiothoracic.bias", "attention.pixel_ap.mean", "attention.iou60.mean", "attention.spatial_entropy",
    "finetuned_attention.pixel_ap.mean", "features.linear_mauc", "features.knn_mauc", "prior.pixel_ap.mean",
    "registered_prior.pixel_ap.mean", "localisation.rollout.pointing.mean", "data.images.evaluated",
    "data.patients.evaluated",
)  # fmt: skip


def select_headline_metrics(values: Mapping[str, float]) -> dict[str, float]:
    """The headline metrics of a result with many; all metrics of one with at most twenty.

    Args:
        values: key of `metrics.json`, or with `.lo` or `.hi` the end of its interval -> number.
    """
    results = [key for key in values if key.rpartition(".")[2] not in {"lo", "hi"}]
    if len(results) <= MAX_METRICS:
        return dict(values)
    return {key: values[key] for key in HEADLINE_KEYS if key in values}
