"""One run: what is done, what is missing, and what is read from it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from medprior.errors import TrainingCollapsed, TrainingDiverged
from medprior.evaluate.compare.failed_runs import record_failure
from medprior.evaluate.compare.label_budgets import LabelBudget
from medprior.evaluate.compare.run import (
    ComparisonRun,
    is_run_complete,
    list_score_files,
    load_or_compute_scores,
    needs_attention_scores,
    read_training_scores,
    score_backbone,
    score_finetuned_attention,
    score_run,
    score_run_model,
)
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy
from medprior.provenance import write_config
from tests.evaluate.untrained import build_untrained_model

SETTINGS = CompareSettings.from_values(
    {"fractions": [1.0, 0.5], "finetune": {"classification": {}, "segmentation": {}}}
)
FILES = {
    "backbone": ["scores.npz"],
    "classification-100pct": ["classification-100pct.npz", "classification-100pct-attention.npz"],
    "classification-50pct": ["classification-50pct.npz"],
    "segmentation-100pct": ["segmentation-100pct.npz"],
    "segmentation-50pct": ["segmentation-50pct.npz"],
}


@pytest.fixture
def study(cohort):
    return EvaluationStudy.of(cohort, "test", frozenset(), EvaluateSettings.from_values({"resamples": 4}))


def test_a_backbone_lies_with_the_run_that_trained_it(tmp_path):
    run = ComparisonRun(tmp_path / "b-0", Arm(), 0, tmp_path / "a-0")
    files = list_score_files(run, SETTINGS)
    assert {stage: [path.name for path in paths] for stage, paths in files.items()} == FILES
    assert files["backbone"][0].parent.name == "a-0"
    assert files["segmentation-50pct"][0].parent.name == "b-0"
    scratch = list_score_files(ComparisonRun(tmp_path / "b-0", Arm(recipe=None), 0), SETTINGS)
    assert list(scratch) == list(FILES)[1:]


def test_a_run_is_complete_when_every_stage_is_scored_or_lost(tmp_path):
    run = ComparisonRun(tmp_path / "a-0", Arm(), 0)
    run.folder.mkdir()
    names = [name for names in FILES.values() for name in names]
    for name in names:
        assert not is_run_complete(run, SETTINGS)
        (run.folder / name).touch()
    assert is_run_complete(run, SETTINGS)
    (run.folder / "segmentation-50pct.npz").unlink()
    record_failure(run.folder, "segmentation-50pct", TrainingDiverged("at step 2"))
    assert is_run_complete(run, SETTINGS)
    other = ComparisonRun(tmp_path / "b-0", Arm(), 0)
    record_failure(other.folder, "backbone", TrainingCollapsed("at step 2"))
    assert is_run_complete(other, SETTINGS)


def test_attention_is_scored_of_classifiers_from_all_labels():
    assert needs_attention_scores("classification", LabelBudget("100pct", {}))
    assert not needs_attention_scores("classification", LabelBudget("10pct", {}))
    assert not needs_attention_scores("segmentation", LabelBudget("100pct", {}))


def test_a_lost_backbone_is_neither_trained_again_nor_scored(tmp_path, cohort_path, study):
    origin, run = tmp_path / "a-0", ComparisonRun(tmp_path / "b-0", Arm(recipe="dino"), 0, tmp_path / "a-0")
    run.folder.mkdir()
    record_failure(origin, "backbone", TrainingCollapsed("collapsed at step 3"))
    assert score_run(run, cohort_path, study, SETTINGS) == {}
    assert json.loads((run.folder / "failed.json").read_text())["backbone"]["step"] == 3
    assert not (origin / "backbone").exists()


def test_a_step_costs_a_batch_over_the_median_rate(tmp_path):
    """Batches of 12 at 3, 4 and 100 images a second: 3 seconds."""
    assert read_training_scores(tmp_path) == {}
    (tmp_path / "metrics.csv").write_text("step,images_per_second,loca_accuracy\n1,3,0.1\n2,100,0.2\n3,4,0.3\n")
    write_config(tmp_path, "pretrain", {"batch": 12}, outputs=("metrics.csv",))
    scores = read_training_scores(tmp_path)
    assert {name: values.tolist() for name, values in scores.items()} == {
        "cost.step_seconds": [3.0], "loca_accuracy": [0.3],
    }  # fmt: skip


def test_scores_are_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"a": np.array([1.0, np.nan])}

    for _ in range(2):
        scores = load_or_compute_scores(tmp_path / "s.npz", compute)
        np.testing.assert_array_equal(scores["a"], [1.0, np.nan])
    assert calls == [1]


def test_a_classifier_keeps_truth_and_probability_by_label(study):
    model = build_untrained_model(["effusion", "cardiomegaly"])
    scores = score_run_model(model, study, "10pct.classification.")
    assert set(scores) == {
        "10pct.classification.effusion", "10pct.classification.cardiomegaly", "truth.effusion", "truth.cardiomegaly",
    }  # fmt: skip
    np.testing.assert_array_equal(scores["10pct.classification.cardiomegaly"], model.predict_cohort(study.part)[:, 1])
    np.testing.assert_array_equal(scores["truth.effusion"], study.part.labels(["effusion"])[:, 0])


def test_a_cnn_has_no_attention_scores(study):
    assert score_finetuned_attention(build_untrained_model(["effusion"], "test_resnet"), study) == {}


def test_a_share_is_drawn_several_times_each_time_with_other_patients(study, span_path):
    once = score_backbone(span_path, 5, study, (1.0, 0.3))
    settings = study.settings.model_copy(update={"probe_draws": 3})
    several = score_backbone(span_path, 5, replace(study, settings=settings), (1.0, 0.3))
    assert list(once) == list(several)
    for name, values in once.items():
        if name.startswith("30pct."):
            assert several[name].shape == (3, *values.shape)
            np.testing.assert_array_equal(several[name][0], values)
        else:
            np.testing.assert_array_equal(several[name], values)
    first, second, third = several["30pct.linear_mauc"]
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
