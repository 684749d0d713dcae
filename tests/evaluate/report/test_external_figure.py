"""One figure for each other cohort, of the primary results."""

import numpy as np

from medprior.evaluate.report.external_figure import plot_external_figures
from medprior.evaluate.study import Section, exact_estimate
from medprior.metrics.bootstrap import Estimate


def build_section(*cohorts):
    estimates = {"classification.mauc": exact_estimate(0.9, 5)}
    for name in cohorts:
        estimates[f"external.{name}.data.left_out"] = exact_estimate(3, 5)
        for side, value in (("", 0.7), ("home.", 0.9), ("drop.", -0.2)):
            estimates[f"external.{name}.{side}classification.mauc"] = Estimate(value, value + np.linspace(-1, 1, 5), 5)
    return Section(estimates=estimates)


def test_every_cohort_has_a_figure_that_tells_who_was_left_out(tmp_path):
    figures = plot_external_figures(tmp_path, {"a": build_section("near"), "b": build_section("far")})
    assert [figure.path.name for figure in figures] == ["external_near.png", "external_far.png"]
    assert all(figure.path.is_file() for figure in figures)
    assert figures[1].caption.endswith("in the home cohort too: 3.")
    assert plot_external_figures(tmp_path, {"a": build_section()}) == []
