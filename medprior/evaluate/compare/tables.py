"""The tables of a comparison's report; every cell names the key of `metrics.json` it shows."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.evaluate.compare.failed_runs import format_failures as lost_in_words
from medprior.evaluate.compare.low_data import LOW_DATA_MEASURES, format_budget, list_measured_budgets
from medprior.evaluate.compare.probe_table import list_crossval_columns, list_probe_columns
from medprior.evaluate.report.style import key_to_words
from medprior.evaluate.report.summary import (
    HEADLINES,
    ReportMetrics,
    difference_verdict,
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
    """All tables that have something to show, in reading order."""
    primary = dict.fromkeys(("attention", "classification", "segmentation"), recipes[0])
    every = [
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
    return [table for table in every if table is not None]


def build_integer_cell(metrics: ReportMetrics, key: str) -> ReportCell:
    """The cell of `key` without decimals."""
    value = metrics.get(key, {}).get("value")
    return ReportCell() if value is None else ReportCell(key, f"{value:,.0f}", whole=True)


def build_runs_table(metrics: ReportMetrics, recipes: Sequence[str]) -> ReportTable:
    """How many runs every arm rests on, and what became of the others."""
    rows = []
    for name, lead in list_arm_prefixes(recipes).items():
        record = metrics[f"{lead}runs.lost"]
        reasons = "; ".join(
            f"seed {row['seed']}, {key_to_words(row['stage'])}"
            + (f", step {row['step']}" if row["step"] is not None else "")
            + f": {row['reason']}"
            for row in record.get("failures", ())
        )
        cells = [build_integer_cell(metrics, f"{lead}runs.done"), build_integer_cell(metrics, f"{lead}runs.lost")]
        words = [ReportCell(value=lost_in_words(record) or "none lost"), ReportCell(value=reasons or "–")]
        rows.append((name, [*cells, *words]))
    note = "An arm's numbers are means over the runs that are left; what is lost is in no mean."
    return ReportTable("Runs", ["sound", "lost", "in words", "why"], rows, note)


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
    """Spatial entropy of the free heads, and the first arm's difference from each arm's."""
    shown = [(k, t) for k, t in ENTROPY_COLUMNS if any(key.endswith(k) for key in metrics)]
    if not shown:
        return None
    rows = []
    for name, lead in list_arm_prefixes(recipes).items():
        cells = []
        for key, _ in shown:
            difference = f"relative_difference.{name}.{key}"
            cells += [build_cell(metrics, lead + key), build_cell(metrics, difference, signed=True)]
        rows.append((name, cells))
    heads = [h for _, t in shown for h in (f"{t} (nats)", f"{recipes[0]} relative to it")]
    note = (
        "Into how many separate regions the heads that follow no structure scatter their attention "
        f"(0: one region; lower is better). {recipes[0]} relative to an arm: −0.200 means that "
        f"the entropy of {recipes[0]} is lower by 20 %."
    )
    return ReportTable("Scatter of attention: spatial entropy", heads, rows, note)


def build_above_random_tables(metrics: ReportMetrics, recipes: Sequence[str]) -> list[ReportTable]:
    """Frozen features of every arm minus random weights, of the test split and cross-validated."""
    note = "Paired: the same patients, folds and probes. Where the interval spans 0, none is shown."
    every = {
        "Frozen features minus random weights": list_probe_columns(metrics),
        "Frozen features minus random weights, cross-validated": list_crossval_columns(metrics),
    }
    found = []
    for title, columns in every.items():
        keys = [f"difference.random_weights.{key}" for key, _ in columns]
        rows = [
            (name, [build_cell(metrics, lead + key, signed=True) for key in keys])
            for name, lead in list_arm_prefixes(recipes).items()
        ]
        rows = [(name, cells) for name, cells in rows if any(one.key for one in cells)]
        if rows:
            found.append(ReportTable(title, [head for _, head in columns], rows, note))
    return found


def build_low_data_tables(metrics: ReportMetrics, recipes: Sequence[str]) -> list[ReportTable]:
    """A table per measure that was taken with several budgets: arms, then differences."""
    found = []
    for measure, title in LOW_DATA_MEASURES.items():
        budgets = list_measured_budgets(metrics, measure)
        if len(budgets) < 2:
            continue
        keys = [f"low_data.{budget}.{measure}" for budget in budgets]
        rows = [
            (name, [build_cell(metrics, lead + key) for key in keys])
            for name, lead in list_arm_prefixes(recipes).items()
        ]
        rows += [
            (f"{recipes[0]} − {name}", [build_arm_difference(metrics, name, key) for key in keys])
            for name in recipes[1:]
        ]
        rows = [(name, cells) for name, cells in rows if any(one.key for one in cells)]
        note = "Shares of the training patients, or masks; smaller ones are parts of larger ones. "
        note += "Differences are paired; where the interval spans 0, none is shown."
        found.append(ReportTable(f"Fewer labels: {title}", [format_budget(b) for b in budgets], rows, note))
    return found


def build_arm_difference(metrics: ReportMetrics, name: str, key: str) -> ReportCell:
    """The difference of the first arm from another one."""
    return build_cell(metrics, f"difference.{name}.{key}", signed=True)


def build_cost_table(metrics: ReportMetrics, recipes: Sequence[str]) -> ReportTable | None:
    """What a run of each arm cost."""
    arms = list_arm_prefixes(recipes)
    shown = [row for row in COST_COLUMNS if any(lead + row[0] in metrics for lead in arms.values())]
    if not shown:
        return None
    rows = [
        (name, [(build_integer_cell if full else build_cell)(metrics, lead + key) for key, _, full in shown])
        for name, lead in arms.items()
    ]
    note = (
        "Means over runs. Training: all stages of a run that never stopped. Peak memory of the "
        "process, libraries included. Times hold for the machine and load they were taken on; each "
        "run's own are in its cost.json."
    )
    return ReportTable("Cost of a run", [title for _, title, _ in shown], rows, note)


def list_arm_verdicts(metrics: ReportMetrics, recipes: Sequence[str]) -> list[tuple[str, list[str]]]:
    """For every arm but the first, in words, how it stands to the first on each headline.

    What fine-tuning makes of few labels and masks is said too.
    """
    few = [
        (f"low_data.{budget}.{measure}", f"{LOW_DATA_MEASURES[measure]}, {format_budget(budget)}")
        for measure in ("finetuned_mauc", "finetuned_dice")
        for budget in list_measured_budgets(metrics, measure)
        if budget != "100pct"
    ]
    rows = []
    for name in recipes[1:]:
        words = []
        for key, quantity in (*HEADLINES, *few):
            record = metrics.get(f"difference.{name}.{key}")
            if record is None:
                continue
            words.append(f"{quantity}: {invert_verdict(difference_verdict(record, key))}")
        rows.append((name, words))
    return rows


def invert_verdict(word: str) -> str:
    """A verdict on the first arm as one on the other."""
    return {"better": "worse", "worse": "better"}.get(word, word)
