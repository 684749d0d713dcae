"""Tables of a comparison report; each cell names its key of `metrics.json`."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.evaluate.compare.failed_runs import format_failures
from medprior.evaluate.compare.low_data import LOW_DATA_MEASURES, format_budget, list_measured_budgets
from medprior.evaluate.compare.probe_table import list_crossval_columns, list_probe_columns
from medprior.evaluate.report.style import key_to_words
from medprior.evaluate.report.summary import (
    HEADLINES,
    ReportMetrics,
    difference_verdict,
    invert_verdict,
    list_arm_prefixes,
    list_scored_structures,
)
from medprior.evaluate.report.tables import (
    ReportCell,
    ReportTable,
    build_attention_tables,
    build_cell,
    build_crossval_table,
    build_difference_table,
    build_feature_table,
    build_model_tables,
    build_source_table,
)

COST_COLUMNS = (
    ("cost.step_seconds", "step of pretraining (s)", False),
    ("cost.train_seconds", "training (s)", True),
    ("cost.peak_memory_mib", "peak memory (MiB)", True),
    ("cost.peak_gpu_memory_mib", "peak memory, GPU (MiB)", True),
)
ENTROPY_COLUMNS = (
    ("attention.spatial_entropy", "of the backbone"),
    ("finetuned_attention.spatial_entropy", "after fine-tuning"),
)


def build_comparison_tables(metrics: ReportMetrics, recipes: Sequence[str]) -> list[ReportTable]:
    """All tables that are not empty, in reading order."""
    primary = dict.fromkeys(("attention", "classification", "segmentation"), recipes[0])
    tables = [
        build_runs_table(metrics, recipes),
        build_difference_table(metrics, primary),
        *build_attention_tables(metrics, primary),
        build_finetuned_table(metrics, primary),
        build_entropy_table(metrics, recipes),
        *build_model_tables(metrics, primary),
        build_feature_table(metrics, primary),
        build_crossval_table(metrics, primary),
        *build_above_random_tables(metrics, recipes),
        *build_low_data_tables(metrics, recipes),
        build_cost_table(metrics, recipes),
    ]
    return [table for table in tables if table is not None]


def build_integer_cell(metrics: ReportMetrics, key: str) -> ReportCell:
    """The cell of `key` without decimals."""
    value = metrics.get(key, {}).get("value")
    return ReportCell() if value is None else ReportCell(key, f"{value:,.0f}", is_count=True)


def build_runs_table(metrics: ReportMetrics, recipes: Sequence[str]) -> ReportTable:
    """Finished and failed runs of every arm, with the reasons of failures."""
    rows = []
    for name, prefix in list_arm_prefixes(recipes).items():
        record = metrics[f"{prefix}runs.lost"]
        reasons = "; ".join(
            f"seed {row['seed']}, {key_to_words(row['stage'])}"
            + (f", step {row['step']}" if row["step"] is not None else "")
            + f": {row['reason']}"
            for row in record.get("failures", ())
        )
        cells = [build_integer_cell(metrics, f"{prefix}runs.done"), build_integer_cell(metrics, f"{prefix}runs.lost")]
        texts = [ReportCell(value=format_failures(record) or "none failed"), ReportCell(value=reasons or "–")]
        rows.append((name, [*cells, *texts]))
    note = "An arm's numbers are means over its finished runs; failed runs are in no mean."
    return ReportTable("Runs", ["finished", "failed", "summary", "reasons"], rows, note)


def build_finetuned_table(metrics: ReportMetrics, primary: dict[str, str]) -> ReportTable | None:
    """Pixel-AP of fine-tuned classifiers, with the priors as predictors."""
    kind = "finetuned_attention"
    if not any(f"{kind}.pixel_ap." in key for key in metrics):
        return None
    columns = [(f"{kind}.pixel_ap.{name}", key_to_words(name)) for name in list_scored_structures(metrics, kind)]
    note = (
        "Of classifiers fine-tuned from all labels; those from scratch, without assigned heads, "
        "take the best head on validation images."
    )
    return build_source_table(metrics, primary, columns, "Attention after fine-tuning: pixel-AP", note)


def build_entropy_table(metrics: ReportMetrics, recipes: Sequence[str]) -> ReportTable | None:
    """Spatial entropy of the free heads, and the relative difference of the first arm."""
    columns = [
        (key, heading) for key, heading in ENTROPY_COLUMNS if any(f".{name}".endswith(f".{key}") for name in metrics)
    ]
    if not columns:
        return None
    rows = []
    for name, prefix in list_arm_prefixes(recipes).items():
        cells = []
        for key, _ in columns:
            difference = f"relative_difference.{name}.{key}"
            cells += [build_cell(metrics, prefix + key), build_cell(metrics, difference, signed=True)]
        rows.append((name, cells))
    heads = [head for _, heading in columns for head in (f"{heading} (nats)", f"{recipes[0]} relative to it")]
    note = (
        "Scatter of the attention of free heads over separate regions "
        f"(0: one region; lower is better). {recipes[0]} relative to an arm: −0.200 means that "
        f"the entropy of {recipes[0]} is lower by 20 %."
    )
    return ReportTable("Scatter of attention: spatial entropy", heads, rows, note)


def build_above_random_tables(metrics: ReportMetrics, recipes: Sequence[str]) -> list[ReportTable]:
    """Frozen features of every arm minus random weights, of the test split and cross-validated."""
    note = "Paired: the same patients, folds and probes. Where the interval spans 0, none is shown."
    column_sets = {
        "Frozen features minus random weights": list_probe_columns(metrics),
        "Frozen features minus random weights, cross-validated": list_crossval_columns(metrics),
    }
    tables = []
    for title, columns in column_sets.items():
        keys = [f"difference.random_weights.{key}" for key, _ in columns]
        rows = [
            (name, [build_cell(metrics, prefix + key, signed=True) for key in keys])
            for name, prefix in list_arm_prefixes(recipes).items()
        ]
        rows = [(name, cells) for name, cells in rows if any(cell.key for cell in cells)]
        if rows:
            tables.append(ReportTable(title, [head for _, head in columns], rows, note))
    return tables


def build_low_data_tables(metrics: ReportMetrics, recipes: Sequence[str]) -> list[ReportTable]:
    """One table per measure with several budgets: arms, then differences from the first."""
    tables = []
    for measure, title in LOW_DATA_MEASURES.items():
        budgets = list_measured_budgets(metrics, measure)
        if len(budgets) < 2:
            continue
        keys = [f"low_data.{budget}.{measure}" for budget in budgets]
        rows = [
            (name, [build_cell(metrics, prefix + key) for key in keys])
            for name, prefix in list_arm_prefixes(recipes).items()
        ]
        rows += [
            (f"{recipes[0]} − {name}", [build_arm_difference(metrics, name, key) for key in keys])
            for name in recipes[1:]
        ]
        rows = [(name, cells) for name, cells in rows if any(cell.key for cell in cells)]
        note = "Shares of the training patients, or masks; smaller ones are parts of larger ones. "
        note += "Differences are paired; where the interval spans 0, none is shown."
        tables.append(ReportTable(f"Fewer labels: {title}", [format_budget(budget) for budget in budgets], rows, note))
    return tables


def build_arm_difference(metrics: ReportMetrics, name: str, key: str) -> ReportCell:
    """The difference of the first arm from another one."""
    return build_cell(metrics, f"difference.{name}.{key}", signed=True)


def build_cost_table(metrics: ReportMetrics, recipes: Sequence[str]) -> ReportTable | None:
    """Mean cost of a run of each arm."""
    arms = list_arm_prefixes(recipes)
    columns = [row for row in COST_COLUMNS if any(prefix + row[0] in metrics for prefix in arms.values())]
    if not columns:
        return None
    rows = [
        (
            name,
            [(build_integer_cell if is_count else build_cell)(metrics, prefix + key) for key, _, is_count in columns],
        )
        for name, prefix in arms.items()
    ]
    note = (
        "Means over runs. Training: all stages of a run that was never resumed. Peak memory of the "
        "process, libraries included. Times hold for the machine and load they were measured on; "
        "cost.json of each run has its own."
    )
    return ReportTable("Cost of a run", [title for _, title, _ in columns], rows, note)


def list_arm_verdicts(metrics: ReportMetrics, recipes: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Verdicts in words for every arm but the first, on each headline and low-data budget."""
    low_data = [
        (f"low_data.{budget}.{measure}", f"{LOW_DATA_MEASURES[measure]}, {format_budget(budget)}")
        for measure in ("finetuned_mauc", "finetuned_dice")
        for budget in list_measured_budgets(metrics, measure)
        if budget != "100pct"
    ]
    rows = []
    for name in recipes[1:]:
        verdicts = []
        for key, quantity in (*HEADLINES, *low_data):
            record = metrics.get(f"difference.{name}.{key}")
            if record is None:
                continue
            verdicts.append(f"{quantity}: {invert_verdict(difference_verdict(record, key))}")
        rows.append((name, verdicts))
    return rows
