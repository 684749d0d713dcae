"""Figures of a comparison and the order of its arms."""

from medprior.evaluate.compare.output import order_by_arm, plot_comparison_figures
from tests.evaluate.records import record


def test_arms_come_in_the_order_of_the_command_and_other_sources_after_them():
    groups = [("heart", {"static prior": 1, "b": 2, "a": 3}), ("mean", {"b": 4})]
    ordered = order_by_arm(groups, ["a", "gone", "b"])
    assert [(name, list(rows.items())) for name, rows in ordered] == [
        ("heart", [("a", 3), ("b", 2), ("static prior", 1)]),
        ("mean", [("b", 4)]),
    ]


def test_only_figures_with_numbers_are_drawn(tmp_path):
    assert plot_comparison_figures(tmp_path, {"runs.done": record(1.0)}, ["a"]) == []
    metrics = {f"attention.pixel_ap.{name}": record(0.5, 0.4, 0.6) for name in ("heart", "mean")}
    (figure,) = plot_comparison_figures(tmp_path, metrics, ["a"])
    assert figure.path.name == "attention.png"
    assert "baselines" not in figure.caption
    metrics["prior.pixel_ap.heart"] = record(0.5, 0.4, 0.6)
    (figure,) = plot_comparison_figures(tmp_path, metrics, ["a"])
    assert "The priors as predictors are the baselines." in figure.caption
    assert {path.name for path in tmp_path.iterdir()} == {"attention.png", "attention.svg"}
