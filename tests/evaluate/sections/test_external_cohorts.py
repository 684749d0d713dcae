"""Other cohorts: who is a stranger, what is compared, and that nothing is chosen there."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medprior.cohort import Cohort
from medprior.errors import ConfigError, InputMissing
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.report.external_table import format_external_table, list_external_cohorts, list_external_rows
from medprior.evaluate.sections.external_cohorts import find_two_class_labels, find_unseen_images
from medprior.evaluate.settings import EvaluateSettings
from medprior.finetune.model import load_finetuned_model
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.training import finetune_model
from medprior.pretrain import PretrainSettings, pretrain_backbone
from medprior.provenance import read_config, result_digest
from tests.evaluate.comparing import PRETRAIN

TINY = PRETRAIN | {"recipe": "dino"}

QUICK = EvaluateSettings.checked({"resamples": 40, "map_size": 32, "probe": False})


@pytest.fixture(scope="module")
def metrics(planted_evidence):
    return json.loads((planted_evidence / "metrics.json").read_text())


def test_patients_known_at_home_are_left_out(planted_home, planted_away, metrics):
    home, other = Cohort.open(planted_home), Cohort.open(planted_away)
    ids = find_unseen_images(other, home)
    assert len(ids) == 60
    assert not set(other.select(ids).manifest.pixel_sha256) & set(home.manifest.pixel_sha256)
    assert metrics["external.away.data.images"]["value"] == 60
    assert metrics["external.away.data.left_out"]["value"] == 40
    assert metrics["external.away.data.patients"]["value"] == 30


def test_a_patient_with_one_known_picture_is_known(planted_home, planted_away):
    home, other = Cohort.open(planted_home), Cohort.open(planted_away)
    one = other.manifest.image_id[other.manifest.pixel_sha256.isin(home.manifest.pixel_sha256)]
    first = home.select(
        [home.image_ids[list(home.manifest.pixel_sha256).index(
            other.select([one.iloc[0]]).manifest.pixel_sha256.iloc[0])]]
    )  # fmt: skip
    ids = find_unseen_images(other, first)
    patient = other.select([one.iloc[0]]).patient_ids[0]
    assert len(ids) == len(other) - int((other.patient_ids == patient).sum())


def test_numbers_away_are_the_models_own(metrics, planted_home, planted_away, planted_models):
    home, other = Cohort.open(planted_home), Cohort.open(planted_away)
    part = other.select(find_unseen_images(other, home))
    model = load_finetuned_model(planted_models["pooled"])
    column = model.labels.index("spot")
    truth, score = part.labels(["spot"])[:, 0], model.predict_cohort(part)[:, column]
    away = metrics["external.away.classification.auc.spot"]
    assert away["value"] == pytest.approx(roc_auc_score(truth, score))
    here = metrics["external.away.home.classification.auc.spot"]["value"]
    assert here == pytest.approx(metrics["classification.auc.spot"]["value"])
    drop = metrics["external.away.drop.classification.auc.spot"]
    assert drop["value"] == pytest.approx(away["value"] - here)
    assert drop["ci95"][0] <= drop["value"] <= drop["ci95"][1]
    own = metrics["external.away.classification.sensitivity.spot"]["threshold"]
    assert own == pytest.approx(float(model.threshold[column]))


def test_missing_labels_are_named_never_zero(metrics, planted_evidence):
    assert not [k for k in metrics if k.startswith("external.") and k.endswith(".hole")]
    assert metrics["external.away.classification.mauc"]["classes"] == 1
    skipped = read_config(planted_evidence)["skipped"]
    assert "external away: hole: no such label away" in skipped
    assert "external.away" in read_config(planted_evidence)["inputs"]


def test_probes_are_trained_at_home(metrics):
    for kind in ("linear", "pooled_linear", "knn"):
        key = f"features.{kind}_mauc"
        there, here = metrics[f"external.away.{key}"], metrics[f"external.away.home.{key}"]
        assert there["n"] == 60
        assert metrics[f"external.away.drop.{key}"]["value"] == pytest.approx(there["value"] - here["value"])
        if kind != "knn":
            assert there["C"] == here["C"]


def test_baselines_stand_beside(metrics):
    assert "baseline.plain.external.away.classification.mauc" in metrics
    assert "difference.plain.external.away.classification.mauc" in metrics


def test_the_table_for_a_reader(metrics, planted_evidence):
    assert list_external_cohorts(metrics) == ["away"]
    assert next(word for word, *_ in list_external_rows(metrics, "away")) == "mAUC"
    text = format_external_table(metrics)
    assert "40 left out" in text
    assert "drop" in text
    assert format_external_table({}) == ""
    assert (planted_evidence / "figures" / "external_away.png").stat().st_size > 5000


def test_labels_need_both_classes_on_both_sides():
    home = np.array([[0, 0, 1], [1, 0, 0.0]])
    away = np.array([[1, 1, np.nan], [0, 0, 1.0]])
    kept, lost = find_two_class_labels(home, away, ["a", "b", "c"])
    assert kept == [0]
    assert len(lost) == 2


def test_every_image_of_a_strange_cohort(tmp_path, planted_away, planted_home, planted_models):
    model = planted_models["pooled"]
    found = evaluate_cohort(planted_away, tmp_path / "out", model=model, split="all", settings=QUICK)
    assert found["data.images.evaluated"]["value"] == 100
    with pytest.raises(ConfigError, match="was trained on images of this cohort"):
        evaluate_cohort(planted_home, tmp_path / "no", model=model, split="all", settings=QUICK)


def test_a_cohort_that_a_models_backbone_has_seen_is_refused(tmp_path, planted_home, cohort_path):
    pretrain_backbone(planted_home, tmp_path / "first", settings=PretrainSettings.checked(TINY))
    further = {k: v for k, v in TINY.items() if k != "network"}
    further |= {"init": str(tmp_path / "first")}
    pretrain_backbone(cohort_path, tmp_path / "second", settings=PretrainSettings.checked(further))
    away = Cohort.open(cohort_path)
    tuning = {"task": "classification", "epochs": 1, "batch": 8, "size": 32}
    settings = FinetuneSettings.checked(tuning)
    finetune_model(away, tmp_path / "model", "classification", tmp_path / "second", settings)
    digests = sorted(map(result_digest, (planted_home, cohort_path)))
    seen = read_config(tmp_path / "model")["seen_cohorts"]
    assert seen == digests
    for kind in ("backbone", "model"):
        path = tmp_path / {"backbone": "second"}.get(kind, kind)
        with pytest.raises(ConfigError, match="was trained on images of this cohort"):
            evaluate_cohort(planted_home, tmp_path / "no", split="all", settings=QUICK, **{kind: path})


def test_a_cohort_of_the_same_patients_is_refused(tmp_path, planted_home, planted_models):
    with pytest.raises(InputMissing, match="every patient of this cohort is in the home cohort"):
        evaluate_cohort(
            planted_home, tmp_path / "out", model=planted_models["plain"], settings=QUICK,
            external=("again", planted_home),
        )  # fmt: skip


def test_the_report_shows_home_against_away(planted_evidence, metrics):
    page = (planted_evidence / "report.html").read_text()
    assert "External test: away" in page
    for _, here, there, drop in list_external_rows(metrics, "away"):
        for key in (here, there, drop):
            assert f'data-key="{key}"' in page
    assert "--external away=COHORT" in page
