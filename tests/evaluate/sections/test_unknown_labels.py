"""Every table and figure of labels accepts labels without a known value, one class, one patient and one image."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medprior.evaluate.report.failure_figure import IMAGES_PER_ERROR, find_confident_errors, plot_errors
from medprior.evaluate.report.figures import plot_classification_figures
from medprior.evaluate.report.tables import build_evaluation_tables
from medprior.evaluate.sections.external_cohorts import find_two_class_labels
from medprior.evaluate.sections.subgroups import estimate_subgroup_aucs
from medprior.evaluate.study import Section
from medprior.finetune.calibration import fit_temperature
from medprior.metrics.bootstrap import Resamples
from medprior.metrics.classification import estimate_classification
from tests.saved_figures import keep_saved_figures

NAN = float("nan")
LABELS = ["first", "second"]
LABEL_ROWS = st.lists(
    st.tuples(*[st.sampled_from([0.0, 1.0, NAN])] * 2, st.integers(0, 2), *[st.sampled_from([0.0, 0.3, 1.0])] * 2),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=3, deadline=None, derandomize=True)
@given(LABEL_ROWS)
@example([(NAN, NAN, 0, 0.3, 0.3), (NAN, NAN, 1, 1.0, 0.0)])
@example([(NAN, 1.0, 0, 0.3, 1.0), (NAN, 0.0, 1, 1.0, 0.3)])
@example([(1.0, 0.0, 0, 0.3, 0.3), (1.0, 0.0, 1, 1.0, 0.0)])
@example([(NAN, 1.0, 0, 0.3, 0.3)])
def test_tables_and_figures_accept_any_pattern_of_labels(cohort, rows):
    part, values = cohort.take(len(rows)), np.array(rows)
    truth, score = values[:, :2], values[:, 3:]
    draws = Resamples.draw([str(patient) for patient in values[:, 2]], 8, 0)
    estimates = estimate_classification(truth, score, LABELS, np.array([0.5, NAN]), draws, 5)
    estimates |= estimate_subgroup_aucs(part, truth, score, draws)
    metrics = {key: estimate.record() for key, estimate in estimates.items()}
    has_both = [bool({0.0, 1.0} <= set(column.tolist())) for column in truth.T]
    assert [metrics[f"classification.auc.{label}"]["value"] is not None for label in LABELS] == has_both
    assert metrics["classification.mauc"]["classes"] == sum(has_both)
    assert [metrics[f"classification.ece.{label}"]["n"] for label in LABELS] == (~np.isnan(truth)).sum(axis=0).tolist()
    assert find_two_class_labels(truth, truth, LABELS)[0] == np.flatnonzero(has_both).tolist()
    assert all(fit_temperature(column, known) > 0 for column, known in zip(score.T, truth.T, strict=True))
    titles = [table.title for table in build_evaluation_tables(metrics, {"classification": "m"})]
    assert "Findings, label by label" in titles
    extra = {"labels": LABELS, "truth": truth, "scores": {"m": score}, "thresholds": {"m": np.array([0.5, NAN])}}
    section = Section(estimates=estimates, extra=extra)
    with tempfile.TemporaryDirectory() as folder, keep_saved_figures() as saved:
        figures = plot_classification_figures(Path(folder), SimpleNamespace(draws=draws), section)
        figures.append(plot_errors(Path(folder) / "errors.png", "m", part, section, slice(0, 2)))
        assert all(figure.path.is_file() for figure in figures)
    assert [len(figure.axes) for figure in saved] == [2, 2, 2, 4 * IMAGES_PER_ERROR]
    known = [(int((column == 1).sum()), int((~np.isnan(column)).sum())) for column in truth.T]
    titles = [f"{label}\n{positives} of {count}" for label, (positives, count) in zip(LABELS, known, strict=True)]
    assert [[axis.get_title() for axis in figure.axes] for figure in saved[:2]] == [titles, titles]
    patients = part.patient_ids.tolist()
    wrong = [find_confident_errors(truth[:, k], score[:, k], (0.5, NAN)[k], patients, IMAGES_PER_ERROR) for k in (0, 1)]
    is_pictured = [bool(axis.images) for axis in saved[3].axes]
    assert is_pictured == [n < len(rows) for pair in wrong for rows in pair for n in range(IMAGES_PER_ERROR)]
