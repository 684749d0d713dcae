"""Home against away for a reader."""

import json

import pytest

from medprior.evaluate.report.external_table import format_external_table, list_external_cohorts, list_external_rows
from medprior.provenance import read_config
from tests.evaluate.records import record


@pytest.fixture(scope="module")
def metrics(planted_evidence):
    return json.loads((planted_evidence / "metrics.json").read_text())


def test_the_table_for_a_reader(metrics, planted_evidence):
    assert list_external_cohorts(metrics) == ["away"]
    assert next(word for word, *_ in list_external_rows(metrics, "away")) == "mAUC"
    text = format_external_table(metrics)
    assert "40 left out" in text
    assert "drop" in text
    assert format_external_table({}) == ""
    assert "figures/external_away.png" in read_config(planted_evidence)["outputs"]


def test_the_report_shows_home_against_away(planted_evidence, metrics):
    page = (planted_evidence / "report.html").read_text()
    assert "External test: away" in page
    for _, here, there, drop in list_external_rows(metrics, "away"):
        for key in (here, there, drop):
            assert f'data-key="{key}"' in page
    assert "--external away=COHORT" in page


def record_drop(key):
    sides = {"": 0.7, "home.": 0.9, "drop.": -0.2}
    return {f"external.away.{side}{key}": record(value, value - 0.1, value + 0.1) for side, value in sides.items()}


def test_rows_are_metrics_in_reading_order_and_labels_last():
    metrics = {
        **record_drop("classification.auc.pleural_effusion"),
        **record_drop("features.knn_mauc"),
        **record_drop("classification.mauc"),
        "external.away.classification.map": record(0.5),
    }
    rows = list(list_external_rows(metrics, "away"))
    assert [row[0] for row in rows] == ["mAUC", "k-NN mAUC", "AUC pleural effusion"]
    assert rows[0][1:] == tuple(f"external.away.{side}classification.mauc" for side in ("home.", "", "drop."))


def test_cohorts_are_named_once_in_order():
    metrics = dict.fromkeys(["external.b.x", "external.a.x", "external.b.y", "baseline.m.external.c.x"])
    assert list_external_cohorts(metrics) == ["b", "a"]


def test_a_line_has_home_away_and_a_signed_drop():
    metrics = record_drop("classification.mauc")
    metrics |= {"external.away.data.images": record(60.0), "external.away.data.left_out": record(1.0)}
    first, second = format_external_table(metrics).splitlines()
    assert first == "external away: 60 images, 1 left out as known at home"
    assert " ".join(second.split()) == (
        "mAUC home 0.900 [0.800 to 1.000] away 0.700 [0.600 to 0.800] drop −0.200 [−0.300 to −0.100]"
    )
