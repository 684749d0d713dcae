"""Home against away for a reader."""

import json

import pytest

from medprior.evaluate.report.external_table import format_external_table, list_external_cohorts, list_external_rows


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
    assert (planted_evidence / "figures" / "external_away.png").stat().st_size > 5000


def test_the_report_shows_home_against_away(planted_evidence, metrics):
    page = (planted_evidence / "report.html").read_text()
    assert "External test: away" in page
    for _, here, there, drop in list_external_rows(metrics, "away"):
        for key in (here, there, drop):
            assert f'data-key="{key}"' in page
    assert "--external away=COHORT" in page
