"""The prediction for one radiograph and its record."""

import numpy as np
import pytest

from medprior.deploy.inference.finding_evidence import FindingEvidence
from medprior.deploy.inference.prediction import RadiographPrediction, build_ratio_record
from medprior.finetune.familiarity import OutOfDistributionScore
from medprior.metrics.cardiothoracic_ratio import CardiothoracicRatio


def prediction_of(**values) -> RadiographPrediction:
    """A prediction for a picture of 2 rows and 3 columns."""
    return RadiographPrediction(np.zeros((2, 3), np.float32), "pixels", "models", **values)


def test_present_from_the_threshold_on_the_most_certain_first():
    prediction = prediction_of(
        findings={"at": 0.25, "below": 0.75, "above": 0.5, "first": 0.875},
        thresholds={"at": 0.25, "below": 0.8, "above": 0.125, "first": 0.5},
    )
    assert prediction.present_labels() == ["first", "above", "at"]


def test_presence_is_told_of_the_probability_before_it_is_rounded():
    record = prediction_of(findings={"a": 0.49999999}, thresholds={"a": 0.5}).record()
    assert record["findings"] == {"a": {"probability": 0.5, "threshold": 0.5, "present": False}}


def test_a_record_without_any_model_output():
    masks = {"heart": np.zeros((2, 3), bool), "aorta": np.zeros((2, 3), bool)}
    record = prediction_of(masks=masks, facts={"view": "PA"}, flags=("dark",)).record()
    assert record == {
        "status": "ok", "findings": {}, "cardiothoracic_ratio": None, "structures": ["aorta", "heart"],
        "rows": 2, "columns": 3, "view": "PA", "familiarity": None, "flags": ["dark"],
        "pixel_sha256": "pixels", "model_digest": "models",
    }  # fmt: skip


def test_a_familiarity_is_recorded_with_its_limit():
    record = prediction_of(familiar=OutOfDistributionScore(1.23456789, 2.0, 0.125)).record()
    assert record["familiarity"] == {"score": 1.234568, "threshold": 2.0, "false_alarm_rate": 0.125}


def test_lines_of_the_ratio_run_from_left_to_right_in_x_and_y():
    ratio = CardiothoracicRatio(2 / 3, heart=((4.0, 7.0), (8.0, 9.0)), thorax=(2.0, 8.0, 5.0))
    assert build_ratio_record(ratio) == {
        "value": 0.666667, "heart_line": [[4.0, 7.0], [8.0, 9.0]],
        "thorax_line": [[2.0, 5.0], [8.0, 5.0]], "plausible": True,
    }  # fmt: skip
    assert build_ratio_record(None) is None


def test_diameters_are_in_mm_where_the_spacing_is_known():
    ratio = CardiothoracicRatio(2 / 3, heart=((4.0, 7.0), (8.0, 9.0)), thorax=(2.0, 8.0, 5.0))
    record = build_ratio_record(ratio, (9.0, 40.0))
    assert record is not None
    assert (record["heart_mm"], record["thorax_mm"]) == (160.0, 240.0)


@pytest.mark.parametrize(
    ("probability", "lower_bound", "call"),
    [
        (0.5, None, "present"), (0.49, None, "below"), (0.5, 0.51, "present"), (0.49, 0.51, "below"),
        (0.9, 0.5, "none"), (0.1, 0.5, "none"),
    ],
)  # fmt: skip
def test_a_finding_is_called_unless_its_auc_may_be_that_of_chance(probability, lower_bound, call):
    evidence = {} if lower_bound is None else {"a": FindingEvidence("validation", 0.7, (lower_bound, 0.9), 0.8, 0.6)}
    prediction = prediction_of(findings={"a": probability}, thresholds={"a": 0.5}, evidence=evidence)
    assert prediction.call_finding("a") == call
    finding = prediction.record()["findings"]["a"]
    assert finding["present"] is (probability >= 0.5)
    if evidence:
        assert (finding["call"], finding["evidence"]["auc_ci95"]) == (call, [lower_bound, 0.9])
    else:
        assert set(finding) == {"probability", "threshold", "present"}
