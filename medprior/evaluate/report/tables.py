"""Tables of the evaluation report; each cell names its key of `metrics.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medprior.evaluate.compare.probe_table import list_crossval_columns, list_probe_columns
from medprior.evaluate.report.external_table import list_external_cohorts, list_external_rows
from medprior.evaluate.report.style import key_to_words
from medprior.evaluate.report.summary import (
    PrimaryNames,
    ReportMetrics,
    find_source_keys,
    format_interval,
    format_number,
    list_headline_differences,
    list_key_suffixes,
    list_scored_structures,
)


@dataclass(frozen=True)
class ReportCell:
    """A number with its interval and its key; a cell without a key shows `value` as text.

    `is_count` marks a number shown without decimals.
    """

    key: str = ""
    value: str = ""
    interval: str = ""
    is_count: bool = False


@dataclass(frozen=True)
class ReportTable:
    """A table: title, column heads, rows of (name, cells), and a note on how to read it."""

    title: str
    heads: list[str]
    rows: list[tuple[str, list[ReportCell]]]
    note: str


def build_cell(metrics: ReportMetrics, key: str, signed: bool = False) -> ReportCell:
    """The cell of `key`, empty if it is not measured."""
    if key not in metrics:
        return ReportCell()
    record = metrics[key]
    return ReportCell(key, format_number(record["value"], signed), format_interval(record, signed))


def build_source_table(
    metrics: ReportMetrics, primary: PrimaryNames, columns: Sequence[tuple[str, str]], title: str, note: str
) -> ReportTable | None:
    """One row per source, one column per (key, head); None if nothing is measured."""
    keys = {key: find_source_keys(metrics, key, primary) for key, _ in columns}
    names = dict.fromkeys(name for source_keys in keys.values() for name in source_keys)
    rows = [(name, [build_cell(metrics, keys[key].get(name, "")) for key, _ in columns]) for name in names]
    measured = [i for i in range(len(columns)) if any(cells[i].key for _, cells in rows)]
    if not measured:
        return None
    heads = [columns[i][1] for i in measured]
    return ReportTable(title, heads, [(name, [cells[i] for i in measured]) for name, cells in rows], note)


def build_attention_tables(metrics: ReportMetrics, primary: PrimaryNames) -> list[ReportTable | None]:
    """Pixel-AP per structure, and the overlap of thresholded maps."""
    names = list_scored_structures(metrics)
    columns = [(f"attention.pixel_ap.{name}", key_to_words(name)) for name in names]
    overlap = [
        ("attention.iou60.mean", "IoU at 60 % of mass"),
        ("attention.dice_at_threshold.mean", "Dice at one threshold"),
        ("attention.iou_at_threshold.mean", "IoU at one threshold"),
        ("attention.iou_at_annotated_threshold.mean", "IoU, threshold of the drawing"),
        ("attention.instance_ap.mean", "AP@[.5:.95] of instances"),
        ("attention.oracle_pixel_ap.mean", "pixel-AP, oracle head"),
    ]
    return [
        build_source_table(
            metrics,
            primary,
            columns,
            "Attention as a locator: pixel-AP",
            "Area under the pixel-wise precision-recall curve per image, mean over images; chance "
            "is the structure's share of the image. Heads are assigned by the prior they were "
            "trained with, or the best on validation images. The priors themselves are baselines.",
        ),
        build_source_table(
            metrics,
            primary,
            overlap,
            "Attention as a mask: overlap, mean over structures",
            "Pixel-AP rewards soft maps, so overlaps are given as well. The threshold, a share of "
            "each map's maximum, was chosen on validation images. The oracle takes the best single "
            "head image by image: a bound, not a method.",
        ),
    ]


def build_model_tables(metrics: ReportMetrics, primary: PrimaryNames) -> list[ReportTable | None]:
    """Classification and segmentation, one row per model."""
    classification = [
        ("classification.mauc", "mAUC"),
        ("classification.map", "mAP"),
        ("classification.ece", "calibration error"),
        ("classification.sensitivity", "sensitivity"),
        ("classification.specificity", "specificity"),
    ]
    structures = list_key_suffixes(metrics, "segmentation.dice")
    dice_columns = [(f"segmentation.dice.{name}", f"Dice {key_to_words(name)}") for name in structures]
    other_columns = [
        ("segmentation.iou.mean", "IoU, mean"),
        ("segmentation.hd95_percent.mean", "HD95, mean (% of the longer side)"),
        ("segmentation.hd95_mm.mean", "HD95, mean (mm)"),
    ]
    return [
        build_source_table(
            metrics,
            primary,
            classification,
            "Findings: means over labels",
            "Labels without both classes in this split are left out of the means and named below. "
            "Thresholds were chosen on validation images.",
        ),
        build_source_table(
            metrics,
            primary,
            dice_columns + other_columns,
            "Segmentation",
            "Mean over images whose true mask is not empty. HD95 in mm where the pixel size is known.",
        ),
        build_source_table(
            metrics,
            primary,
            [
                ("cardiothoracic.mae", "mean absolute error"),
                ("cardiothoracic.bias", "bias"),
                ("cardiothoracic.limit_low", "lower limit of agreement"),
                ("cardiothoracic.limit_high", "upper limit of agreement"),
                ("cardiothoracic.measured", "measured"),
                ("cardiothoracic.auc_50", "AUC for ratios above 0.5"),
                ("cardiothoracic.auc_55", "AUC for ratios above 0.55"),
                ("cardiothoracic.auc_label", "AUC for the label cardiomegaly"),
                ("cardiothoracic_published.mae", "mean absolute error, published"),
                ("cardiothoracic_published.bias", "bias, published"),
            ],
            "Cardiothoracic ratio",
            "From the model's masks against from the true masks, frontal views. 95 % of the "
            "differences lie between the limits (Bland and Altman 1986). Measured: share of the "
            "images with a true ratio in which the model gives one. Published: against the ratio that "
            "came with the data set.",
        ),
    ]


def build_feature_table(metrics: ReportMetrics, primary: PrimaryNames) -> ReportTable | None:
    """Frozen features: probes and teacher statistics."""
    columns = [
        *list_probe_columns(metrics),
        ("features.teacher_entropy", "teacher entropy (nats)"),
        ("features.uniform_entropy", "ln K (nats)"),
    ]
    return build_source_table(
        metrics,
        primary,
        columns,
        "Frozen features",
        "Logistic regression and k nearest neighbours on features of the frozen backbone; random "
        "weights of the same shape are the floor. A teacher entropy at ln K means collapse.",
    )


def build_crossval_table(metrics: ReportMetrics, primary: PrimaryNames) -> ReportTable | None:
    """Cross-validated frozen features of all patients of the cohort."""
    return build_source_table(
        metrics,
        primary,
        list_crossval_columns(metrics),
        "Frozen features, cross-validated",
        "Every patient of the cohort is scored once, by probes of other patients; the backbone has "
        "seen those of the train split without their labels.",
    )


def build_label_table(metrics: ReportMetrics) -> ReportTable | None:
    """The primary model label by label."""
    labels = list_key_suffixes(metrics, "classification.auc")
    if not labels:
        return None
    kinds = ("auc", "ap", "sensitivity", "specificity", "ece")
    per_class = metrics["classification.mauc"]["per_class"]
    rows = []
    for label in labels:
        counts = per_class.get(label, {})
        name = f"{key_to_words(label)} ({counts.get('positives', 0)} of "
        name += f"{counts.get('positives', 0) + counts.get('negatives', 0)})"
        rows.append((name, [build_cell(metrics, f"classification.{kind}.{label}") for kind in kinds]))
    heads = ["AUC", "AP", "sensitivity", "specificity", "calibration error"]
    note = "The primary model; in brackets positive and known images. Rates with Wilson's interval."
    return ReportTable("Findings, label by label", heads, rows, note)


def build_subgroup_table(metrics: ReportMetrics) -> ReportTable | None:
    """Mean AUC of the primary model in every subgroup."""
    rows = []
    for key, record in metrics.items():
        if key.startswith("subgroup."):
            _, column, value = key.removesuffix(".mauc").split(".", 2)
            rows.append((f"{column} {key_to_words(value)} ({record['n']} images)", [build_cell(metrics, key)]))
    note = (
        "The primary model; groups of 20 images or more. A label without both classes in a group "
        "is left out there, so small groups may rest on fewer labels."
    )
    return ReportTable("Findings, by subgroup", ["mAUC"], rows, note) if rows else None


def build_difference_table(metrics: ReportMetrics, primary: PrimaryNames) -> ReportTable | None:
    """Every headline difference with its verdict."""
    rows = [
        (
            f"{comparison.quantity}: {comparison.primary} − {comparison.baseline}",
            [build_cell(metrics, comparison.key, signed=True), ReportCell(value=comparison.verdict)],
        )
        for comparison in list_headline_differences(metrics, primary)
    ]
    if not rows:
        return None
    note = (
        "Paired differences: both sides on the same resampled patients. Where the interval spans "
        "0, no difference is shown; that is not proof of equality."
    )
    return ReportTable("Is it better, and how sure", ["difference", "verdict"], rows, note)


def build_finding_table(metrics: ReportMetrics) -> ReportTable | None:
    """Localisation of findings: one row per map, means over findings."""
    prefix = "localisation."
    maps = dict.fromkeys(key.split(".")[1] for key in metrics if key.startswith(prefix))
    columns = {"pointing": "hits", "energy": "energy inside", "iou": "IoU", "pixel_ap": "pixel-AP"}
    rows = [
        (key_to_words(name), [build_cell(metrics, f"{prefix}{name}.{kind}.mean") for kind in columns]) for name in maps
    ]
    if not rows:
        return None
    note = (
        "Primary classifier; images with the finding and a mask or box of it; means over findings. "
        "A hit: the map's maximum lies on the finding. The uniform, centre and prior maps do not use "
        "the image."
    )
    return ReportTable("Where the finding is", list(columns.values()), rows, note)


def build_external_tables(metrics: ReportMetrics) -> list[ReportTable]:
    """Home against away, one table per external cohort."""
    tables = []
    for name in list_external_cohorts(metrics):
        rows = [
            (
                metric_name,
                [build_cell(metrics, home), build_cell(metrics, away), build_cell(metrics, drop, signed=True)],
            )
            for metric_name, home, away, drop in list_external_rows(metrics, name)
        ]
        note = (
            "Nothing was trained, chosen or calibrated on the other cohort; patients known at home "
            "are left out. The drop is away - home, from independent resamples."
        )
        tables.append(ReportTable(f"External test: {name}", ["home", "away", "drop"], rows, note))
    return tables


def build_evaluation_tables(metrics: ReportMetrics, primary: PrimaryNames) -> list[ReportTable]:
    """All tables that are not empty, in reading order."""
    tables = [
        build_difference_table(metrics, primary),
        *build_attention_tables(metrics, primary),
        *build_model_tables(metrics, primary),
        build_label_table(metrics),
        build_subgroup_table(metrics),
        build_feature_table(metrics, primary),
        build_crossval_table(metrics, primary),
        build_finding_table(metrics),
        *build_external_tables(metrics),
    ]
    return [table for table in tables if table is not None]
