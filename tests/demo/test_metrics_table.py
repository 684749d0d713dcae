import json

import pytest

from medprior.demo.metrics_table import (
    build_summary_table,
    format_metric_cell,
    format_teacher_entropies,
    format_text_table,
    metric_key,
    read_demo_metrics,
)
from medprior.provenance import write_config


def test_table_shows_numbers_and_leaves_out_what_is_not_there():
    record = {"value": 0.5, "ci95": [0.4, 0.6], "n": 9}
    metrics = {"attention.pixel_ap.heart": record, "prior.pixel_ap.heart": record}
    table = build_summary_table(metrics)
    assert table[0] == ["test split", "AP heart"]
    assert [line[0] for line in table[1:]] == ["SPAN", "static prior"]
    assert "0.500 [0.400, 0.600]" in format_text_table(table)
    assert format_metric_cell({"x": {"value": None, "ci95": [None, None], "n": 0}}, "x") == "-"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (None, "-"),
        ({"value": None, "ci95": [0.1, 0.2]}, "-"),
        ({"value": float("nan"), "ci95": [0.1, 0.2]}, "-"),
        ({"value": 0.0, "ci95": [0.0, 0.1236]}, "0.000 [0.000, 0.124]"),
        ({"value": 0.5, "ci95": [None, 0.2]}, "0.500"),
    ],
)
def test_a_cell_is_a_number_with_its_interval_where_there_is_one(record, expected):
    assert format_metric_cell({} if record is None else {"key": record}, "key") == expected


@pytest.mark.parametrize(
    ("model", "column", "key"),
    [
        ("SPAN", "features.knn_mauc", "features.knn_mauc"),
        ("deployed model", "classification.mauc", "deployed.classification.mauc"),
        ("DINO", "attention.pixel_ap.mean", "baseline.DINO.attention.pixel_ap.mean"),
        ("static prior", "attention.pixel_ap.mean", "prior.pixel_ap.mean"),
        ("registered prior", "attention.pixel_ap.mean", "registered_prior.pixel_ap.mean"),
        ("random weights", "features.knn_mauc", "features.random_knn_mauc"),
        ("random weights", "attention.pixel_ap.mean", "-"),
    ],
)
def test_each_model_has_its_keys(model, column, key):
    assert metric_key(model, column) == key


def test_the_deployed_model_has_evidence_of_its_own(tmp_path):
    for name, value in (("evidence", 0.5), ("evidence_findings", 0.9)):
        (tmp_path / name).mkdir()
        record = {"value": value, "ci95": [0.4, 1.0], "n": 9}
        (tmp_path / name / "metrics.json").write_text(json.dumps({"classification.mauc": record}))
    table = build_summary_table(read_demo_metrics(tmp_path))
    assert [line[:2] for line in table[1:]] == [
        ["deployed model", "0.900 [0.400, 1.000]"],
        ["SPAN", "0.500 [0.400, 1.000]"],
    ]


def test_columns_are_as_wide_as_their_widest_cell():
    assert format_text_table([["a", "bb"], ["ccc", "d"]]).splitlines() == ["a    bb", "---  --", "ccc  d "]


def test_entropies_stand_beside_those_of_a_collapse(tmp_path):
    for recipe, entropy in (("span", 1.234), ("dino", 2.0)):
        training = {"teacher_entropy": entropy, "uniform_entropy": 2.7726, "feature_std": 0.5}
        write_config(tmp_path / f"backbone_{recipe}", "pretrain", {}, facts={"training": training})
    assert format_teacher_entropies(tmp_path) == (
        "teacher entropy: SPAN 1.23 (ln K 2.77, feature std 0.50), DINO 2.00 (ln K 2.77, feature std 0.50)"
    )
