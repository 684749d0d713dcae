"""Descriptions in Markdown."""

import json

from medprior import provenance
from medprior.tracking import mlflow_store
from medprior.tracking.mlflow_run import track_stage
from medprior.tracking.run_summary import choose_leading_chart, format_run_summary


def test_a_summary_has_results_origin_and_a_chart():
    metrics = {"classification.mauc": 0.81234, "classification.mauc.lo": 0.7, "classification.mauc.hi": 0.9, "n": 120.0}
    text = format_run_summary("medprior evaluate", metrics, {"cohort": "0123456789abcdef"}, "r1", "roc.png")
    assert text.split("\n\n") == [
        "**medprior evaluate**",
        "For research; not for diagnosis.",
        "| metric | value | 95 % interval |\n|---|---|---|\n"
        "| classification.mauc | 0.8123 | [0.700, 0.900] |\n| n | 120 |  |",
        "Made from cohort `0123456789ab`.",
        "![roc](get-artifact?path=roc.png&run_uuid=r1)",
    ]
    assert format_run_summary("t", {}, {}) == "**t**\n\nFor research; not for diagnosis."


def test_of_many_numbers_the_headlines_are_shown():
    many = {f"classification.auc.{n}": 0.5 for n in range(60)} | {
        "classification.mauc": 0.6,
        "classification.mauc.lo": 0.5,
    }
    rows = [line for line in format_run_summary("t", many, {}).splitlines() if line.startswith("| c")]
    assert rows == ["| classification.mauc | 0.6 |  |"]


def test_the_chart_is_one_that_was_logged():
    assert choose_leading_chart(["training.png", "roc.png", "config.json"]) == "roc.png"
    assert choose_leading_chart(["attention_a.png"]) == ""


def test_a_finished_run_is_described(tracking_uri, tmp_path):
    result = tmp_path / "evidence"
    with track_stage("evaluate", "medprior", tracking_uri, result) as observer:
        (result / "figures").mkdir(parents=True)
        (result / "figures" / "roc.png").write_bytes(b"\x89PNG")
        entry = {"value": 0.8, "ci95": [0.7, 0.9], "n": 20}
        (result / "metrics.json").write_text(json.dumps({"classification.mauc": entry}))
        provenance.write_config(result, "evaluate", {})
    tags = mlflow_store.connect_to_store(tracking_uri).get_run(observer.run_id).data.tags
    text = tags["mlflow.note.content"]
    assert "| classification.mauc | 0.8 | [0.700, 0.900] |" in text
    assert text.endswith(f"![roc](get-artifact?path=roc.png&run_uuid={observer.run_id})")
