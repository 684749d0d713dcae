"""How well a classification model tells its findings: from its evidence, else from its validation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medprior.errors import InputMissing
from medprior.metrics.newcombe import compute_newcombe_auc_interval
from medprior.provenance import read_config, result_digest

CHANCE_AUC = 0.5
RECORD_DIGITS = 4
LOCATION_PREFIX = "localisation.class_rollout"


@dataclass(frozen=True)
class LocationEvidence:
    """How well the class roll-out of one finding says where it is.

    Attributes:
        threshold: share of a map's maximum from which on a pixel belongs to the finding, chosen on validation images.
        hit_rate: share of test images whose maximum lies in the finding (pointing game). hit_rate_ci95: its interval.
        images: number of these.
    """

    threshold: float
    hit_rate: float
    hit_rate_ci95: tuple[float, float]
    images: int

    def record(self) -> dict[str, Any]:
        """The evidence as JSON values."""
        interval = [round(bound, RECORD_DIGITS) for bound in self.hit_rate_ci95]
        return {
            "threshold": round(self.threshold, RECORD_DIGITS), "hit_rate": round(self.hit_rate, RECORD_DIGITS),
            "hit_rate_ci95": interval, "images": self.images,
        }  # fmt: skip


@dataclass(frozen=True)
class FindingEvidence:
    """The measured performance of one finding.

    Attributes:
        source: `test set` of `medprior evaluate`, or `validation` of the training, which chose the
            threshold and is therefore optimistic.
        auc: area under the ROC curve. auc_ci95: its 95 % interval.
        sensitivity, specificity: at the model's threshold, in [0, 1]; None if unknown.
        location: how well the model says where it is; None if unknown.
    """

    source: str
    auc: float
    auc_ci95: tuple[float, float]
    sensitivity: float | None = None
    specificity: float | None = None
    location: LocationEvidence | None = None

    @property
    def beats_chance(self) -> bool:
        """Whether the whole interval of the AUC lies above 0.5."""
        return self.auc_ci95[0] > CHANCE_AUC

    def record(self) -> dict[str, Any]:
        """The evidence as JSON values."""
        rates = {"sensitivity": self.sensitivity, "specificity": self.specificity}
        rounded = {name: None if rate is None else round(rate, RECORD_DIGITS) for name, rate in rates.items()}
        interval = [round(bound, RECORD_DIGITS) for bound in self.auc_ci95]
        location = {"location": self.location.record()} if self.location else {}
        measured = {"source": self.source, "auc": round(self.auc, RECORD_DIGITS), "auc_ci95": interval}
        return measured | rounded | location


def read_validation_evidence(config: Mapping[str, Any]) -> dict[str, FindingEvidence]:
    """Label -> evidence from the validation split, from a classifier's `config.json`.

    The interval follows from the AUC and the numbers of images (`compute_newcombe_auc_interval`).
    Labels without both classes in that split are left out.
    """
    validation, rates = config.get("validation"), config.get("operating_point")
    if not isinstance(validation, dict):
        return {}
    aucs = get_number_table(validation, "auc")
    positives, negatives = (get_number_table(validation, name) for name in ("positive", "negative"))
    sensitivities, specificities = (get_number_table(rates, name) for name in ("sensitivity", "specificity"))
    return {
        label: FindingEvidence(
            "validation",
            auc,
            compute_newcombe_auc_interval(auc, int(positives[label]), int(negatives[label])),
            sensitivities.get(label),
            specificities.get(label),
        )
        for label, auc in aucs.items()
        if 0 <= auc <= 1 and positives.get(label, 0) >= 1 and negatives.get(label, 0) >= 1
    }


def get_number_table(record: Any, name: str) -> dict[str, float]:
    """The finite numbers of the table `name` in a record; empty where there is none."""
    table = record.get(name) if isinstance(record, dict) else None
    entries = table.items() if isinstance(table, dict) else ()
    return {str(label): float(value) for label, value in entries if is_finite_number(value)}


def is_finite_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def load_model_metrics(folders: Mapping[str, Path], evidence: Path, with_locations: bool = False) -> dict[str, Any]:
    """`metrics.json` of an evidence folder, restricted to the tasks that it measured these models on.

    Args:
        folders: artifact name (`model`, `segmenter`) -> model folder.
        evidence: folder of `medprior evaluate`.
        with_locations: also those of the class roll-out of a classification model.

    Returns:
        Metric key -> entry with `value`, `ci95` and `n`.

    Raises:
        InputMissing: there is no evidence, or `model` is not its first model of the task.
    """
    config = read_config(evidence, "evaluate")
    inputs, primary = config.get("inputs") or {}, config.get("primary") or {}
    digests = {read_config(folder)["task"]: result_digest(folder) for folder in folders.values()}
    tasks = {task for task in digests if inputs.get(f"model.{primary.get(task)}") == digests[task]}
    if read_config(folders["model"])["task"] not in tasks:
        raise InputMissing(
            "the metrics belong to another model",
            where="--evidence",
            expected="this model as the first --model of its task",
            fix="run `medprior evaluate` with it",
        )
    metrics = json.loads((evidence / "metrics.json").read_text(encoding="utf-8"))
    prefixes = [f"{task}." for task in tasks]
    prefixes += [f"{LOCATION_PREFIX}."] if with_locations and "classification" in tasks else []
    return {name: entry for name, entry in metrics.items() if name.startswith(tuple(prefixes))}


def read_test_evidence(metrics: Mapping[str, Any]) -> dict[str, FindingEvidence]:
    """Label -> evidence from the metrics of `medprior evaluate`; labels without an AUC are left out."""
    entries = {name: entry for name, entry in metrics.items() if isinstance(entry, dict)}
    values = {name: float(entry["value"]) for name, entry in entries.items() if is_finite_number(entry.get("value"))}
    findings = {}
    for name, auc in values.items():
        label, interval = name.removeprefix("classification.auc."), parse_interval(entries[name])
        if label == name or interval is None:
            continue
        sensitivity, specificity = (
            values.get(f"classification.{kind}.{label}") for kind in ("sensitivity", "specificity")
        )
        location = read_location_evidence(entries, label)
        findings[label] = FindingEvidence("test set", auc, interval, sensitivity, specificity, location)
    return findings


def read_location_evidence(entries: Mapping[str, dict[str, Any]], label: str) -> LocationEvidence | None:
    """How well the class roll-out locates a finding; None unless validation images chose its threshold."""
    pointing, overlap = (entries.get(f"{LOCATION_PREFIX}.{kind}.{label}", {}) for kind in ("pointing", "iou"))
    interval, threshold = parse_interval(pointing), overlap.get("threshold")
    numbers = (pointing.get("value"), threshold, pointing.get("n"))
    is_chosen = overlap.get("threshold_on_validation") is True
    if interval is None or not is_chosen or not all(map(is_finite_number, numbers)):
        return None
    hit_rate, share, images = (float(number) for number in numbers if number is not None)
    return LocationEvidence(share, hit_rate, interval, int(images))


def parse_interval(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of a metric; None where it has none."""
    bounds = entry.get("ci95")
    if not isinstance(bounds, list) or len(bounds) != 2 or not all(map(is_finite_number, bounds)):
        return None
    return float(bounds[0]), float(bounds[1])
