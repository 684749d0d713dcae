"""Tables of the report: every cell with its key."""

from medprior.evaluate.report.tables import (
    ReportCell,
    build_cell,
    build_crossval_table,
    build_difference_table,
    build_evaluation_tables,
    build_external_tables,
    build_feature_table,
    build_finding_table,
    build_label_table,
    build_model_tables,
    build_source_table,
    build_subgroup_table,
)
from tests.evaluate.records import record

PRIMARY = {"attention": "span", "classification": "ours", "segmentation": "masks"}


def show(table):
    """Rows as (name, texts)."""
    return [(name, [cell.value for cell in cells]) for name, cells in table.rows]


def test_a_cell_knows_its_key_and_is_empty_without_one():
    metrics = {"a.b": record(0.5, 0.4, 0.6)}
    assert build_cell(metrics, "a.b") == ReportCell("a.b", "0.500", "0.400 to 0.600")
    assert build_cell(metrics, "a.b", signed=True).value == "+0.500"
    assert build_cell(metrics, "a.c") == ReportCell()


def test_columns_without_a_number_are_left_out():
    metrics = {"classification.mauc": record(0.9), "baseline.b.classification.ece": record(0.1)}
    columns = [("classification.mauc", "mAUC"), ("classification.map", "mAP"), ("classification.ece", "ECE")]
    table = build_source_table(metrics, PRIMARY, columns, "title", "note")
    assert table.heads == ["mAUC", "ECE"]
    assert show(table) == [("ours", ["0.900", ""]), ("b", ["", "0.100"])]
    assert build_source_table(metrics, PRIMARY, [("classification.map", "mAP")], "title", "note") is None


def test_labels_show_positive_and_known_images():
    per_class = {"pleural_effusion": {"positives": 3, "negatives": 7}}
    metrics = {
        "classification.mauc": record(0.9) | {"per_class": per_class},
        "classification.auc.pleural_effusion": record(0.9),
        "classification.specificity.pleural_effusion": record(0.8),
    }
    table = build_label_table(metrics)
    assert show(table) == [("pleural effusion (3 of 10)", ["0.900", "", "", "0.800", ""])]
    assert build_label_table({}) is None


def test_subgroups_tell_their_size_and_may_have_a_dot_in_their_name():
    metrics = {"subgroup.sex.F.mauc": record(0.9), "subgroup.dataset.a_1.2.mauc": record(0.8)}
    assert show(build_subgroup_table(metrics)) == [
        ("sex F (9 images)", ["0.900"]),
        ("dataset a 1.2 (9 images)", ["0.800"]),
    ]
    assert build_subgroup_table({}) is None


def test_differences_are_signed_with_a_verdict():
    metrics = {"difference.b.classification.mauc": record(-0.2, -0.3, -0.1)}
    assert show(build_difference_table(metrics, PRIMARY)) == [("mAUC: ours − b", ["−0.200", "worse"])]
    assert build_difference_table({}, PRIMARY) is None


def test_findings_have_a_row_per_map():
    metrics = {
        "localisation.class_rollout.energy.mean": record(0.3),
        "localisation.uniform.pointing.mean": record(0.1),
        "localisation.uniform.pointing.spot": record(0.2),
    }
    table = build_finding_table(metrics)
    assert table.heads == ["hits", "energy inside", "IoU", "pixel-AP"]
    assert show(table) == [("class rollout", ["", "0.300", "", ""]), ("uniform", ["0.100", "", "", ""])]
    assert build_finding_table({"baseline.b.localisation.head.iou.mean": record(0.1)}) is None


def test_segmentation_is_by_structure_with_the_mean_before_distances():
    metrics = {
        "segmentation.dice.left_lung": record(0.9),
        "segmentation.dice.mean": record(0.8),
        "segmentation.hd95_percent.mean": record(2.0),
        "segmentation.hd95_mm.mean": record(7.0),
        "cardiothoracic.bias": record(-0.01),
    }
    findings, segmentation, ratio = build_model_tables(metrics, PRIMARY)
    assert findings is None
    assert segmentation.heads == ["Dice left lung", "Dice mean", "HD95, mean (% of the longer side)", "HD95, mean (mm)"]
    assert show(ratio) == [("masks", ["−0.010"])]


def test_frozen_features_and_cross_validated_ones_are_apart():
    metrics = {
        "features.knn_mauc": record(0.7),
        "features.random_knn_mauc": record(0.5),
        "features.teacher_entropy": record(2.0),
        "features.crossval_knn_mauc": record(0.6),
    }
    table = build_feature_table(metrics, PRIMARY)
    assert table.heads == ["k-NN mAUC", "teacher entropy (nats)"]
    assert show(table) == [("span", ["0.700", "2.000"]), ("random weights", ["0.500", ""])]
    assert show(build_crossval_table(metrics, PRIMARY)) == [("span", ["0.600"])]


def test_home_stands_before_away_and_the_drop_is_signed():
    metrics = {
        "external.away.classification.mauc": record(0.7),
        "external.away.home.classification.mauc": record(0.9),
        "external.away.drop.classification.mauc": record(-0.2),
    }
    (table,) = build_external_tables(metrics)
    assert show(table) == [("mAUC", ["0.900", "0.700", "−0.200"])]
    # It is no source of the home tables.
    assert [one.title for one in build_evaluation_tables(metrics, PRIMARY)] == ["External test: away"]
