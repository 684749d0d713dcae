"""The tables of a comparison's report; every cell names the key of `metrics.json` it shows."""

from __future__ import annotations

from collections.abc import Sequence

from medprior.evaluate.compare.failed_runs import in_words as lost_in_words
from medprior.evaluate.compare.low_data import MEASURES, in_words, ordered
from medprior.evaluate.compare.probe_table import crossval_columns, probe_columns
from medprior.evaluate.report.style import spoken
from medprior.evaluate.report.summary import HEADLINES, Metrics, in_a_word, leads, located
from medprior.evaluate.report.tables import (
    Cell,
    Table,
    attention_tables,
    by_source,
    cell,
    crossval_table,
    difference_table,
    feature_table,
    model_tables,
)

COSTS = (
    ("cost.step_seconds", "step of pretraining (s)", False),
    ("cost.train_seconds", "training (s)", True),
    ("cost.peak_memory_mib", "peak memory (MiB)", True),
    ("cost.peak_gpu_memory_mib", "peak memory, GPU (MiB)", True),
)
ENTROPIES = (
    ("attention.spatial_entropy", "of the backbone"),
    ("finetuned_attention.spatial_entropy", "after fine-tuning"),
)


def compare_tables(metrics: Metrics, recipes: Sequence[str]) -> list[Table]:
    """All tables that have something to show, in reading order."""
    primary = dict.fromkeys(("attention", "classification", "segmentation"), recipes[0])
    every = [
        runs_table(metrics, recipes),
        difference_table(metrics, primary),
        *attention_tables(metrics, primary),
        tuned_attention_table(metrics, primary),
        entropy_table(metrics, recipes),
        *model_tables(metrics, primary),
        feature_table(metrics, primary),
        crossval_table(metrics, primary),
        *above_random_tables(metrics, recipes),
        *low_data_tables(metrics, recipes),
        cost_table(metrics, recipes),
    ]
    return [table for table in every if table is not None]


def whole(metrics: Metrics, key: str) -> Cell:
    """The cell of `key` without decimals."""
    value = metrics.get(key, {}).get("value")
    return Cell() if value is None else Cell(key, f"{value:,.0f}", whole=True)


def runs_table(metrics: Metrics, recipes: Sequence[str]) -> Table:
    """How many runs every arm rests on, and what became of the others."""
    rows = []
    for name, lead in leads(recipes).items():
        record = metrics[f"{lead}runs.lost"]
        reasons = "; ".join(
            f"seed {row['seed']}, {spoken(row['stage'])}"
            + (f", step {row['step']}" if row["step"] is not None else "")
            + f": {row['reason']}"
            for row in record.get("failures", ())
        )
        cells = [whole(metrics, f"{lead}runs.done"), whole(metrics, f"{lead}runs.lost")]
        words = [Cell(value=lost_in_words(record) or "none lost"), Cell(value=reasons or "–")]
        rows.append((name, [*cells, *words]))
    note = "An arm's numbers are means over the runs that are left; what is lost is in no mean."
    return Table("Runs", ["sound", "lost", "in words", "why"], rows, note)


def tuned_attention_table(metrics: Metrics, primary: dict[str, str]) -> Table | None:
    """Pixel-AP of fine-tuned classifiers, with the priors as predictors."""
    kind = "finetuned_attention"
    if not any(f"{kind}.pixel_ap." in key for key in metrics):
        return None
    columns = [(f"{kind}.pixel_ap.{name}", spoken(name)) for name in located(metrics, kind)]
    note = (
        "Of classifiers fine-tuned from all labels; those from scratch, without assigned heads, "
        "take the best head on validation images."
    )
    return by_source(metrics, primary, columns, "Attention after fine-tuning: pixel-AP", note)


