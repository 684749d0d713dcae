"""The page of a comparison in a real browser, without a network: every number traced."""

import json

import pytest

from medprior.evaluate.compare.compare import compare_recipes
from medprior.evaluate.compare.tables import list_arm_verdicts
from medprior.evaluate.report.summary import format_interval, format_number
from tests.accessibility import list_violations
from tests.chromium import chromium
from tests.evaluate.comparing import COLLAPSING, TUNING, small
from tests.evaluate.report.test_html import FINDINGS

CNN = {
    "recipe": None,
    "finetune": {
        "classification": {"architecture": "resnet10t", "size": 64},
        "segmentation": {"architecture": "unet"},
    },
}
ARMS = ["dino", "scratch", "cnn", "hot"]
SIGNED = ("difference.", "relative_difference.")


@pytest.fixture(scope="module")
def compared(tmp_path_factory, cohort_path):
    out = tmp_path_factory.mktemp("compare")
    settings = small(
        seeds=1,
        fractions=[1.0, 0.5],
        finetune={
            "classification": TUNING,
            "segmentation": TUNING | {"fractions": [1.0], "masks": [1, 5]},
        },
        arms={"scratch": {"recipe": None}, "cnn": CNN, "hot": COLLAPSING},
    )
    judging = settings.evaluate.model_copy(update={"probe_folds": 3})
    settings = settings.model_copy(update={"evaluate": judging})
    compare_recipes(cohort_path, out, ARMS, settings=settings)
    return out


@pytest.fixture(scope="module")
def page(compared):
    with chromium(1280, 720) as driver:
        driver.get((compared / "report.html").as_uri())
        seen = driver.execute_script(FINDINGS) | {"log": driver.get_log("browser")}
        yield seen | {"violations": list_violations(driver)}


def metrics_of(compared):
    return json.loads((compared / "metrics.json").read_text())


def test_few_labels_and_masks_are_told_in_short(compared):
    metrics = metrics_of(compared)
    verdicts = dict(list_arm_verdicts(metrics, ARMS))
    assert verdicts["hot"] == []
    for arm in ("scratch", "cnn"):
        for key, words in (
            ("50pct.finetuned_mauc", "fine-tuned, mAUC, 50 %"),
            ("masks_5.finetuned_dice", "fine-tuned, Dice, 5 masks"),
        ):
            record = metrics[f"difference.{arm}.low_data.{key}"]
            low, high = record["ci95"]
            word = "worse" if low > 0 else "better" if high < 0 else "no difference shown"
            assert f"{words}: {word}" in verdicts[arm]
    assert not any("100 %" in words for words in verdicts["scratch"])


def test_keys_of_low_data_attention_and_cost(compared):
    metrics = metrics_of(compared)
    for lead in ("", "baseline.scratch.", "baseline.cnn."):
        for key in (
            "classification.mauc", "low_data.50pct.finetuned_mauc",
            "low_data.masks_1.finetuned_dice", "low_data.masks_5.finetuned_dice",
            "segmentation.dice.mean", "cost.train_seconds",
            "cost.peak_memory_mib",
        ):  # fmt: skip
            assert metrics[lead + key]["value"] >= 0, lead + key
    for key in ("pixel_ap.mean", "pixel_ap.heart", "spatial_entropy"):
        for lead in ("", "baseline.scratch.", "difference.scratch."):
            assert f"{lead}finetuned_attention.{key}" in metrics
        assert f"baseline.cnn.finetuned_attention.{key}" not in metrics
    assert "relative_difference.scratch.finetuned_attention.spatial_entropy" in metrics
    assert metrics["cost.peak_memory_mib"]["value"] > 50
    text = (compared / "low_data.md").read_text()
    assert "| arm | 100 % | 1 mask | 5 masks |" in text


@pytest.mark.browser
def test_opens_offline_and_whole(page):
    assert page["requests"] == []
    assert page["log"] == []
    assert len(page["pictures"]) == 3
    assert all(loaded for _, loaded in page["pictures"])
    assert page["overflow"] <= 0
    assert page["anchors"] == 0
    assert page["violations"] == []


@pytest.mark.browser
def test_every_number_is_in_metrics_json(page, compared):
    metrics = metrics_of(compared)
    assert len(page["values"]) > 60
    for key, text in page["values"]:
        assert text == format_number(metrics[key]["value"], signed=key.startswith(SIGNED)), key
    for key, text in page["intervals"]:
        assert text == format_interval(metrics[key], signed=key.startswith(SIGNED)), key
    assert {key for key, _ in page["counts"]} >= {"runs.done", "cost.peak_memory_mib"}
    for key, text in page["counts"]:
        assert text == f"{metrics[key]['value']:,.0f}", key


@pytest.mark.browser
def test_says_what_a_reviewer_asks(page):
    text = page["text"].lower()
    for words in (
        "medprior compare cohort evidence --recipes dino scratch cnn hot", "cohort digest",
        "1 of 1 collapsed", "of ln k at step", "peak memory (mib)",
        "fewer labels: fine-tuned, dice", "5 masks", "settings.json", "limits of use",
        "one of the two has no finished run",
        "spatial entropy", "95\u00a0%",
    ):  # fmt: skip
        assert words in text, words
