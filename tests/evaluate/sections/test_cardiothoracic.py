"""Agreement of the ratio from predicted with the ratio from true masks."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from medprior.cohort import Cohort, CohortWriter
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.sections.cardiothoracic import (
    RatioPairs,
    estimate_ratio_agreement,
    estimate_ratio_detection,
    load_published_ratios,
    measure_true_ratios,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.finetune.settings import FinetuneSettings
from medprior.finetune.training import finetune_model
from medprior.metrics.bootstrap import Resamples
from medprior.metrics.cardiothoracic_ratio import measure_cardiothoracic_ratio, stretch_to_square_pixels
from medprior.phantom import render_phantom
from tests.conftest import STRUCTURES, phantom_cohort_at

FEW = EvaluateSettings(resamples=60, probe=False)


def test_bias_and_limits_are_bland_and_altmans():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.4, 0.6, 300)
    predicted = truth + rng.normal(0.02, 0.03, 300)
    truth[:5], predicted[10:20] = np.nan, np.nan
    draws = Resamples.draw([str(i) for i in range(300)], 500, 0)
    estimates = estimate_ratio_agreement(predicted, truth, draws)
    difference = (predicted - truth)[~np.isnan(predicted - truth)]
    mean, sd = difference.mean(), difference.std(ddof=1)
    assert estimates["cardiothoracic.bias"].value == pytest.approx(mean)
    assert estimates["cardiothoracic.limit_low"].value == pytest.approx(mean - 1.96 * sd)
    assert estimates["cardiothoracic.limit_high"].value == pytest.approx(mean + 1.96 * sd)
    assert estimates["cardiothoracic.mae"].value == pytest.approx(abs(difference).mean())
    assert estimates["cardiothoracic.mae"].n == 285
    assert estimates["cardiothoracic.measured"].value == pytest.approx(285 / 295)
    # Bland and Altman's own standard error of a limit: sqrt(3 s2 / n).
    low, high = estimates["cardiothoracic.limit_high"].interval()
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(3 * sd**2 / 285), rel=0.25)


def test_large_hearts_are_found_by_the_ratio_alone(cohort):
    """Six images; at 0.5 one of two small hearts scores above one of three large ones, at 0.55 none does."""
    part = cohort.take(6)
    truth = np.array([0.40, 0.45, 0.52, 0.53, 0.60, np.nan])
    predicted = np.array([0.41, 0.54, 0.53, 0.55, 0.62, 0.50])
    draws = Resamples.draw(list("abcdef"), 50, 0)
    estimates = estimate_ratio_detection(predicted, truth, part, draws)
    assert estimates["cardiothoracic.auc_50"].value == pytest.approx(5 / 6)
    assert estimates["cardiothoracic.auc_50"].facts["positives"] == 3
    assert estimates["cardiothoracic.auc_50"].n == 5
    assert estimates["cardiothoracic.auc_55"].value == 1
    large = part.labels(["cardiomegaly"])[:, 0] == 1
    assert 0 < large.sum() < 6
    assert estimates["cardiothoracic.auc_label"].value == np.mean(predicted[large][:, None] > predicted[~large])
    unmeasured = np.where(predicted == 0.54, np.nan, predicted)
    assert estimate_ratio_detection(unmeasured, truth, part, draws)["cardiothoracic.auc_50"].value == 1
    assert set(estimate_ratio_detection(predicted, truth * np.nan, part, draws)) == {"cardiothoracic.auc_label"}


def test_two_pairs_are_no_agreement():
    draws = Resamples.draw(["a", "b"], 10, 0)
    assert estimate_ratio_agreement(np.array([0.5, 0.5]), np.array([0.4, 0.5]), draws) == {}


@pytest.mark.parametrize("aspect", [0.7, 1.0, 1.4])
def test_the_ratio_on_the_unit_square_is_that_of_the_picture(aspect):
    masks = {name: render_phantom(4, size=256).masks[name] for name in STRUCTURES}
    wide = {name: stretch_to_square_pixels(mask, aspect) for name, mask in masks.items()}
    assert wide["heart"].shape == (256, round(256 * aspect))
    assert measure_cardiothoracic_ratio(wide).ratio == pytest.approx(
        measure_cardiothoracic_ratio(masks).ratio, abs=0.01
    )


def test_only_frontal_images_with_all_masks_have_a_true_ratio(tmp_path):
    with CohortWriter(tmp_path / "c", store_size=96) as writer:
        for number, (view, names) in enumerate(
            [
                ("PA", STRUCTURES),
                ("LL", STRUCTURES),
                ("AP", STRUCTURES[:2]),
                ("UNKNOWN", STRUCTURES),
            ]
        ):
            image = render_phantom(number, size=96)
            writer.add(
                image_id=f"i{number}", pixels=image.pixels, patient_id=f"p{number}", view=view,
                masks={name: image.masks[name] for name in names},
            )  # fmt: skip
        writer.finish()
    cohort = Cohort.open(tmp_path / "c")
    known = dict(zip(cohort.image_ids, ~np.isnan(measure_true_ratios(cohort, 96)), strict=True))
    assert known == {"i0": True, "i1": False, "i2": False, "i3": True}


def segmenter(cohort, out, **changes):
    shape = {"width": 48, "depth": 3, "heads": 3, "patch": 8, "registers": 1, "image_size": 96}
    defaults = {"epochs": 6, "size": 96, "device": "cpu", "channels": 16, "network": shape}
    merged = FinetuneSettings.load(None, [], task="segmentation", **(defaults | changes))
    return finetune_model(Cohort.open(cohort), out, "segmentation", settings=merged)


def test_evidence_has_the_agreement(phantom_cohort, tmp_path, saved_figures):
    model = segmenter(phantom_cohort, tmp_path / "model", epochs=8)
    metrics = evaluate_cohort(phantom_cohort, tmp_path / "e", model=f"seg={model}", settings=FEW)
    names = ("mae", "bias", "limit_low", "limit_high", "measured")
    assert {f"cardiothoracic.{name}" for name in names} <= set(metrics)
    low, high = metrics["cardiothoracic.mae"]["ci95"]
    assert low <= metrics["cardiothoracic.mae"]["value"] <= high
    assert (tmp_path / "e" / "figures" / "bland_altman.png").is_file()
    page = (tmp_path / "e" / "report.html").read_text()
    assert "lower limit of agreement" in page
    table = pd.read_parquet(tmp_path / "e" / "predictions.parquet")
    difference = table.cardiothoracic_ratio - table.true_cardiothoracic_ratio
    assert difference.abs().mean() == pytest.approx(metrics["cardiothoracic.mae"]["value"])
    (plot,) = [figure for figure in saved_figures if figure.axes[0].get_ylabel() == "predicted − true"]
    drawn_difference = plot.axes[0].collections[0].get_offsets()[:, 1]
    np.testing.assert_allclose(drawn_difference.compressed(), difference.dropna())
    stored = json.loads((tmp_path / "e" / "metrics.json").read_text())
    assert stored["cardiothoracic.bias"] == metrics["cardiothoracic.bias"]


@pytest.mark.slow
def test_the_phantoms_own_ratio_through_a_segmenter(tmp_path):
    from medprior.finetune.model import load_finetuned_model

    cohort = phantom_cohort_at(tmp_path / "cohort", 500, size=192)
    model = segmenter(cohort, tmp_path / "model", epochs=40, network={
        "width": 96, "depth": 4, "heads": 6, "patch": 8, "image_size": 96})  # fmt: skip
    metrics = evaluate_cohort(cohort, tmp_path / "e", model=f"seg={model}", settings=FEW)
    test, network = Cohort.open(cohort).split("test"), load_finetuned_model(model)
    errors = []
    for image_id in test.image_ids:
        image = render_phantom(int(image_id[1:]), size=192)
        measurement = measure_cardiothoracic_ratio(network.predict_pixels(image.pixels).masks)
        errors.append(np.nan if measurement is None else measurement.ratio - image.facts["ctr"])
    print("\nagainst the anatomy's own ratio: "
          f"MAE {np.nanmean(np.abs(errors)):.4f}, bias {np.nanmean(errors):+.4f}, "
          f"{np.isnan(errors).sum()} of {len(errors)} not measured")  # fmt: skip
    for name in ("mae", "bias", "limit_low", "limit_high", "measured"):
        print(f"cardiothoracic.{name}", metrics[f"cardiothoracic.{name}"])
    assert np.nanmean(np.abs(errors)) <= 0.02
    assert metrics["cardiothoracic.mae"]["value"] <= 0.02


def test_three_pairs_are_an_agreement():
    """Differences 0.1, 0 and -0.4: mean -0.1, standard deviation with n - 1 the square root of 0.07."""
    predicted, truth = np.array([0.5, 0.5, 0.2, 0.4, np.nan]), np.array([0.4, 0.5, 0.6, np.nan, 0.5])
    draws = Resamples.draw(list("abcde"), 10, 0)
    estimates = estimate_ratio_agreement(predicted, truth, draws)
    assert estimates["cardiothoracic.bias"].value == pytest.approx(-0.1)
    assert estimates["cardiothoracic.mae"].value == pytest.approx(0.5 / 3)
    assert estimates["cardiothoracic.limit_high"].value == pytest.approx(-0.1 + 1.96 * 0.07**0.5)
    assert estimates["cardiothoracic.limit_low"].n == 3
    # Of four true ratios three were measured.
    assert estimates["cardiothoracic.measured"].value == 0.75


def test_published_ratios_are_those_of_the_images(phantom_cohort, tmp_path):
    """Beside a cohort's images in any order, with other measurements and images of other splits."""
    folder = tmp_path / "c"
    shutil.copytree(phantom_cohort, folder)
    part = Cohort.open(folder).take(6, 0)
    assert np.isnan(load_published_ratios(part)).all()
    rows = [(image_id, "ctr", 0.1 * number) for number, image_id in enumerate(part.image_ids[::-1]) if number != 2]
    rows += [(part.image_ids[0], "spine", 9.0), ("elsewhere", "ctr", 9.0)]
    pd.DataFrame(rows, columns=["image_id", "name", "value"]).to_parquet(folder / "measurements.parquet")
    np.testing.assert_allclose(load_published_ratios(part), [0.5, 0.4, 0.3, np.nan, 0.1, 0.0])


