"""Which numbers of a result stand in a list of runs."""

from medprior.metrics.headlines import HEADLINE_KEYS, MAX_METRICS, select_headline_metrics


def test_a_result_with_few_numbers_keeps_all_with_their_intervals():
    values = {f"k{n}{end}": float(n) for n in range(MAX_METRICS) for end in ("", ".lo", ".hi")}
    assert select_headline_metrics(values) == values


def test_a_result_with_many_keeps_its_headlines_without_those_of_baselines():
    values = {f"classification.auc.label{n}": 0.5 for n in range(MAX_METRICS)}
    values |= {"classification.mauc": 0.8, "classification.mauc.lo": 0.7, "baseline.b.classification.mauc": 0.6}
    values |= {"segmentation.dice.mean": 0.9}
    assert select_headline_metrics(values) == {"classification.mauc": 0.8, "segmentation.dice.mean": 0.9}


def test_there_are_about_twenty_of_them_each_once():
    assert 15 <= len(set(HEADLINE_KEYS)) == len(HEADLINE_KEYS) <= MAX_METRICS
