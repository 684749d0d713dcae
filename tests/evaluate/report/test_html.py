"""The report as a reader meets it: opened in a real browser, without a network."""

import json
import re

import pytest
from PIL import Image

from medprior.evaluate.evaluate import evaluate_cohort
from medprior.evaluate.report.html import embed_figures
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import format_interval, format_number
from medprior.evaluate.settings import EvaluateSettings
from medprior.metrics.differences import describe_difference
from tests.accessibility import list_violations
from tests.chromium import chromium

FINDINGS = """
const entries = performance.getEntriesByType('resource').map(e => e.name);
const cells = s => [...document.querySelectorAll(s)];
return {
  requests: entries.filter(name => !name.startsWith('data:')),
  values: cells('[data-key]').map(e => [e.dataset.key, e.textContent]),
  intervals: cells('[data-interval]').map(e => [e.dataset.interval, e.textContent]),
  counts: cells('[data-count]').map(e => [e.dataset.count, e.textContent]),
  pictures: cells('img').map(e => [e.alt, e.complete && e.naturalWidth > 300]),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  text: document.body.innerText,
  anchors: cells('nav a').filter(a => !document.querySelector(a.getAttribute('href'))).length,
};
"""


@pytest.fixture(scope="module")
def evidence(tmp_path_factory, cohort_path, span_path, dino_path, model_paths):
    out = tmp_path_factory.mktemp("report")
    evaluate_cohort(
        cohort_path,
        out,
        backbone=[("span", span_path), ("dino", dino_path)],
        model=list(model_paths.values()),
        settings=EvaluateSettings.from_values({"resamples": 100, "map_size": 48, "neighbours": 5}),
    )
    return out


@pytest.fixture(scope="module")
def page(evidence):
    with chromium(1200, 1600) as driver:
        driver.get((evidence / "report.html").as_uri())
        seen = driver.execute_script(FINDINGS) | {"log": driver.get_log("browser")}
        yield seen | {"violations": list_violations(driver)}


@pytest.mark.browser
def test_opens_offline_and_whole(page):
    assert page["requests"] == []
    assert page["log"] == []
    assert page["pictures"]
    assert all(loaded for _, loaded in page["pictures"])
    assert page["overflow"] <= 0
    assert page["anchors"] == 0
    assert page["violations"] == []


@pytest.mark.browser
def test_every_number_is_in_metrics_json(page, evidence):
    metrics = json.loads((evidence / "metrics.json").read_text())
    assert len(page["values"]) > 40
    for key, text in page["values"]:
        assert text == format_number(metrics[key]["value"], signed=key.startswith("difference.")), key
    for key, text in page["intervals"]:
        assert text == format_interval(metrics[key], signed=key.startswith("difference.")), key
    for key, text in page["counts"]:
        assert text == f"{metrics[key]['value']:,.0f}", key


@pytest.mark.browser
def test_the_first_screen_names_the_study_and_has_findings_and_one_figure(evidence):
    with chromium(1280, 720) as driver:
        driver.get((evidence / "report.html").as_uri())
        assert re.fullmatch(r"span, ours.* on .+, test split, \d{4}-\d\d-\d\d", driver.title)
        findings = driver.find_elements("css selector", ".verdicts li")
        assert 1 <= len(findings) <= 3
        (figure,) = driver.find_elements("css selector", ".first figure img")
        for element in (*findings, figure):
            assert element.rect["y"] + element.rect["height"] <= 720
        nav = driver.find_element("css selector", "nav")
        driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
        assert driver.execute_script("return arguments[0].getBoundingClientRect().top", nav) == 0


def test_tables_and_figures_are_numbered_and_stand_once_beside_the_page(evidence):
    text = (evidence / "report.html").read_text()
    for kind in ("Figure", "Table"):
        numbers = [int(number) for number in re.findall(rf">{kind} (\d+)\. ", text)]
        assert set(numbers) == set(range(1, max(numbers) + 1)), kind
    titles = re.findall(r"<caption>Table \d+\. (.*)</caption>", text)
    assert len(titles) == len(set(titles)) == len(list((evidence / "tables").glob("*.csv")))
    assert len(list((evidence / "tables").glob("*.tex"))) == len(titles)


@pytest.mark.browser
def test_says_what_a_reviewer_asks(page):
    text = page["text"].lower()
    for words in (
        "limits of use", "for research", "in no mean: never", "medprior evaluate cohort evidence",
        "patients that took no part in training", "cohort digest",
        "no patient is in two splits", "95\u00a0%", "attention per head: span",
    ):  # fmt: skip
        assert words in text, words


def test_verdict_words(evidence):
    assert describe_difference(0.1, 0.02, 0.2, "attention.pixel_ap.mean") == "better"
    assert describe_difference(-0.1, -0.2, -0.02, "classification.mauc") == "worse"
    assert describe_difference(-0.1, -0.2, -0.02, "classification.ece") == "better"
    assert describe_difference(0.1, -0.02, 0.2, "classification.mauc") == "no difference shown"
    assert describe_difference(0.1, 0.0, 0.2, "classification.mauc") == "no difference shown"
    assert describe_difference(None, None, None, "classification.mauc") == "not measured"
    metrics = json.loads((evidence / "metrics.json").read_text())
    spans = [
        key
        for key, r in metrics.items()
        if key == "difference.other.classification.mauc" and r["ci95"][0] <= 0 <= r["ci95"][1]
    ]
    text = (evidence / "report.html").read_text()
    assert ("mAUC: no difference shown between ours and other" in text) == bool(spans)


def test_names_cannot_inject(tmp_path, cohort_path, span_path):
    name = "<script>alert(1)</script>"
    settings = EvaluateSettings.from_values({"resamples": 10, "map_size": 32, "probe": False})
    evaluate_cohort(cohort_path, tmp_path, backbone=(name, span_path), settings=settings)
    assert not re.search(r"<script", (tmp_path / "report.html").read_text())


@pytest.mark.parametrize(
    ("names", "lead"),
    [
        (("roc", "attention_SPAN", "attention_DINO", "attention_compared"), "attention_compared"),
        (("roc", "attention_SPAN"), "attention_SPAN"),
        (("reliability", "roc"), "roc"),
        (("reliability", "bland_altman"), "reliability"),
    ],
)
def test_the_first_screen_shows_attention_side_by_side_where_there_is_more_than_one(names, lead, tmp_path):
    figures = []
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
        figures.append(Figure(tmp_path / f"{name}.png", name, ""))
    assert [item["file"] for item in embed_figures(figures) if item["leads"]] == [f"{lead}.png"]
