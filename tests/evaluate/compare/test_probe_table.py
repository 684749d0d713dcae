"""Probes of every arm against random weights, as Markdown."""

from medprior.evaluate.compare.probe_table import (
    format_probe_tables,
    list_crossval_columns,
    list_probe_columns,
)
from tests.evaluate.records import record


def test_table_says_who_is_above_random_weights():
    metrics = {
        "features.linear_mauc": record(0.7, 0.6, 0.8),
        "baseline.other.features.linear_mauc": record(0.9, 0.8, 0.95),
        "features.random_linear_mauc": record(0.72, 0.6, 0.8),
        "difference.random_weights.features.linear_mauc": record(-0.02, -0.05, 0.01),
        "baseline.other.difference.random_weights.features.linear_mauc": record(0.1, 0.05, 0.2),
    }
    table = format_probe_tables(metrics, ["first", "other", "scratch"])
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert rows == [
        "| first | 0.700 [0.600, 0.800] |",
        "| other | 0.900 [0.800, 0.950] ▲ |",
        "| random weights | 0.720 [0.600, 0.800] |",
    ]
    assert format_probe_tables({}, ["first"]) == ""


def test_columns_are_those_that_any_arm_has():
    metrics = {
        "baseline.other.features.knn_mauc": record(0.5),
        "features.crossval_unseen_linear_mauc": record(0.5),
        "features.random_crossval_knn_mauc": record(0.5),
    }
    assert list_probe_columns(metrics) == [("features.knn_mauc", "k-NN mAUC")]
    assert list_crossval_columns(metrics) == [
        ("features.crossval_unseen_linear_mauc", "linear probe mAUC, outside the train split")
    ]


def test_an_arm_below_random_weights_points_down_and_cross_validation_is_apart():
    metrics = {
        "features.knn_mauc": record(0.4, 0.3, 0.5),
        "difference.random_weights.features.knn_mauc": record(-0.2, -0.3, -0.1),
        "features.crossval_knn_mauc": record(0.6, 0.5, 0.7),
    }
    text = format_probe_tables(metrics, ["first", "other"])
    assert "| first | 0.400 [0.300, 0.500] ▼ |" in text
    assert text.index("## frozen features;") < text.index("## frozen features, cross-validated;")
    assert "| arm | k-NN mAUC, all patients |" in text
    assert "| other" not in text
