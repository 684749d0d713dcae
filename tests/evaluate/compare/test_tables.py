"""Tables of a comparison: every cell with its key."""

from medprior.evaluate.compare.tables import (
    build_above_random_tables,
    build_cost_table,
    build_entropy_table,
    build_finetuned_table,
    build_integer_cell,
    build_low_data_tables,
    build_runs_table,
    list_arm_verdicts,
)
from medprior.evaluate.report.tables import ReportCell
from tests.evaluate.records import record


def show(table):
    """Rows as (name, texts)."""
    return [(name, [cell.value for cell in cells]) for name, cells in table.rows]


def test_counts_have_no_decimals():
    cell = build_integer_cell({"a.b": record(12345.6)}, "a.b")
    assert (cell.key, cell.value, cell.is_count) == ("a.b", "12,346", True)
    assert build_integer_cell({"a.b": record(None)}, "a.b") == build_integer_cell({}, "x") == ReportCell()


def test_runs_tell_what_was_lost_and_why():
    failures = [
        {"seed": 1, "stage": "backbone", "kind": "collapsed", "step": 7, "reason": "of ln K"},
        {"seed": 2, "stage": "segmentation-1pct", "kind": "diverged", "step": None, "reason": "not finite"},
    ]
    metrics = {
        "runs.done": record(2.0),
        "runs.lost": record(1.0) | {"of": 3, "failures": failures},
        "baseline.b.runs.done": record(3.0),
        "baseline.b.runs.lost": record(0.0) | {"of": 3},
    }
    assert show(build_runs_table(metrics, ["a", "b"])) == [
        ("a", ["2", "1", "1 of 3 collapsed, 1 of 3 diverged in segmentation-1pct",
               "seed 1, backbone, step 7: of ln K; seed 2, segmentation-1pct: not finite"]),
        ("b", ["3", "0", "none failed", "–"]),
    ]  # fmt: skip


def test_entropy_stands_beside_the_relative_difference_of_the_first():
    metrics = {
        "attention.spatial_entropy": record(1.0),
        "baseline.b.attention.spatial_entropy": record(1.25),
        "relative_difference.b.attention.spatial_entropy": record(-0.2, -0.3, -0.1),
    }
    table = build_entropy_table(metrics, ["a", "b"])
    assert table.heads == ["of the backbone (nats)", "a relative to it"]
    assert show(table) == [("a", ["1.000", ""]), ("b", ["1.250", "−0.200"])]
    assert build_entropy_table({"features.knn_mauc": record(1.0)}, ["a"]) is None
    scratch = {"baseline.b.finetuned_attention.spatial_entropy": record(0.5)}
    assert build_entropy_table(scratch, ["a", "b"]).heads == ["after fine-tuning (nats)", "a relative to it"]


def test_features_minus_random_weights_are_signed():
    metrics = {
        "features.knn_mauc": record(0.7),
        "difference.random_weights.features.knn_mauc": record(0.2, 0.1, 0.3),
        "baseline.b.features.knn_mauc": record(0.6),
    }
    (table,) = build_above_random_tables(metrics, ["a", "b"])
    assert show(table) == [("a", ["+0.200"])]


def test_fewer_labels_need_two_budgets_and_tell_differences_of_the_first():
    metrics = {
        "low_data.100pct.finetuned_mauc": record(0.9),
        "low_data.10pct.finetuned_mauc": record(0.8),
        "baseline.b.low_data.10pct.finetuned_mauc": record(0.7),
        "difference.b.low_data.10pct.finetuned_mauc": record(0.1, 0.05, 0.2),
        "low_data.100pct.knn_mauc": record(0.6),
    }
    (table,) = build_low_data_tables(metrics, ["a", "b", "c"])
    assert table.heads == ["10 %", "100 %"]
    assert show(table) == [("a", ["0.800", "0.900"]), ("b", ["0.700", ""]), ("a − b", ["+0.100", ""])]


def test_costs_of_all_arms_with_decimals_for_a_step_alone():
    metrics = {"cost.step_seconds": record(0.25), "baseline.b.cost.train_seconds": record(1234.5)}
    table = build_cost_table(metrics, ["a", "b"])
    assert table.heads == ["step of pretraining (s)", "training (s)"]
    assert show(table) == [("a", ["0.250", ""]), ("b", ["", "1,234"])]
    assert build_cost_table({}, ["a"]) is None


def test_verdicts_are_on_the_other_arms_and_all_labels_are_no_budget():
    metrics = {
        "difference.b.classification.mauc": record(0.2, 0.1, 0.3),
        "difference.b.low_data.100pct.finetuned_mauc": record(0.2, 0.1, 0.3),
        "low_data.10pct.finetuned_mauc": record(0.8),
        "low_data.100pct.finetuned_mauc": record(0.8),
        "difference.b.low_data.10pct.finetuned_mauc": record(-0.2, -0.3, -0.1),
    }
    assert list_arm_verdicts(metrics, ["a", "b", "c"]) == [
        ("b", ["mAUC: worse", "fine-tuned, mAUC, 10 %: better"]),
        ("c", []),
    ]


def test_attention_after_fine_tuning_is_a_table_of_its_own():
    primary = {"classification": "a", "attention": "a"}
    assert build_finetuned_table({"attention.pixel_ap.heart": record(0.5)}, primary) is None
    metrics = {"finetuned_attention.pixel_ap.heart": record(0.5), "prior.pixel_ap.heart": record(0.4)}
    assert show(build_finetuned_table(metrics, primary)) == [("a", ["0.500"]), ("static prior", ["0.400"])]
