"""Who is compared with whom, and in which words."""

import pytest

from medprior.evaluate.report.summary import (
    HeadlineDifference,
    find_source_keys,
    format_headline_difference,
    format_headlines,
    format_interval,
    format_number,
    group_attention_records,
    invert_verdict,
    list_arm_prefixes,
    list_headline_differences,
    list_key_findings,
    list_key_suffixes,
    list_scored_structures,
)
from tests.evaluate.records import record

PRIMARY = {"attention": "span", "classification": "ours", "segmentation": "masks"}


def test_the_first_arm_has_plain_keys():
    assert list_arm_prefixes(["a", "b"]) == {"a": "", "b": "baseline.b."}


def test_sources_of_a_key_are_the_primary_baselines_priors_and_random_weights():
    metrics = dict.fromkeys(
        [
            "attention.pixel_ap.heart", "baseline.b.attention.pixel_ap.heart", "prior.pixel_ap.heart",
            "registered_prior.pixel_ap.heart", "features.knn_mauc", "features.random_knn_mauc",
            "baseline.other.classification.mauc",
        ]
    )  # fmt: skip
    assert find_source_keys(metrics, "attention.pixel_ap.heart", PRIMARY) == {
        "span": "attention.pixel_ap.heart",
        "b": "baseline.b.attention.pixel_ap.heart",
        "static prior": "prior.pixel_ap.heart",
        "registered prior": "registered_prior.pixel_ap.heart",
    }
    # Features are those of the backbone.
    assert find_source_keys(metrics, "features.knn_mauc", PRIMARY) == {
        "span": "features.knn_mauc", "random weights": "features.random_knn_mauc",
    }  # fmt: skip
    # The primary result may lack what a baseline has.
    assert find_source_keys(metrics, "classification.mauc", PRIMARY) == {"other": "baseline.other.classification.mauc"}
    assert find_source_keys(metrics, "features.knn_mauc", {})["primary"] == "features.knn_mauc"


def test_structures_are_sorted_with_the_mean_last():
    metrics = dict.fromkeys(
        ["attention.pixel_ap.zone", "attention.pixel_ap.mean", "baseline.b.attention.pixel_ap.heart",
         "difference.b.attention.pixel_ap.gap", "prior.pixel_ap.aorta"]
    )  # fmt: skip
    assert list_key_suffixes(metrics, "attention.pixel_ap") == ["heart", "zone", "mean"]
    assert list_scored_structures(metrics) == ["aorta", "heart", "zone", "mean"]
    records = {"prior.pixel_ap.aorta": record(0.5), "attention.pixel_ap.mean": record(0.4)}
    assert group_attention_records(records, "span") == [
        ("aorta", {"static prior": record(0.5)}),
        ("mean", {"span": record(0.4)}),
    ]


def test_a_comparison_is_of_the_primary_against_the_baseline():
    metrics = {
        "difference.b.classification.mauc": record(0.1, 0.05, 0.2),
        "difference.random_weights.features.knn_mauc": record(-0.1, -0.2, 0.1),
        "difference.b.attention.spatial_entropy": record(0.1, 0.05, 0.2),
        "difference.b.classification.auc.effusion": record(0.1, 0.05, 0.2),
    }
    assert list_headline_differences(metrics, PRIMARY) == [
        HeadlineDifference("difference.b.classification.mauc", "mAUC", "ours", "b", "better"),
        HeadlineDifference("difference.random_weights.features.knn_mauc", "k-NN mAUC", "span", "random weights",
                   "no difference shown"),
        HeadlineDifference("difference.b.attention.spatial_entropy", "spatial entropy", "span", "b", "worse"),
    ]  # fmt: skip


def test_an_inverted_verdict_is_that_on_the_other():
    verdicts = ("better", "worse", "no difference shown", "not measured")
    assert [invert_verdict(verdict) for verdict in verdicts] == ["worse", "better", *verdicts[2:]]


def test_numbers_have_three_decimals_and_a_true_minus():
    assert format_number(-0.12345) == "−0.123"
    assert format_number(0.1, signed=True) == "+0.100"
    assert format_number(None) == "–"
    assert format_interval(record(0.5, -0.1, 0.2), signed=True) == "−0.100 to +0.200"
    assert format_interval(record(0.5, None, 0.2)) == ""


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (record(0.1, 0.05, 0.2), "Linear-probe mAUC: span is better than b (+0.100, 95 % interval +0.050 to +0.200)."),
        (record(-0.1, -0.2, -0.05),
         "Linear-probe mAUC: span is worse than b (−0.100, 95 % interval −0.200 to −0.050)."),
        (record(0.1, -0.1, 0.2),
         "Linear-probe mAUC: no difference shown between span and b (+0.100, 95 % interval −0.100 to +0.200)."),
        (record(None), "Linear-probe mAUC: span against b could not be measured."),
    ],
)  # fmt: skip
def test_sentences(difference, sentence):
    metrics = {"difference.b.features.linear_mauc": difference}
    (comparison,) = list_headline_differences(metrics, PRIMARY)
    assert format_headline_difference(comparison, metrics) == sentence


def test_a_name_in_capitals_is_not_changed():
    key = "difference.b.classification.mauc"
    comparison = HeadlineDifference(key, "mAUC", "ours", "b", "not measured")
    assert format_headline_difference(comparison, {key: record(None)}).startswith("mAUC: ours")


def test_headlines_print_sources_then_verdicts():
    metrics = {
        "classification.mauc": record(0.9, 0.8, 1.0),
        "baseline.b.classification.mauc": record(0.7, 0.6, 0.8),
        "difference.b.classification.mauc": record(0.2, 0.1, 0.3),
    }
    lines = [" ".join(line.split()) for line in format_headlines(metrics, PRIMARY).splitlines()]
    assert lines == [
        "mAUC ours 0.900 [0.800 to 1.000] n=9",
        "mAUC b 0.700 [0.600 to 0.800] n=9",
        "mAUC ours vs b: +0.200 [+0.100 to +0.300] better",
    ]


def test_key_findings_are_one_sentence_per_quantity():
    metrics = {
        "difference.b.classification.mauc": record(0.2, 0.1, 0.3),
        "difference.c.classification.mauc": record(0.3, 0.1, 0.4),
        "classification.mauc": record(0.9, 0.8, 1.0),
        "classification.map": record(0.5, 0.4, 0.6),
        "segmentation.dice.mean": record(0.91, 0.9, 0.92),
        "features.knn_mauc": record(0.6, 0.5, 0.7),
        "attention.pixel_ap.mean": record(0.4, None, None),
    }
    assert list_key_findings(metrics, PRIMARY) == [
        "mAUC: ours is better than b (+0.200, 95 % interval +0.100 to +0.300).",
        "mAP of ours: 0.500, 95 % interval 0.400 to 0.600.",
        "Dice of masks: 0.910, 95 % interval 0.900 to 0.920.",
    ]
    assert list_key_findings({}, PRIMARY) == []
