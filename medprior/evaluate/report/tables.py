"""The tables of the report; every cell names the key of `metrics.json` that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medprior.evaluate.compare.probe_table import crossval_columns, probe_columns
from medprior.evaluate.report.external_table import cohorts
from medprior.evaluate.report.external_table import rows as external_rows
from medprior.evaluate.report.style import spoken
from medprior.evaluate.report.summary import (
    Metrics,
    Primary,
    comparisons,
    interval,
    located,
    number,
    parts,
    sources,
)


@dataclass(frozen=True)
class Cell:
    """A number with its interval, and the key it comes from; an empty key is an empty cell.

    `whole` says that it is shown without decimals, as counts are.
    """

    key: str = ""
    value: str = ""
    interval: str = ""
    whole: bool = False


@dataclass(frozen=True)
class Table:
    """A table: title, column heads, rows of (name, cells), and a note on how to read it."""

    title: str
    heads: list[str]
    rows: list[tuple[str, list[Cell]]]
    note: str


def cell(metrics: Metrics, key: str, signed: bool = False) -> Cell:
    """The cell of `key`, empty where it was not measured."""
    if key not in metrics:
        return Cell()
    record = metrics[key]
    return Cell(key, number(record["value"], signed), interval(record, signed))


def by_source(
    metrics: Metrics, primary: Primary, columns: Sequence[tuple[str, str]], title: str, note: str
) -> Table | None:
    """One row per source, one column per (key, head); None when nothing was measured."""
    keys = {key: sources(metrics, key, primary) for key, _ in columns}
    names = dict.fromkeys(name for found in keys.values() for name in found)
    rows = [
        (name, [cell(metrics, keys[key].get(name, "")) for key, _ in columns]) for name in names
    ]
    shown = [i for i in range(len(columns)) if any(cells[i].key for _, cells in rows)]
    if not shown:
        return None
    heads = [columns[i][1] for i in shown]
    return Table(title, heads, [(name, [cells[i] for i in shown]) for name, cells in rows], note)


def attention_tables(metrics: Metrics, primary: Primary) -> list[Table | None]:
    """Pixel-AP per structure, then overlaps of thresholded maps."""
    names = located(metrics)
    columns = [(f"attention.pixel_ap.{name}", spoken(name)) for name in names]
    overlap = [
        ("attention.iou60.mean", "IoU at 60 % of mass"),
        ("attention.dice_at_threshold.mean", "Dice at one threshold"),
        ("attention.iou_at_threshold.mean", "IoU at one threshold"),
        ("attention.iou_at_annotated_threshold.mean", "IoU, threshold of the drawing"),
        ("attention.instance_ap.mean", "AP@[.5:.95] of instances"),
        ("attention.oracle_pixel_ap.mean", "pixel-AP, oracle head"),
    ]
    return [
        by_source(
            metrics,
            primary,
            columns,
            "Attention as a locator: pixel-AP",
            "Area under the pixel-wise precision-recall curve per image, mean over images; chance "
            "is the structure's share of the image. Heads are assigned by the prior they were "
            "trained with, or the best on validation images. The priors themselves are predictors "
            "to beat.",
        ),
        by_source(
            metrics,
            primary,
            overlap,
            "Attention as a mask: overlap, mean over structures",
            "Pixel-AP rewards soft maps, so overlaps stand beside it. The threshold, a share of "
            "each map's maximum, was chosen on validation images. The oracle takes the best single "
            "head image by image: a bound, not a method.",
        ),
    ]


def model_tables(metrics: Metrics, primary: Primary) -> list[Table | None]:
    """Classification and segmentation, one row per model."""
    classification = [
        ("classification.mauc", "mAUC"),
        ("classification.map", "mAP"),
        ("classification.ece", "calibration error"),
        ("classification.sensitivity", "sensitivity"),
        ("classification.specificity", "specificity"),
    ]
    structures = parts(metrics, "segmentation.dice")
    dice = [(f"segmentation.dice.{name}", f"Dice {spoken(name)}") for name in structures]
    rest = [
        ("segmentation.iou.mean", "IoU, mean"),
        ("segmentation.hd95_mm.mean", "HD95, mean (mm)"),
    ]
    return [
        by_source(
            metrics,
            primary,
            classification,
            "Findings: means over labels",
            "Labels without both classes in this split are left out of the means and named below. "
            "Thresholds were chosen on validation images.",
        ),
        by_source(
            metrics,
            primary,
            dice + rest,
            "Segmentation",
            "Mean over images whose true mask is not empty. HD95 where the pixel size is known.",
        ),
        by_source(
            metrics,
            primary,
            [
                ("cardiothoracic.mae", "mean absolute error"),
                ("cardiothoracic.bias", "bias"),
                ("cardiothoracic.limit_low", "lower limit of agreement"),
                ("cardiothoracic.limit_high", "upper limit of agreement"),
                ("cardiothoracic.measured", "measured"),
            ],
            "Cardiothoracic ratio",
            "From the model's masks against from the true masks, frontal views. 95 % of the "
            "differences lie between the limits (Bland and Altman 1986). Measured: share of the "
            "images with a true ratio in which the model gives one.",
        ),
    ]


def feature_table(metrics: Metrics, primary: Primary) -> Table | None:
    """Frozen features: probes, and the teacher's health."""
    columns = [
        *probe_columns(metrics),
        ("features.teacher_entropy", "teacher entropy (nats)"),
        ("features.uniform_entropy", "ln K (nats)"),
    ]
    return by_source(
        metrics,
        primary,
        columns,
        "Frozen features",
        "Logistic regression and k nearest neighbours on features of the frozen backbone; random "
        "weights of the same shape are the floor. A teacher entropy at ln K means collapse.",
    )


