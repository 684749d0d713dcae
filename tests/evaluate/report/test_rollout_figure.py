"""One roll-out figure for each model, with the images that say most."""

import pytest

from medprior.evaluate.inputs import Inputs, load_inputs
from medprior.evaluate.report.rollout_figure import plot_rollout_figures
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
