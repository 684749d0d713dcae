"""The table of the arms: cells, signs and columns that are left out."""

from medprior.evaluate.compare.markdown import (
    build_arm_table,
    format_arm_marker,
    format_arm_title,
    format_cell,
    format_cost_ratio,
    format_markdown_table,
    format_value,
)
from tests.evaluate.records import record


def test_cells_show_the_interval_where_there_is_one():
    assert format_cell(record(0.9116, 0.9, 0.9234)) == "0.912 [0.900, 0.923]"
    assert format_cell(record(0.5, None, 0.9)) == "0.500"
    assert format_cell(record(None)) == format_cell(None) == "-"
    assert format_value(record(5.5468)) == "5.55"
    assert format_value(record(None)) == "-"


def test_a_cost_is_a_multiple_of_the_first_arms():
    assert format_cost_ratio(record(3.0), record(2.0)) == "1.50"
    assert format_cost_ratio(record(3.0), record(0.0)) == format_cost_ratio(None, record(2.0)) == "-"


def test_a_sign_is_from_the_view_of_the_arm_not_of_the_first():
    """The difference is first - other: above 0 the first has the higher AUC, or the worse entropy."""
    metrics = {
        "difference.a.features.linear_mauc": record(0.2, 0.1, 0.3),
        "difference.b.features.linear_mauc": record(-0.2, -0.3, -0.1),
        "difference.c.features.linear_mauc": record(0.2, -0.1, 0.3),
        "difference.a.attention.spatial_entropy": record(0.2, 0.1, 0.3),
    }
    signs = [format_arm_marker(metrics, name, "features.linear_mauc") for name in "abcd"]
    assert signs == [" ▼", " ▲", "", ""]
    assert format_arm_marker(metrics, "a", "attention.spatial_entropy") == " ▲"


def test_a_title_tells_lost_runs():
    failures = [{"stage": "backbone", "kind": "collapsed"}]
    metrics = {
        "runs.lost": {"of": 2, "failures": failures},
        "runs.done": {"value": 1.0},
        "baseline.b.runs.lost": {"of": 1, "failures": failures},
        "baseline.b.runs.done": {"value": 0.0},
    }
    assert format_arm_title(metrics, "a", "") == "a (1 of 2 collapsed)"
    assert format_arm_title(metrics, "b", "baseline.b.") == "b (1 of 1 collapsed; no run finished)"
    assert format_arm_title(metrics, "c", "baseline.c.") == "c"


def test_rows_of_arms_random_weights_and_priors():
    metrics = {
        "attention.pixel_ap.mean": record(0.4),
        "baseline.b.features.knn_mauc": record(0.6),
        "features.random_knn_mauc": record(0.5),
        "baseline.b.features.teacher_entropy": record(1.25),
        "cost.step_seconds": record(2.0),
        "baseline.b.cost.step_seconds": record(4.0),
        "prior.pixel_ap.mean": record(0.7),
    }
    assert build_arm_table(metrics, ["a", "b"]) == [
        ["arm", "attention pixel-AP", "k-NN mAUC", "teacher entropy", "step, of the first"],
        ["a", "0.400", "-", "-", "1.00"],
        ["b", "-", "0.600", "1.25", "2.00"],
        ["random weights", "-", "0.500", "-", "-"],
        ["static prior", "0.700", "-", "-", "-"],
    ]


def test_the_first_row_is_the_head():
    assert format_markdown_table([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |\n"
