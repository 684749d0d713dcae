"""What a finished stage leaves in its MLflow run."""

import json
from pathlib import Path

import pytest

from medprior import provenance
from medprior.tracking import mlflow_store
from medprior.tracking.mlflow_run import track_stage
from medprior.tracking.run_record import is_shareable, list_logged_files, load_final_metrics


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("roc.png", True),
        ("training_classification.png", True),
        ("external_away.png", True),
        ("config.json", True),
        ("table.md", True),
        ("notes.md", False),
        ("other.csv", False),
        ("metrics.csv", True),
        ("backbone.safetensors", False),
        ("pixels.npy", False),
        ("quarantine.csv", False),
        ("sources.csv", False),
        ("image.png", False),
        ("annotation.json", False),
        ("out.private/roc.png", False),
        ("private/roc.png", True),
    ],
)
def test_figures_and_tables_are_shared_and_pixels_and_lists_are_not(tmp_path, name, shared):
    path = tmp_path / name
    assert not is_shareable(path)  # nothing there yet
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    assert is_shareable(path) is shared
    assert is_shareable(path, pictures=True) is shared


@pytest.mark.parametrize(
    "name",
    ["contact_sheet.png", "preview.png", "prior.png", "attention.png", "rollout_classification_a.png", "report.html",
     "failures.png", "segmentation.png", "localisation_a.png", "unknown.png"],
)  # fmt: skip
def test_what_shows_radiographs_is_shared_only_when_asked_for(tmp_path, name):
    (tmp_path / name).write_text("")
    assert not is_shareable(tmp_path / name)
    assert is_shareable(tmp_path / name, pictures=True)


def test_logged_files_are_the_known_ones_and_the_figures_of_two_folders(tmp_path):
    names = ("summary.json", "config.json", "other.json", "b.png", "a.png", "image.png", "figures/roc.png",
             "figures/roc.json", "checkpoints/last.png")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    logged = [str(path.relative_to(tmp_path)) for path in list_logged_files(tmp_path)]
    assert logged == ["config.json", "summary.json", "figures/roc.png"]
    logged = [str(path.relative_to(tmp_path)) for path in list_logged_files(tmp_path, pictures=True)]
    assert logged == ["config.json", "summary.json", "a.png", "b.png", "figures/roc.png"]


def test_final_metrics_are_values_with_the_ends_that_are_known(tmp_path):
    assert load_final_metrics(tmp_path) == {}
    entries = {
        "auc": {"value": 0.75, "ci95": [0.5, 0.875], "n": 9}, "ece": {"value": 0.25, "ci95": [None, 0.5]},
        "images": 12, "dice": {"value": None, "ci95": [0.1, 0.2]}, "plain": {"value": 1}, "name": "x", "list": [1],
    }  # fmt: skip
    (tmp_path / "metrics.json").write_text(json.dumps(entries))
    assert load_final_metrics(tmp_path) == {
        "auc": 0.75, "auc.lo": 0.5, "auc.hi": 0.875, "ece": 0.25, "ece.hi": 0.5, "images": 12.0, "plain": 1.0,
    }  # fmt: skip


def finish_stage(uri: str, stage: str, result: Path, **inputs: Path):
    """The run of a stage that wrote nothing but its record, and its result's digest."""
    with track_stage(stage, "medprior", uri, result):
        provenance.write_config(result, stage, {"size": 64}, inputs=inputs)
    client = mlflow_store.connect_to_store(uri)
    (experiment,) = [item for item in client.search_experiments() if item.name == "medprior"]
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`medprior.stage` = '{stage}'")
    return run, provenance.result_digest(result)


def test_an_ingested_cohort_is_the_dataset_of_its_own_run_and_of_those_that_read_it(tracking_uri, tmp_path):
    ingest, cohort = finish_stage(tracking_uri, "ingest", tmp_path / "shenzhen")
    evaluate, result = finish_stage(tracking_uri, "evaluate", tmp_path / "evidence", cohort=tmp_path / "shenzhen")
    for run, own, context in ((ingest, cohort, "ingest"), (evaluate, result, "evaluation")):
        assert run.data.tags["medprior.result_digest"] == own
        assert run.data.tags["medprior.cohort_digest"] == cohort
        (read,) = run.inputs.dataset_inputs
        assert (read.dataset.name, read.dataset.digest) == ("cohort", cohort[:32])
        assert [tag.value for tag in read.tags] == [context]


def test_a_stage_that_read_no_cohort_and_one_without_a_record_have_no_dataset(tracking_uri, tmp_path):
    run, digest = finish_stage(tracking_uri, "pretrain", tmp_path / "backbone")
    assert run.data.tags["medprior.result_digest"] == digest
    assert "medprior.cohort_digest" not in run.data.tags
    assert not run.inputs.dataset_inputs
    assert run.data.params == {"size": "64", "seed": "None"}
