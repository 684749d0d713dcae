"""How well a model tells its findings, and what is said of a finding because of it."""

import json

import numpy as np
import pytest

from medprior.deploy import load_model
from medprior.deploy.inference.finding_evidence import (
    FindingEvidence,
    LocationEvidence,
    load_model_metrics,
    read_test_evidence,
    read_validation_evidence,
)
from medprior.deploy.inference.prediction import RadiographPrediction
from medprior.errors import InputMissing
from medprior.metrics.newcombe import compute_newcombe_auc_interval
from medprior.provenance import result_digest

VALIDATION = {
    "auc": {"a": 0.9, "b": 0.37, "c": None, "d": 0.8, "e": float("nan")},
    "positive": {"a": 20, "b": 11, "c": 0, "d": 5, "e": 2},
    "negative": {"a": 30, "b": 40, "c": 50, "d": 0, "e": 2},
}


def predict_with(evidence: dict[str, FindingEvidence]) -> RadiographPrediction:
    findings = {"good": 0.6, "low": 0.2, "chance": 0.9, "unknown": 0.9}
    thresholds = dict.fromkeys(findings, 0.5)
    return RadiographPrediction(np.zeros((2, 2), np.float32), "p", "m", findings, thresholds, evidence)


def test_validation_of_a_model_is_its_evidence_until_it_is_evaluated():
    rates = {"sensitivity": {"a": 0.75, "b": None}, "specificity": {"a": 0.8}}
    evidence = read_validation_evidence({"validation": VALIDATION, "operating_point": rates})
    assert set(evidence) == {"a", "b"}
    interval = compute_newcombe_auc_interval(0.9, 20, 30)
    assert evidence["a"] == FindingEvidence("validation", 0.9, interval, 0.75, 0.8)
    assert evidence["b"] == FindingEvidence("validation", 0.37, compute_newcombe_auc_interval(0.37, 11, 40))
    assert read_validation_evidence({"validation": VALIDATION})["a"].sensitivity is None


@pytest.mark.parametrize(
    "config", [{}, {"validation": 3}, {"validation": {"auc": [1]}}, {"validation": {"auc": {"a": "x"}}}]
)
def test_a_model_without_a_validation_record_has_no_evidence(config):
    assert read_validation_evidence(config) == {}


def test_a_label_whose_interval_reaches_one_half_is_not_called():
    evidence = {
        "good": FindingEvidence("test set", 0.8, (0.51, 0.9)),
        "low": FindingEvidence("test set", 0.8, (0.7, 0.9)),
        "chance": FindingEvidence("test set", 0.6, (0.5, 0.7)),
    }
    prediction = predict_with(evidence)
    calls = {name: prediction.call_finding(name) for name in prediction.findings}
    assert calls == {"good": "present", "low": "below", "chance": "none", "unknown": "present"}
    record = json.loads(json.dumps(prediction.record()))["findings"]
    assert record["chance"] == {
        "probability": 0.9, "threshold": 0.5, "present": True, "call": "none",
        "evidence": {
            "source": "test set", "auc": 0.6, "auc_ci95": [0.5, 0.7], "sensitivity": None, "specificity": None,
        },
    }  # fmt: skip
    assert record["unknown"] == {"probability": 0.9, "threshold": 0.5, "present": True}


def write_evidence(folder, model, **metrics):
    folder.mkdir()
    inputs = {"model.first": result_digest(model)}
    config = {"stage": "evaluate", "inputs": inputs, "primary": {"classification": "first"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_an_evaluation_of_the_model_takes_the_place_of_its_validation(classifier, dicom, tmp_path):
    label = next(iter(load_model(classifier).models["classification"].labels))
    metrics = {
        f"classification.auc.{label}": {"value": 0.61, "ci95": [0.45, 0.77], "n": 40},
        f"classification.sensitivity.{label}": {"value": 0.7, "ci95": [0.5, 0.8], "n": 10},
        f"classification.specificity.{label}": {"value": None, "ci95": [None, None], "n": 0},
        "classification.auc.other": {"value": None, "ci95": [None, None], "n": 0},
        "classification.mauc": {"value": 0.61, "ci95": [0.45, 0.77], "n": 40},
    }
    evidence = write_evidence(tmp_path / "evidence", classifier, **metrics)
    prediction = load_model(classifier, evidence=evidence).predict(dicom)
    assert prediction.evidence == {label: FindingEvidence("test set", 0.61, (0.45, 0.77), 0.7)}
    assert prediction.call_finding(label) == "none"
    own = load_model(classifier).predict(dicom).evidence[label]
    assert own.source == "validation"
    assert own.sensitivity is not None


def location_metrics(**changes):
    """Metrics of the class roll-out of the finding `a`, with entries changed."""
    pointing = {"value": 0.45, "ci95": [0.3, 0.6], "n": 33, "tolerance": 0.03}
    overlap = {"value": 0.2, "ci95": [0.1, 0.3], "n": 33, "threshold": 0.37, "threshold_on_validation": True}
    metrics = {
        "classification.auc.a": {"value": 0.8, "ci95": [0.7, 0.9], "n": 40},
        "localisation.class_rollout.pointing.a": pointing | changes.get("pointing", {}),
        "localisation.class_rollout.iou.a": overlap | changes.get("iou", {}),
        "localisation.head.iou.a": overlap | {"threshold": 0.9},
        "localisation.class_rollout.pointing.b": pointing,
    }
    return {name: entry for name, entry in metrics.items() if name not in changes.get("without", ())}


def test_a_place_is_known_by_the_hit_rate_and_the_threshold_of_validation():
    (evidence,) = read_test_evidence(location_metrics()).values()
    assert evidence.location == LocationEvidence(0.37, 0.45, (0.3, 0.6), 33)
    assert json.loads(json.dumps(evidence.record()))["location"] == {
        "threshold": 0.37, "hit_rate": 0.45, "hit_rate_ci95": [0.3, 0.6], "images": 33,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"iou": {"threshold_on_validation": False}},
        {"iou": {"threshold": None}},
        {"pointing": {"value": None}},
        {"pointing": {"ci95": [None, None]}},
        {"pointing": {"n": None}},
        {"without": ("localisation.class_rollout.pointing.a",)},
        {"without": ("localisation.class_rollout.iou.a",)},
    ],
)
def test_without_either_no_place_is_known(changes):
    (evidence,) = read_test_evidence(location_metrics(**changes)).values()
    assert evidence.location is None
    assert "location" not in evidence.record()


def test_metrics_of_places_are_read_only_where_they_are_asked_for(classifier, tmp_path):
    evidence = write_evidence(tmp_path / "evidence", classifier, **location_metrics())
    folders = {"model": classifier}
    assert set(load_model_metrics(folders, evidence)) == {"classification.auc.a"}
    names = set(load_model_metrics(folders, evidence, with_locations=True))
    assert names == {name for name in location_metrics() if "head" not in name}


def test_evidence_of_another_model_is_refused(classifier, other_classifier, tmp_path):
    evidence = write_evidence(tmp_path / "evidence", other_classifier)
    with pytest.raises(InputMissing, match="another model"):
        load_model_metrics({"model": classifier}, evidence)
    with pytest.raises(InputMissing, match="another model"):
        load_model(classifier, evidence=evidence)
    assert read_test_evidence({}) == {}
