"""One roll-out figure for each model, with the images that say most."""

import numpy as np
import pytest

from medprior.evaluate.inputs import Inputs, load_inputs
from medprior.evaluate.report.rollout_figure import plot_rollout_figures
from medprior.evaluate.report.style import key_to_words
from medprior.evaluate.sections.models import evaluate_classification, evaluate_segmentation
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy


@pytest.fixture(scope="module")
def models(model_paths):
    return {name: load_inputs([(name, path)], "model")[0] for name, path in model_paths.items()}


def test_figures_of_every_model(models, cohort, tmp_path, saved_figures):
    settings = EvaluateSettings.from_values({"resamples": 20})
    study = EvaluationStudy.of(cohort, "test", frozenset(), settings)
    inputs = Inputs(backbones=[], models=list(models.values()), priors=[])
    two = [models["ours"], models["other"]]
    sections = {
        "classification": evaluate_classification(study, two),
        "segmentation": evaluate_segmentation(study, [models["masks"]]),
    }
    figures = plot_rollout_figures(tmp_path, study, inputs, sections)
    names = {figure.path.name for figure in figures}
    kinds = ("classification_ours", "classification_other", "segmentation_masks")
    assert names == {f"rollout_{kind}.png" for kind in kinds}
    assert all(figure.path.is_file() for figure in figures)
    for figure, saved in zip(figures, saved_figures, strict=True):
        assert {"best", "median", "worst"} <= {axis.get_ylabel() for axis in saved.axes}
        _, task, name = figure.path.stem.split("_")
        shown = sections[task].extra["labels"] if task == "classification" else models[name].item.structures
        assert len(saved.axes) == 3 * (len(shown) + 1)
        for axis in saved.axes:
            has_map = len(axis.images) == 2
            assert has_map == ("left out" in axis.get_xlabel())
        grid = np.array(saved.axes).reshape(3, len(shown) + 1)
        assert [axis.get_title() for axis in grid[0]] == ["radiograph", *(key_to_words(name) for name in shown)]
        assert not [axis for axis in grid[1:].flat if axis.get_title()]
        height = 1.7 * 3 + 0.7 if task == "segmentation" else 1.9 * 3 + 0.4
        assert saved.get_size_inches().tolist() == pytest.approx([1.5 * (len(shown) + 1) + 0.4, height])
    check_shown_findings(sections["classification"], figures, saved_figures)


def check_shown_findings(section, figures, saved_figures):
    """Rows are the images with the least, the middle and the greatest error of the first model, also of the second."""
    truth, scores = section.extra["truth"], section.extra["scores"]
    labels = section.extra["labels"]
    error = np.nanmean(np.abs(truth - scores["ours"]), axis=1)
    order = np.argsort(error, kind="stable")
    rows = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    words = {0.0: "absent", 1.0: "present"}
    for figure, saved in zip(figures, saved_figures, strict=True):
        _, task, name = figure.path.stem.split("_")
        if task == "segmentation":
            continue
        for line in np.array(saved.axes).reshape(3, len(labels) + 1):
            row = rows[line[0].get_ylabel()]
            for axis in line[1:]:
                label = labels.index(find_label(saved, axis, labels))
                text = f"p {scores[name][row, label]:.2f}, {words.get(truth[row, label], 'unknown')}"
                assert axis.get_xlabel().startswith(f"{text}\n")


def find_label(saved, axis, labels):
    """The label of a column, by the title above it."""
    columns = len(labels) + 1
    title = saved.axes[saved.axes.index(axis) % columns].get_title()
    return next(label for label in labels if key_to_words(label) == title)