def crossval_table(metrics: Metrics, primary: Primary) -> Table | None:
    """Frozen features of every patient of the cohort."""
    return by_source(
        metrics,
        primary,
        crossval_columns(metrics),
        "Frozen features, cross-validated",
        "Every patient of the cohort is judged once, by probes of other patients; the backbone has "
        "seen those of the train split without their labels.",
    )


def label_table(metrics: Metrics) -> Table | None:
    """The primary model label by label."""
    labels = parts(metrics, "classification.auc")
    if not labels:
        return None
    kinds = ("auc", "ap", "sensitivity", "specificity", "ece")
    per_class = metrics["classification.mauc"]["per_class"]
    rows = []
    for label in labels:
        size = per_class.get(label, {})
        name = f"{spoken(label)} ({size.get('positives', 0)} of "
        name += f"{size.get('positives', 0) + size.get('negatives', 0)})"
        rows.append((name, [cell(metrics, f"classification.{kind}.{label}") for kind in kinds]))
    heads = ["AUC", "AP", "sensitivity", "specificity", "calibration error"]
    note = "The primary model; in brackets positive and known images. Rates with Wilson's interval."
    return Table("Findings, label by label", heads, rows, note)


def subgroup_table(metrics: Metrics) -> Table | None:
    """MAUC of the primary model in every subgroup."""
    rows = []
    for key, record in metrics.items():
        if key.startswith("subgroup."):
            _, fact, value = key.removesuffix(".mauc").split(".", 2)
            rows.append((f"{fact} {spoken(value)} ({record['n']} images)", [cell(metrics, key)]))
    note = (
        "The primary model; groups of 20 images or more. A label without both classes in a group "
        "is left out there, so small groups may rest on fewer labels."
    )
    return Table("Findings, by subgroup", ["mAUC"], rows, note) if rows else None


def difference_table(metrics: Metrics, primary: Primary) -> Table | None:
    """Every headline difference with its verdict."""
    rows = [
        (
            f"{found.quantity}: {found.ours} − {found.other}",
            [cell(metrics, found.key, signed=True), Cell(value=found.word)],
        )
        for found in comparisons(metrics, primary)
    ]
    if not rows:
        return None
    note = (
        "Paired differences: both sides on the same resampled patients. Where the interval spans "
        "0, no difference is shown; that is not proof of equality."
    )
    return Table("Is it better, and how sure", ["difference", "verdict"], rows, note)


def finding_table(metrics: Metrics) -> Table | None:
    """Where the findings are: a map a row, means over findings."""
    lead = "localisation."
    maps = dict.fromkeys(key.split(".")[1] for key in metrics if key.startswith(lead))
    columns = {"pointing": "hits", "energy": "energy inside", "iou": "IoU", "pixel_ap": "pixel-AP"}
    rows = [
        (spoken(name), [cell(metrics, f"{lead}{name}.{kind}.mean") for kind in columns])
        for name in maps
    ]
    if not rows:
        return None
    note = (
        "Primary classifier; images with the finding and a mask or box of it; means over findings. "
        "A hit: the map's maximum lies on the finding. The uniform, centre and prior maps have not "
        "seen the image."
    )
    return Table("Where the finding is", list(columns.values()), rows, note)


def external_tables(metrics: Metrics) -> list[Table]:
    """Home against away, a table for each other cohort."""
    found = []
    for name in cohorts(metrics):
        shown = [
            (word, [cell(metrics, here), cell(metrics, there), cell(metrics, drop, signed=True)])
            for word, here, there, drop in external_rows(metrics, name)
        ]
        note = (
            "Nothing was trained, chosen or calibrated on the other cohort; patients known at home "
            "are left out. The drop is away - home, from independent resamples."
        )
        found.append(Table(f"External test: {name}", ["home", "away", "drop"], shown, note))
    return found


def tables(metrics: Metrics, primary: Primary) -> list[Table]:
    """All tables that have something to show, in reading order."""
    every = [
        difference_table(metrics, primary),
        *attention_tables(metrics, primary),
        *model_tables(metrics, primary),
        label_table(metrics),
        subgroup_table(metrics),
        feature_table(metrics, primary),
        crossval_table(metrics, primary),
        finding_table(metrics),
        *external_tables(metrics),
    ]
    return [table for table in every if table is not None]
