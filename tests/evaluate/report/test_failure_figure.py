"""The gallery of failures: who is picked, and that it is drawn."""

import numpy as np
import pandas as pd
import pytest

from medprior.cohort import Cohort
from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.report.failure_figure import (
    find_confident_errors,
    find_lowest_rows,
    plot_errors,
    shorten_pseudonym,
)
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import Section
from medprior.provenance import read_config

QUICK = EvaluateSettings.from_values({"resamples": 20, "map_size": 32, "probe": False})


def test_the_most_confident_wrong_answers_one_per_patient():
    truth = np.array([0, 0, 0, 0, 1, 1, 1, np.nan])
    score = np.array([0.9, 0.95, 0.7, 0.2, 0.1, 0.3, 0.8, 0.99])
    patients = ["a", "a", "b", "c", "d", "e", "f", "g"]
    positive, negative = find_confident_errors(truth, score, 0.5, patients, 3)
    assert positive == [1, 2]
    assert negative == [4, 5]
    assert find_confident_errors(truth, score, 0.92, patients, 3)[0] == [1]
    assert find_confident_errors(truth, score, float("nan"), patients, 1) == ([1], [4])
    assert find_confident_errors(np.full(8, np.nan), score, 0.5, patients, 3) == ([], [])


def test_the_lowest_known_values_one_per_patient():
    values = np.array([0.5, np.nan, 0.1, 0.2, 0.3])
    assert find_lowest_rows(values, ["a", "b", "c", "c", "d"], 2) == [2, 4]
    assert find_lowest_rows(np.full(3, np.nan), ["a", "b", "c"], 2) == []


def test_long_pseudonyms_are_cut():
    assert shorten_pseudonym("i001") == "i001"
    assert len(shorten_pseudonym("x" * 40)) == 14


def test_wrong_answers_stand_left_and_right_with_their_probability_and_label(tmp_path, cohort, saved_figures):
    """One false positive and two false negatives of `first`, none of `second`, all of different patients."""
    part = cohort.select([f"i{number:03d}" for number in range(0, 10, 2)])
    truth = np.array([[0, 0], [0, 1], [1, 1], [1, 0], [1, 1]], dtype=float)
    scores = np.array([[0.9, 0.1], [0.2, 0.9], [0.3, 0.9], [0.1, 0.2], [0.8, 0.9]])
    extra = {
        "labels": ["first_one", "second"], "truth": truth, "scores": {"m": scores},
        "thresholds": {"m": np.array([0.5, 0.5])},
    }  # fmt: skip
    plot_errors(tmp_path / "e.png", "m", part, Section(extra=extra), slice(0, 2))
    (saved,) = saved_figures
    axes = np.array(saved.axes).reshape(2, 6)
    assert saved.get_size_inches().tolist() == pytest.approx([8.4, 1.95 * 2 + 0.5])
    assert [axis.get_title(loc="left") for axis in axes[0]] == ["false positives", "", "", "false negatives", "", ""]
    assert [line[0].get_ylabel() for line in axes] == ["first one", "second"]
    assert [axis.get_xlabel() for axis in axes[0]] == [
        "p 0.90, absent\ni000", "", "", "p 0.10, present\ni006", "p 0.30, present\ni004", "",
    ]  # fmt: skip
    assert [[bool(axis.images) for axis in line] for line in axes] == [
        [True, False, False, True, True, False],
        [False] * 6,
    ]
    assert [[text.get_text() for text in axis.texts] for axis in axes[1, ::3]] == [["none"], ["none"]]


def test_figures_are_in_the_evidence(planted_evidence):
    names = {path.name for path in (planted_evidence / "figures").iterdir()}
    assert {"failures_classification_pooled_1.png", "failures_classification_plain_1.png"} <= names
    listed = read_config(planted_evidence)["outputs"]
    assert "figures/failures_classification_pooled_1.png" in listed
    assert "Where pooled is wrong" in (planted_evidence / "report.html").read_text()


def test_the_worst_contours(tmp_path, cohort_path, model_paths, saved_figures):
    """At most four images, the lowest mean Dice first."""
    cohort = Cohort.open(cohort_path)
    evaluate_cohort(cohort, tmp_path, model=model_paths["masks"], settings=QUICK)
    assert (tmp_path / "figures" / "failures_segmentation_masks.png").is_file()
    table = pd.read_parquet(tmp_path / "predictions.parquet").set_index("image_id")
    dice = table[[name for name in table.columns if name.startswith("dice_")]].mean(axis=1)
    patients = cohort.select(dice.index.tolist()).patient_ids.tolist()
    rows = find_lowest_rows(dice.to_numpy(), patients, 4)
    titles = [f"Dice {dice.iloc[row]:.3f}" for row in rows]
    names = [dice.index[row] for row in rows]
    shown = [
        ([axis.get_title() for axis in figure.axes], [axis.get_xlabel() for axis in figure.axes])
        for figure in saved_figures
    ]
    assert (titles, names) in shown