def entropy_table(metrics: Metrics, recipes: Sequence[str]) -> Table | None:
    """Spatial entropy of the free heads, and the first arm's difference from each arm's."""
    shown = [(k, t) for k, t in ENTROPIES if any(key.endswith(k) for key in metrics)]
    if not shown:
        return None
    rows = []
    for name, lead in leads(recipes).items():
        cells = []
        for key, _ in shown:
            difference = f"relative_difference.{name}.{key}"
            cells += [cell(metrics, lead + key), cell(metrics, difference, signed=True)]
        rows.append((name, cells))
    heads = [h for _, t in shown for h in (f"{t} (nats)", f"{recipes[0]} relative to it")]
    note = (
        "Into how many separate regions the heads that follow no structure scatter their attention "
        f"(0: one region; lower is better). {recipes[0]} relative to an arm: −0.200 means that "
        f"the entropy of {recipes[0]} is lower by 20 %."
    )
    return Table("Scatter of attention: spatial entropy", heads, rows, note)


def above_random_tables(metrics: Metrics, recipes: Sequence[str]) -> list[Table]:
    """Frozen features of every arm minus random weights, of the test split and cross-validated."""
    note = "Paired: the same patients, folds and probes. Where the interval spans 0, none is shown."
    every = {
        "Frozen features minus random weights": probe_columns(metrics),
        "Frozen features minus random weights, cross-validated": crossval_columns(metrics),
    }
    found = []
    for title, columns in every.items():
        keys = [f"difference.random_weights.{key}" for key, _ in columns]
        rows = [
            (name, [cell(metrics, lead + key, signed=True) for key in keys])
            for name, lead in leads(recipes).items()
        ]
        rows = [(name, cells) for name, cells in rows if any(one.key for one in cells)]
        if rows:
            found.append(Table(title, [head for _, head in columns], rows, note))
    return found


def low_data_tables(metrics: Metrics, recipes: Sequence[str]) -> list[Table]:
    """A table per measure that was taken with several budgets: arms, then differences."""
    found = []
    for measure, title in MEASURES.items():
        budgets = ordered(metrics, measure)
        if len(budgets) < 2:
            continue
        keys = [f"low_data.{budget}.{measure}" for budget in budgets]
        rows = [
            (name, [cell(metrics, lead + key) for key in keys])
            for name, lead in leads(recipes).items()
        ]
        rows += [
            (f"{recipes[0]} − {name}", [against(metrics, name, key) for key in keys])
            for name in recipes[1:]
        ]
        rows = [(name, cells) for name, cells in rows if any(one.key for one in cells)]
        note = "Shares of the training patients, or masks; smaller ones are parts of larger ones. "
        note += "Differences are paired; where the interval spans 0, none is shown."
        found.append(Table(f"Fewer labels: {title}", [in_words(b) for b in budgets], rows, note))
    return found


def against(metrics: Metrics, name: str, key: str) -> Cell:
    """The difference of the first arm from another one."""
    return cell(metrics, f"difference.{name}.{key}", signed=True)


def cost_table(metrics: Metrics, recipes: Sequence[str]) -> Table | None:
    """What a run of each arm cost."""
    arms = leads(recipes)
    shown = [row for row in COSTS if any(lead + row[0] in metrics for lead in arms.values())]
    if not shown:
        return None
    rows = [
        (name, [(whole if full else cell)(metrics, lead + key) for key, _, full in shown])
        for name, lead in arms.items()
    ]
    note = (
        "Means over runs. Training: all stages of a run that never stopped. Peak memory of the "
        "process, libraries included. Times hold for the machine and load they were taken on; each "
        "run's own are in its cost.json."
    )
    return Table("Cost of a run", [title for _, title, _ in shown], rows, note)


def arm_verdicts(metrics: Metrics, recipes: Sequence[str]) -> list[tuple[str, list[str]]]:
    """For every arm but the first, in words, how it stands to the first on each headline.

    What fine-tuning makes of few labels and masks is said too.
    """
    few = [
        (f"low_data.{budget}.{measure}", f"{MEASURES[measure]}, {in_words(budget)}")
        for measure in ("finetuned_mauc", "finetuned_dice")
        for budget in ordered(metrics, measure)
        if budget != "100pct"
    ]
    rows = []
    for name in recipes[1:]:
        words = []
        for key, quantity in (*HEADLINES, *few):
            record = metrics.get(f"difference.{name}.{key}")
            if record is None:
                continue
            words.append(f"{quantity}: {turned(in_a_word(record, key))}")
        rows.append((name, words))
    return rows


def turned(word: str) -> str:
    """A verdict on the first arm as one on the other."""
    return {"better": "worse", "worse": "better"}.get(word, word)
