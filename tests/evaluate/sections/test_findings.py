"""Where is the finding: truth, metrics, and maps of a classifier that knows planted patches."""

import json

import numpy as np
import pandas as pd
import pytest

from medprior.cohort import Cohort
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.settings import EvaluateSettings
from medprior.provenance import read_config
from tests.evaluate.planted import NAMES, train_planted, write_planted

QUICK = EvaluateSettings.from_values({"resamples": 60, "map_size": 32, "probe": False})


@pytest.fixture(scope="module")
def metrics(planted_evidence):
    return json.loads((planted_evidence / "metrics.json").read_text())


def test_the_model_knows_its_findings(metrics):
    assert metrics["classification.mauc"]["value"] > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_the_class_rollout_points_at_the_planted_patch(metrics, name):
    """Two blocks see sixteen patches, so hits are coarse; mass and rank tell more."""
    for metric, times in (("energy", 2.5), ("pixel_ap", 2.5), ("pointing", 2)):
        rollout = metrics[f"localisation.class_rollout.{metric}.{name}"]
        blind = metrics[f"localisation.uniform.{metric}.{name}"]["value"]
        assert rollout["value"] > times * blind, metric
        if metric != "pointing":
            assert rollout["ci95"][0] > blind, metric
            assert metrics[f"difference.centre.localisation.class_rollout.{metric}.{name}"]["value"] > 0


def test_every_key_and_its_baselines(metrics):
    for kind in ("head", "pooled", "rollout", "class_rollout", "uniform", "centre"):
        for metric in ("pointing", "iou", "energy", "pixel_ap"):
            for name in (*NAMES, "mean"):
                record = metrics[f"localisation.{kind}.{metric}.{name}"]
                low, high = record["ci95"]
                assert 0 <= low <= record["value"] <= high <= 1
    assert "baseline.plain.localisation.head.iou.spot" in metrics
    gap = metrics["difference.centre.localisation.head.energy.spot"]["value"]
    own, other = (metrics[f"localisation.{k}.energy.spot"]["value"] for k in ("head", "centre"))
    assert gap == pytest.approx(own - other)
    assert metrics["localisation.head.iou.spot"]["threshold_on_validation"]


def test_only_positive_images_count(planted_evidence, metrics, planted_home):
    test = Cohort.open(planted_home).split("test")
    positive = int((test.labels(["spot"]) == 1).sum())
    assert metrics["localisation.head.pointing.spot"]["n"] == positive
    table = pd.read_parquet(planted_evidence / "predictions.parquet")
    assert table["localisation_head_pointing_spot"].notna().sum() == positive
    mean = table["localisation_head_pointing_spot"].mean()
    assert metrics["localisation.head.pointing.spot"]["value"] == pytest.approx(mean)


def test_what_is_missing_is_named(planted_evidence):
    skipped = read_config(planted_evidence)["skipped"]
    assert any("plain: no pooled map" in text for text in skipped)
    assert {path.name for path in (planted_evidence / "figures").iterdir()} >= {
        "localisation.png", "localisation_pooled.png", "localisation_plain.png",
    }  # fmt: skip


def test_boxes_alone_do_as_well(tmp_path, planted_models, metrics, planted_home):
    path = write_planted(tmp_path / "bare", with_masks=False)
    truth, cohort = Cohort.open(planted_home), Cohort.open(path)
    rows = []
    for image_id in cohort.split("test").image_ids:
        for name in NAMES:
            mask = truth.mask(image_id, name)
            if mask is not None:
                y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
                rows.append((image_id, name, x[0], y[0], len(x), len(y)))
    table = tmp_path / "boxes.csv"
    columns = ["image_id", "label", "x", "y", "width", "height"]
    pd.DataFrame(rows, columns=columns).to_csv(table, index=False)
    settings = QUICK.model_copy(update={"box_units": "pixels"})
    from_boxes = evaluate_cohort(path, tmp_path / "out", model=planted_models["pooled"], settings=settings, boxes=table)
    key = "localisation.class_rollout.energy.spot"
    assert from_boxes[key]["value"] == pytest.approx(metrics[key]["value"], abs=1e-6)
    record = from_boxes["localisation.head.iou.spot"]
    assert not record["threshold_on_validation"]
    assert record["maps"] == [0, 1, 2, 3]
    assert any("no validation image" in text for text in read_config(tmp_path / "out")["skipped"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_life_on_and_off(tmp_path, planted_home, capsys):
    """The same cohort and seeds; prints what LIFE changes, seed by seed and on average."""
    gaps = {}
    for seed in range(3):
        models = [
            (
                name,
                train_planted(planted_home, tmp_path / f"{name}{seed}", epochs=40, life=life, seed=seed),
            )
            for name, life in (("life", True), ("vit", False))
        ]
        numbers = evaluate_cohort(planted_home, tmp_path / f"evidence{seed}", model=models, settings=QUICK)
        for lead in ("", "baseline.vit."):
            assert numbers[f"{lead}classification.mauc"]["value"] > 0.8
        for kind in ("head", "pooled", "rollout", "class_rollout"):
            for metric in ("energy", "pixel_ap", "iou", "pointing"):
                key = f"localisation.{kind}.{metric}.mean"
                own, other = numbers[key]["value"], numbers[f"baseline.vit.{key}"]["value"]
                assert numbers[f"difference.vit.{key}"]["value"] == pytest.approx(own - other)
                gaps.setdefault(f"{kind} {metric}", []).append((own, other))
    with capsys.disabled():
        print("\nmean of seeds: LIFE, plain, difference by seed")
        for name, pairs in gaps.items():
            own, other = np.mean(pairs, axis=0)
            by_seed = " ".join(f"{a - b:+.3f}" for a, b in pairs)
            print(f"{name:22} {own:.3f} {other:.3f}  {by_seed}")
