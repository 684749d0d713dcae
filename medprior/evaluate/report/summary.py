"""Summary of `metrics.json`: keys by source, headline comparisons and their verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medprior.metrics.differences import ATTENTION_KINDS, describe_difference

Record = dict[str, Any]
ReportMetrics = Mapping[str, Record]
PrimaryNames = Mapping[str, str]
BASELINE_NAMES = {
    "prior": "static prior",
    "registered_prior": "registered prior",
    "random_weights": "random weights",
}
PRIMARY_KINDS = {
    "attention": "attention",
    "finetuned_attention": "classification",
    "classification": "classification",
    "segmentation": "segmentation",
    "cardiothoracic": "segmentation",
    "cardiothoracic_published": "segmentation",
    "features": "attention",  # frozen features belong to the primary backbone
}
HEADLINES = (
    ("attention.pixel_ap.mean", "attention pixel-AP"),
    ("classification.mauc", "mAUC"),
    ("classification.map", "mAP"),
    ("segmentation.dice.mean", "Dice"),
    ("features.linear_mauc", "linear-probe mAUC"),
    ("features.pooled_linear_mauc", "linear-probe mAUC, pooled tokens"),
    ("features.knn_mauc", "k-NN mAUC"),
    ("finetuned_attention.pixel_ap.mean", "attention pixel-AP, fine-tuned"),
    ("attention.spatial_entropy", "spatial entropy"),
    ("finetuned_attention.spatial_entropy", "spatial entropy, fine-tuned"),
)


@dataclass(frozen=True)
class HeadlineDifference:
    """One headline difference with its verdict.

    Attributes:
        key: of `metrics.json`. quantity, primary, baseline: names to print. verdict: in words.
    """

    key: str
    quantity: str
    primary: str
    baseline: str
    verdict: str


def list_arm_prefixes(recipes: Sequence[str]) -> dict[str, str]:
    """Arm of a comparison -> prefix of its keys."""
    return {name: f"baseline.{name}." if number else "" for number, name in enumerate(recipes)}


def find_source_keys(metrics: ReportMetrics, key: str, primary: PrimaryNames) -> dict[str, str]:
    """Source name -> its key, for every result that has `key`, the primary one first.

    The priors are sources of attention, and random weights of features.
    """
    kind, _, suffix = key.partition(".")
    keys = {primary.get(PRIMARY_KINDS.get(kind, kind), "primary"): key}
    for name in dict.fromkeys(metric_key.split(".")[1] for metric_key in metrics if metric_key.startswith("baseline.")):
        keys[name] = f"baseline.{name}.{key}"
    if kind in ATTENTION_KINDS:
        keys |= {BASELINE_NAMES[prior]: f"{prior}.{suffix}" for prior in ("prior", "registered_prior")}
    if kind == "features":
        keys[BASELINE_NAMES["random_weights"]] = f"features.random_{suffix}"
    return {name: source_key for name, source_key in keys.items() if source_key in metrics}


def list_key_suffixes(metrics: ReportMetrics, prefix: str) -> list[str]:
    """Last part of every key that starts with `prefix.`, `mean` last."""
    patterns = (f"{prefix}.", f".{prefix}.")
    suffixes = {
        key.rpartition(".")[2]
        for key in metrics
        if key.startswith(patterns[0]) or (key.startswith("baseline.") and patterns[1] in key)
    }
    return sorted(suffixes - {"mean"}) + (["mean"] if "mean" in suffixes else [])


def list_scored_structures(metrics: ReportMetrics, kind: str = "attention") -> list[str]:
    """Structures that any map was scored on, `mean` last; `kind` is one of `ATTENTION_KINDS`."""
    names = {*list_key_suffixes(metrics, f"{kind}.pixel_ap"), *list_key_suffixes(metrics, "prior.pixel_ap")}
    return [*sorted(names - {"mean"}), "mean"]


def group_attention_records(
    metrics: ReportMetrics, primary: str, kind: str = "attention"
) -> list[tuple[str, dict[str, Record]]]:
    """(structure, source -> pixel-AP record) for every structure and the mean."""
    groups = []
    for name in list_scored_structures(metrics, kind):
        keys = find_source_keys(metrics, f"{kind}.pixel_ap.{name}", {PRIMARY_KINDS[kind]: primary})
        groups.append((name, {source: metrics[key] for source, key in keys.items()}))
    return groups


def list_headline_differences(metrics: ReportMetrics, primary: PrimaryNames) -> list[HeadlineDifference]:
    """Every headline difference with its verdict, baselines in the order of the inputs."""
    result = []
    baselines = dict.fromkeys(name.split(".")[1] for name in metrics if name.startswith("difference."))
    for key, quantity in HEADLINES:
        kind = PRIMARY_KINDS[key.partition(".")[0]]
        for baseline in baselines:
            difference_key = f"difference.{baseline}.{key}"
            if difference_key not in metrics:
                continue
            verdict = difference_verdict(metrics[difference_key], key)
            name = BASELINE_NAMES.get(baseline, baseline)
            result.append(HeadlineDifference(difference_key, quantity, primary.get(kind, "primary"), name, verdict))
    return result


def difference_verdict(record: Record, key: str) -> str:
    """Verdict on the record of a difference in `key`."""
    low, high = record["ci95"]
    return describe_difference(record["value"], low, high, key)


def invert_verdict(verdict: str) -> str:
    """The same verdict seen from the second source: better and worse are exchanged, others stay."""
    return {"better": "worse", "worse": "better"}.get(verdict, verdict)


def format_number(value: float | None, signed: bool = False) -> str:
    """Three decimals, a true minus sign, an en dash for unknown."""
    if value is None:
        return "–"
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("-", "−")


def format_interval(record: Record, signed: bool = False) -> str:
    """`0.912 to 0.948`, or "" without an interval."""
    low, high = record["ci95"]
    if low is None or high is None:
        return ""
    return f"{format_number(low, signed)} to {format_number(high, signed)}"


def format_headlines(metrics: ReportMetrics, primary: PrimaryNames) -> str:
    """The table that the command line prints."""
    lines = []
    for key, quantity in HEADLINES:
        for name, source_key in find_source_keys(metrics, key, primary).items():
            record = metrics[source_key]
            text = f"{format_number(record['value'])} [{format_interval(record)}] n={record['n']}"
            lines.append(f"{quantity:<34} {name:<20} {text}")
    for comparison in list_headline_differences(metrics, primary):
        record = metrics[comparison.key]
        text = f"{format_number(record['value'], True)} [{format_interval(record, True)}] {comparison.verdict}"
        lines.append(f"{comparison.quantity:<34} {comparison.primary} vs {comparison.baseline}: {text}")
    return "\n".join(lines)


def capitalise_quantity(quantity: str) -> str:
    """The name of a quantity at the start of a sentence; `mAUC` and the like stay."""
    first_word, space, remainder = quantity.partition(" ")
    return (first_word.capitalize() if first_word.islower() else first_word) + space + remainder


def format_headline_difference(comparison: HeadlineDifference, metrics: ReportMetrics) -> str:
    """A comparison as a sentence of the report."""
    record = metrics[comparison.key]
    quantity = capitalise_quantity(comparison.quantity)
    text = f"{format_number(record['value'], True)}, 95 % interval {format_interval(record, True)}"
    if comparison.verdict == "no difference shown":
        sources = f"{comparison.primary} and {comparison.baseline}"
        return f"{quantity}: no difference shown between {sources} ({text})."
    if comparison.verdict == "not measured":
        return f"{quantity}: {comparison.primary} against {comparison.baseline} could not be measured."
    return f"{quantity}: {comparison.primary} is {comparison.verdict} than {comparison.baseline} ({text})."


def list_key_findings(metrics: ReportMetrics, primary: PrimaryNames, count: int = 3) -> list[str]:
    """The first findings of the report as sentences, one per quantity.

    Differences from the first baseline where there are some; else the values of the primary result.
    """
    first = {item.quantity: item for item in reversed(list_headline_differences(metrics, primary))}
    sentences = [format_headline_difference(first[name], metrics) for _, name in HEADLINES if name in first]
    for key, quantity in HEADLINES:
        record = metrics.get(key, {"ci95": (None, None)})
        if quantity not in first and format_interval(record):
            name = primary.get(PRIMARY_KINDS[key.partition(".")[0]], "the result")
            value = f"{format_number(record['value'])}, 95 % interval {format_interval(record)}"
            sentences.append(f"{capitalise_quantity(quantity)} of {name}: {value}.")
    return sentences[:count]
