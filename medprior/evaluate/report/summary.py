"""The numbers of `metrics.json` arranged for a reader: who scored what, and what it says."""

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
    "features": "attention",  # frozen features belong to the backbone that is primary there
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
class Comparison:
    """One difference in words.

    Attributes:
        key: of `metrics.json`. quantity, ours, other: as words. word: the verdict.
    """

    key: str
    quantity: str
    ours: str
    other: str
    word: str


def list_arm_prefixes(recipes: Sequence[str]) -> dict[str, str]:
    """Arm of a comparison -> what stands before its keys."""
    return {name: f"baseline.{name}." if n else "" for n, name in enumerate(recipes)}


def find_source_keys(metrics: ReportMetrics, key: str, primary: PrimaryNames) -> dict[str, str]:
    """Source name -> its key, for every result that has `key`, the primary one first.

    For attention the priors themselves are sources too, for features the random weights.
    """
    kind, _, rest = key.partition(".")
    found = {primary.get(PRIMARY_KINDS.get(kind, kind), "primary"): key}
    for name in dict.fromkeys(k.split(".")[1] for k in metrics if k.startswith("baseline.")):
        found[name] = f"baseline.{name}.{key}"
    if kind in ATTENTION_KINDS:
        found |= {BASELINE_NAMES[prior]: f"{prior}.{rest}" for prior in ("prior", "registered_prior")}
    if kind == "features":
        found[BASELINE_NAMES["random_weights"]] = f"features.random_{rest}"
    return {name: own for name, own in found.items() if own in metrics}


def list_key_suffixes(metrics: ReportMetrics, prefix: str) -> list[str]:
    """What stands after `prefix.` in any key, `mean` last."""
    leads = (f"{prefix}.", f".{prefix}.")
    found = {
        key.rpartition(".")[2]
        for key in metrics
        if key.startswith(leads[0]) or (key.startswith("baseline.") and leads[1] in key)
    }
    return sorted(found - {"mean"}) + (["mean"] if "mean" in found else [])


def list_scored_structures(metrics: ReportMetrics, kind: str = "attention") -> list[str]:
    """Structures that any map was scored on, `mean` last; `kind` as in `comparison.ATTENTION`."""
    every = {*list_key_suffixes(metrics, f"{kind}.pixel_ap"), *list_key_suffixes(metrics, "prior.pixel_ap")}
    return [*sorted(every - {"mean"}), "mean"]


def group_attention_records(
    metrics: ReportMetrics, primary: str, kind: str = "attention"
) -> list[tuple[str, dict[str, Record]]]:
    """(structure, source -> pixel-AP record) for every structure and the mean."""
    groups = []
    for name in list_scored_structures(metrics, kind):
        keys = find_source_keys(metrics, f"{kind}.pixel_ap.{name}", {PRIMARY_KINDS[kind]: primary})
        groups.append((name, {source: metrics[key] for source, key in keys.items()}))
    return groups


def list_comparisons(metrics: ReportMetrics, primary: PrimaryNames) -> list[Comparison]:
    """Every headline difference with its verdict, baselines in the order they were given."""
    result = []
    for key, quantity in HEADLINES:
        kind = PRIMARY_KINDS[key.partition(".")[0]]
        for other in dict.fromkeys(k.split(".")[1] for k in metrics if k.startswith("difference.")):
            own = f"difference.{other}.{key}"
            if own not in metrics:
                continue
            word = difference_verdict(metrics[own], key)
            name = BASELINE_NAMES.get(other, other)
            result.append(Comparison(own, quantity, primary.get(kind, "primary"), name, word))
    return result


def difference_verdict(record: Record, key: str) -> str:
    """The verdict on a difference's record, of the quantity `key`."""
    low, high = record["ci95"]
    return describe_difference(record["value"], low, high, key)


def format_number(value: float | None, signed: bool = False) -> str:
    """Three decimals, a true minus sign, an en dash for unknown."""
    if value is None:
        return "–"
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("-", "−")


def format_interval(record: Record, signed: bool = False) -> str:
    """`0.912 to 0.948`, or nothing where there is no interval."""
    low, high = record["ci95"]
    if low is None or high is None:
        return ""
    return f"{format_number(low, signed)} to {format_number(high, signed)}"


def format_headlines(metrics: ReportMetrics, primary: PrimaryNames) -> str:
    """The table the command line prints."""
    lines = []
    for key, quantity in HEADLINES:
        for name, own in find_source_keys(metrics, key, primary).items():
            record = metrics[own]
            text = f"{format_number(record['value'])} [{format_interval(record)}] n={record['n']}"
            lines.append(f"{quantity:<34} {name:<20} {text}")
    for found in list_comparisons(metrics, primary):
        record = metrics[found.key]
        text = f"{format_number(record['value'], True)} [{format_interval(record, True)}] {found.word}"
        lines.append(f"{found.quantity:<34} {found.ours} vs {found.other}: {text}")
    return "\n".join(lines)


def format_comparison(found: Comparison, metrics: ReportMetrics) -> str:
    """A comparison as a sentence for the top of the report."""
    record = metrics[found.key]
    first, gap, rest = found.quantity.partition(" ")
    what = (first.capitalize() if first.islower() else first) + gap + rest
    text = f"{format_number(record['value'], True)}, 95 % interval {format_interval(record, True)}"
    if found.word == "no difference shown":
        pair = f"{found.ours} and {found.other}"
        return f"{what}: no difference shown between {pair} ({text})."
    if found.word == "not measured":
        return f"{what}: {found.ours} against {found.other} could not be measured."
    return f"{what}: {found.ours} is {found.word} than {found.other} ({text})."
