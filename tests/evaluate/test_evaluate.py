"""The evidence of a whole evaluation."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from medprior.cohort import Cohort
from medprior.errors import ConfigError, InputMissing
from medprior.evaluate.evaluate import build_predictions_table, evaluate_cohort, list_primary_names
from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import Section
from medprior.finetune.model import load_finetuned_model
from medprior.provenance import read_config
from tests.evaluate.conftest import write_cohort

QUICK = EvaluateSettings.from_values({"resamples": 60, "map_size": 32, "neighbours": 5})


class Recorder:
    def __init__(self):
        self.seen, self.numbers, self.files = {}, {}, []

    def params(self, values):
        self.seen |= values

    def metrics(self, values, step):
        self.numbers |= values

    def artifact(self, path):
        assert path.is_file()
        self.files.append(path.name)


@pytest.fixture(scope="module")
def recorder():
    return Recorder()


@pytest.fixture(scope="module")
def evidence(tmp_path_factory, cohort_path, span_path, dino_path, model_paths, recorder):
    out = tmp_path_factory.mktemp("evidence") / "run"
    evaluate_cohort(
        cohort_path,
        out,
        backbone=[("span", span_path), f"dino={dino_path}"],
        model=[model_paths["ours"], model_paths["other"], model_paths["masks"]],
        settings=QUICK,
        observer=recorder,
    )
    return out


@pytest.fixture(scope="module")
def metrics(evidence):
    return json.loads((evidence / "metrics.json").read_text())


def test_the_keys_others_rely_on(metrics):
    for key in (
        "classification.mauc",
        "classification.map",
        "classification.ece",
        "classification.sensitivity",
        "classification.specificity",
        "segmentation.dice.heart",
        "segmentation.iou.left_lung",
        "segmentation.hd95_mm.heart",
        "segmentation.hd95_percent.mean",
        "attention.pixel_ap.left_lung",
        "attention.pixel_ap.mean",
        "attention.iou60.heart",
        "attention.dice_at_threshold.right_lung",
        "features.knn_mauc",
        "features.linear_mauc",
        "features.random_linear_mauc",
        "features.teacher_entropy",
        "baseline.dino.attention.pixel_ap.mean",
        "difference.dino.attention.pixel_ap.mean",
        "baseline.other.classification.mauc",
        "difference.other.classification.mauc",
        "difference.random_weights.features.linear_mauc",
    ):
        assert set(metrics[key]) >= {"value", "ci95", "n"}, key
        assert len(metrics[key]["ci95"]) == 2


def test_every_record_is_sound(metrics):
    for key, record in metrics.items():
        low, high = record["ci95"]
        if record["value"] is None:
            continue
        if low is not None:
            assert low <= high, key
        signed = "cardiothoracic.bias" in key or "cardiothoracic.limit" in key
        free = key.startswith("difference.") or signed or "hd95" in key
        if low is not None and not free:
            assert 0 <= low <= high <= 1, key


def test_numbers_come_from_the_predictions(evidence, metrics):
    table = pd.read_parquet(evidence / "predictions.parquet")
    assert {"image_id", "patient_id", "split"} <= set(table)
    for label in ("cardiomegaly", "effusion"):
        known = table[f"truth_{label}"].notna()
        pair = table[known][f"truth_{label}"], table[known][f"probability_{label}"]
        per_label = metrics["classification.mauc"]["per_class"][label]
        assert per_label["value"] == pytest.approx(roc_auc_score(*pair), abs=1e-9)
        per_label = metrics["classification.map"]["per_class"][label]
        assert per_label["value"] == pytest.approx(average_precision_score(*pair), abs=1e-9)
        assert per_label["positives"] == int((pair[0] == 1).sum())
    dice = table["dice_heart"]
    assert metrics["segmentation.dice.heart"]["value"] == pytest.approx(dice.mean())
    assert metrics["segmentation.dice.heart"]["n"] == dice.notna().sum()
    ap = table[[f"attention_pixel_ap_{n}" for n in ("heart", "left_lung", "right_lung")]].mean()
    assert metrics["attention.pixel_ap.mean"]["value"] == pytest.approx(ap.mean())


def test_an_absent_class_is_counted_not_a_crash(metrics):
    mauc = metrics["classification.mauc"]
    assert mauc["absent"] == ["never"]
    assert mauc["classes"] == 2
    assert mauc["per_class"]["never"]["value"] is None
    known = [mauc["per_class"][name]["value"] for name in ("cardiomegaly", "effusion")]
    assert mauc["value"] == pytest.approx(np.mean(known))


def test_differences_are_primary_minus_baseline(metrics):
    for key in ("classification.mauc", "attention.pixel_ap.heart"):
        name = "other" if key.startswith("c") else "dino"
        gap = metrics[key]["value"] - metrics[f"baseline.{name}.{key}"]["value"]
        assert metrics[f"difference.{name}.{key}"]["value"] == pytest.approx(gap)
    p = metrics["difference.other.classification.auc.effusion"]["delong_p"]
    assert 0 <= p <= 1
    assert not [key for key in metrics if key.startswith("difference.") and "oracle" in key]


def test_predictions_are_the_models_own(evidence, cohort_path, model_paths):
    table = pd.read_parquet(evidence / "predictions.parquet")
    test = Cohort.open(cohort_path).split("test")
    assert table.image_id.tolist() == list(test.image_ids)
    model = load_finetuned_model(model_paths["ours"])
    probability = model.predict_cohort(test)
    for column, label in enumerate(model.labels):
        np.testing.assert_allclose(table[f"probability_{label}"], probability[:, column])


def test_the_outside_is_told(recorder, evidence, metrics):
    assert recorder.numbers["classification.mauc"] == metrics["classification.mauc"]["value"]
    assert all(np.isfinite(value) for value in recorder.numbers.values())
    assert {"metrics.json", "report.html", "predictions.parquet", "roc.png"} <= set(recorder.files)
    config = read_config(evidence, "evaluate")
    figures = {"figures/roc.png", "figures/attention_compared.png"}
    assert set(config["outputs"]) >= {"metrics.json", "report.html"} | figures
    expected = {"attention": "span", "classification": "ours", "segmentation": "masks"}
    assert config["primary"] == expected


def test_same_inputs_same_numbers(tmp_path, cohort_path, span_path, metrics):
    again = evaluate_cohort(cohort_path, tmp_path, backbone=("span", span_path), settings=QUICK)
    assert again["attention.pixel_ap.mean"] == metrics["attention.pixel_ap.mean"]
    assert again["features.linear_mauc"] == metrics["features.linear_mauc"]


def test_nothing_of_the_machine_is_written(evidence, cohort_path, span_path):
    for path in evidence.rglob("*"):
        if path.suffix in {".json", ".html"}:
            text = path.read_text()
            for secret in (str(cohort_path), str(span_path), str(evidence.parent)):
                assert secret not in text
            assert not re.search(r"(href|src)=\"(https?:)?//", text)


def test_lungs_cohort_without_hearts(tmp_path, lungs_cohort, span_path):
    metrics = evaluate_cohort(lungs_cohort, tmp_path, backbone=span_path, settings=QUICK)
    assert metrics["attention.pixel_ap.lungs"]["maps"] == [0, 1]
    assert metrics["attention.pixel_ap.mean"]["structures"] == ["lungs"]
    skipped = read_config(tmp_path)["skipped"]
    assert any(text.startswith("heart: no masks") for text in skipped)


def test_refusals(tmp_path, cohort_path, span_path, model_paths):
    cases = [
        (ConfigError, "nothing to evaluate", {}),
        (InputMissing, "no finished result", {"backbone": tmp_path / "none"}),
        (InputMissing, "no finished result", {"model": tmp_path / "none"}),
        (InputMissing, "another stage", {"model": span_path}),
        (ConfigError, "used twice", {"backbone": [("a", span_path), ("a", span_path)]}),
        (ConfigError, "taken", {"backbone": ("prior", span_path)}),
        (ConfigError, "no such split", {"backbone": span_path, "split": "holdout"}),
    ]
    for kind, text, arguments in cases:
        with pytest.raises(kind, match=text):
            evaluate_cohort(cohort_path, tmp_path / "out", settings=QUICK, **arguments)
    with pytest.raises(InputMissing, match="no finished result"):
        evaluate_cohort(tmp_path / "none", tmp_path / "out", backbone=span_path)


def test_soft_labels_and_an_empty_split_are_refused(tmp_path, model_paths):
    def soft(labels):
        return labels | {"effusion": 0.5}

    path = write_cohort(tmp_path / "soft", 40, labels=soft)
    with pytest.raises(InputMissing, match="neither 0, 1 nor unknown"):
        evaluate_cohort(path, tmp_path / "out", model=model_paths["ours"], settings=QUICK)
    one = write_cohort(tmp_path / "one", 2)
    split = next(s for s in ("test", "val") if s not in set(Cohort.open(one).manifest.split))
    with pytest.raises(InputMissing, match="is empty"):
        evaluate_cohort(one, tmp_path / "out", model=model_paths["masks"], split=split, settings=QUICK)


def test_a_mask_of_another_size_is_refused(tmp_path, span_path):
    from PIL import Image

    path = write_cohort(tmp_path / "cohort", 30)
    for mask in (path / "masks" / "heart").glob("*.png"):
        Image.fromarray(np.zeros((5, 5), np.uint8)).save(mask)
    with pytest.raises(InputMissing, match="another size than its image"):
        evaluate_cohort(path, tmp_path / "out", backbone=span_path, settings=QUICK)


def test_predictions_stand_beside_the_ids_of_their_images(cohort):
    part = cohort.take(3)
    sections = {
        "a": Section(columns={"truth_x": np.array([1.0, np.nan, 0.0])}),
        "b": Section(columns={"dice_y": np.array([0.1, 0.2, 0.3])}),
    }
    table = build_predictions_table(SimpleNamespace(part=part), sections)
    assert list(table) == ["image_id", "patient_id", "split", "truth_x", "dice_y"]
    assert table.image_id.tolist() == list(part.image_ids)
    assert table.dice_y.tolist() == [0.1, 0.2, 0.3]
    assert table.truth_x.tolist()[::2] == [1, 0]


def test_the_first_of_each_kind_is_the_primary_one():
    backbones = tuple(NamedInput(name, Path(name), None) for name in ("one", "two"))
    tasks = {"m": "segmentation", "c": "classification", "d": "classification"}
    models = tuple(NamedInput(name, Path(name), SimpleNamespace(task=task)) for name, task in tasks.items())
    names = {"attention": "one", "classification": "c", "segmentation": "m"}
    assert list_primary_names(Inputs(backbones, models, ())) == names
    assert list_primary_names(Inputs((), models[2:], ())) == {"classification": "d"}
