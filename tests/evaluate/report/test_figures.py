"""Which figures a section gives."""

from dataclasses import replace

import numpy as np

from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.localisation.scoring import Localisation
from medprior.evaluate.report.figures import has_chosen_map, plot_evaluation_figures, plot_segmentation_figures
from medprior.evaluate.sections.models import evaluate_segmentation
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy, Section
from tests.evaluate.untrained import build_untrained_model


def build_study(cohort):
    return EvaluationStudy.of(cohort, "test", frozenset(), EvaluateSettings.from_values({"resamples": 4}))


def test_a_backbone_without_a_map_is_not_drawn():
    empty = Localisation({}, {}, {}, {}, {}, {}, {})
    localisations = {"attention:a": empty, "attention:b": replace(empty, chosen={"heart": (0,)})}
    assert not has_chosen_map(localisations, "a")
    assert has_chosen_map(localisations, "b")


def test_nothing_evaluated_is_no_figure(tmp_path, cohort):
    assert plot_evaluation_figures(tmp_path, build_study(cohort), Inputs((), (), ()), {}) == []


def test_segmentation_without_a_known_dice_is_not_drawn(tmp_path, cohort):
    study, inputs = build_study(cohort), Inputs((), (), ())
    assert plot_segmentation_figures(tmp_path, study, Section(), inputs) == []
    unknown = Section(columns={"dice_heart": np.full(len(study.part), np.nan)})
    assert plot_segmentation_figures(tmp_path, study, unknown, inputs) == []


def test_agreement_of_the_ratio_is_drawn_where_it_was_estimated(tmp_path, cohort):
    entry = NamedInput("seg", tmp_path, build_untrained_model(["left_lung", "heart"], task="segmentation"))
    study = build_study(cohort)
    section = evaluate_segmentation(study, [entry])
    figures = plot_segmentation_figures(tmp_path, study, section, Inputs((), (entry,), ()))
    assert [figure.path.name for figure in figures] == ["segmentation.png"]