def test_evidence_has_the_agreement_with_published_ratios(phantom_cohort, tmp_path):
    folder = tmp_path / "c"
    shutil.copytree(phantom_cohort, folder)
    model = segmenter(folder, tmp_path / "model")
    images = Cohort.open(folder).image_ids
    rows = pd.DataFrame({"image_id": images, "name": "ctr", "value": np.linspace(0.4, 0.6, len(images))})
    rows.to_parquet(folder / "measurements.parquet")
    metrics = evaluate_cohort(folder, tmp_path / "e", model=f"seg={model}", settings=FEW)
    table = pd.read_parquet(tmp_path / "e" / "predictions.parquet")
    difference = table.cardiothoracic_ratio - table.published_cardiothoracic_ratio
    assert metrics["cardiothoracic_published.bias"]["value"] == pytest.approx(difference.mean())
    assert metrics["cardiothoracic_published.mae"]["value"] == pytest.approx(difference.abs().mean())
    assert metrics["cardiothoracic.mae"]["value"] != metrics["cardiothoracic_published.mae"]["value"]
    assert "bias, published" in (tmp_path / "e" / "report.html").read_text()


def test_a_batch_without_all_three_structures_gives_no_ratio(phantom_cohort):
    part = Cohort.open(phantom_cohort).take(2, 0)
    masks = {name: part.mask_squares(name, 64)[0] >= 0.5 for name in STRUCTURES}
    pairs = RatioPairs()
    pairs.add_batch(part, {"heart": masks["heart"]})
    assert pairs.concatenate() is None
    for _ in range(2):
        pairs.add_batch(part, masks)
    predicted, truth = pairs.concatenate()
    assert predicted.shape == truth.shape == (4,)
    np.testing.assert_array_equal(predicted, truth)
    assert np.isfinite(truth).any()
