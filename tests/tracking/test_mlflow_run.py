import json
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from medprior import provenance
from medprior.errors import InputMissing, Rejected
from medprior.tracking import mlflow_store
from medprior.tracking.mlflow_run import RUN_ID_FILE, describe_error, flatten_settings, track_stage

SETTINGS = {"steps": 3, "optimizer": {"lr": 1e-3, "betas": [0.9, 0.95]}}


def finish(folder: Path, stage: str = "pretrain") -> None:
    cohort = folder.parent / "cohort"
    cohort.mkdir(exist_ok=True)
    provenance.write_config(cohort, "ingest", {})
    (folder / "metrics.csv").write_text("step,loss\n1,0.5\n")
    (folder / "attention.png").write_bytes(b"\x89PNG")
    (folder / "backbone.safetensors").write_bytes(b"weights")
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "last.png").write_bytes(b"no figure")
    (folder / "figures").mkdir(exist_ok=True)
    (folder / "figures" / "roc.png").write_bytes(b"\x89PNG")
    entry = {"value": 0.8, "ci95": [0.7, 0.9], "n": 20}
    (folder / "metrics.json").write_text(json.dumps({"classification.mauc": entry}))
    provenance.write_config(folder, stage, SETTINGS, inputs={"cohort": cohort}, seed=7)


def runs(uri: str) -> list:
    client = mlflow_store.connect_to_store(uri)
    ids = [item.experiment_id for item in client.search_experiments()]
    return client.search_runs(ids, order_by=["attributes.start_time ASC"])


def test_a_finished_stage_is_all_in_its_run(tracking_uri, tmp_path):
    result = tmp_path / "backbone"
    with track_stage("pretrain", "medprior", tracking_uri, result) as observer:
        result.mkdir()
        observer.params({"steps": 3})
        for step in range(3):
            observer.metrics({"loss": 1.0 / (step + 1), "entropy": math.nan}, step)
        assert (result / RUN_ID_FILE).is_file()
        finish(result)
    (run,) = runs(tracking_uri)
    client = mlflow_store.connect_to_store(tracking_uri)
    assert run.info.status == "FINISHED"
    # Neither the folder's name nor the user's: both may name a person.
    assert re.fullmatch(r"pretrain-20\d{6}T\d{6}\.\d{3}Z", run.info.run_name)
    assert "mlflow.user" not in run.data.tags
    assert run.data.params == {
        "steps": "3",
        "optimizer.lr": "0.001",
        "optimizer.betas": "[0.9, 0.95]",
        "seed": "7",
    }
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [(item.step, item.value) for item in losses] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert math.isnan(client.get_metric_history(run.info.run_id, "entropy")[0].value)
    assert run.data.metrics["classification.mauc"] == 0.8
    assert run.data.metrics["classification.mauc.lo"] == 0.7
    tags = run.data.tags
    assert tags["medprior.stage"] == "pretrain"
    assert tags["git_commit"] == provenance.find_git_commit()
    digest = provenance.result_digest(tmp_path / "cohort")
    assert tags["medprior.cohort_digest"] == digest
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == digest[:32]
    assert dataset.tags[0].value == "training"
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert names == {"config.json", "metrics.csv", "metrics.json", "roc.png"}
    assert not (result / RUN_ID_FILE).exists()
    experiment = client.get_experiment(run.info.experiment_id)
    assert str(tmp_path / "mlruns") in experiment.artifact_location


def test_two_launches_are_two_runs(tracking_uri, tmp_path):
    for _ in range(2):
        with track_stage("prior", "medprior", tracking_uri, tmp_path / "prior"):
            pass
    first, second = runs(tracking_uri)
    assert first.info.run_name != second.info.run_name


def test_a_crash_is_failed_and_tells_no_data(tracking_uri, tmp_path):
    with pytest.raises(ValueError), track_stage("ingest", "medprior", tracking_uri, tmp_path / "c"):
        raise ValueError("DOE^JANE in /secret/patient17.dcm")
    (run,) = runs(tracking_uri)
    assert run.info.status == "FAILED"
    assert "DOE" not in str(run.to_dictionary())
    assert run.data.tags["medprior.error"] == "ValueError"
    assert not (tmp_path / "c").exists()


def test_an_interrupted_stage_goes_on_in_its_own_run(tracking_uri, tmp_path):
    result = tmp_path / "model"
    result.mkdir()

    def interrupted() -> None:
        with track_stage("finetune", "medprior", tracking_uri, result) as one:
            one.params({"epochs": 5})
            one.metrics({"loss": 1.0}, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert runs(tracking_uri)[0].info.status == "KILLED"
    with track_stage("finetune", "medprior", tracking_uri, result) as two:
        two.params({"epochs": 9})
        two.metrics({"loss": 0.5}, 1)
    (run,) = runs(tracking_uri)
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "5"
    assert run.data.tags["resumed.epochs"] == "9"
    history = mlflow_store.connect_to_store(tracking_uri).get_metric_history(run.info.run_id, "loss")
    assert [item.step for item in history] == [0, 1]
    with track_stage("finetune", "medprior", tracking_uri, result):
        pass
    assert len(runs(tracking_uri)) == 2


def test_pictures_and_a_name_are_logged_when_asked_for(tracking_uri, tmp_path):
    result = tmp_path / "backbone"
    with track_stage("pretrain", "medprior", tracking_uri, result, pictures=True, run_name="first try"):
        result.mkdir()
        finish(result)
    (run,) = runs(tracking_uri)
    assert run.info.run_name.startswith("pretrain-first-try-20")
    names = {item.path for item in mlflow_store.connect_to_store(tracking_uri).list_artifacts(run.info.run_id)}
    assert {"attention.png", "roc.png"} <= names


def test_runs_inside_a_run_are_gone_on_with(tracking_uri, tmp_path):
    """A comparison tells of each of its runs; telling again makes no second one."""
    result = tmp_path / "comparison"
    result.mkdir()
    with track_stage("compare", "medprior", tracking_uri, result) as observer:
        for value in (0.5, 0.6):
            with observer.nested("span-0") as inside:
                inside.params({"seed": 0})
                inside.metrics({"auc": value}, 0)
        with pytest.raises(ValueError), observer.nested("span-1"):
            raise ValueError
    found = {run.info.run_name: run for run in runs(tracking_uri)}
    assert len(found) == 3
    parent = next(run for name, run in found.items() if name.startswith("compare"))
    first, second = found["span-0"], found["span-1"]
    assert (first.info.status, second.info.status) == ("FINISHED", "FAILED")
    assert first.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert first.data.metrics["auc"] == 0.6
    assert first.data.params["seed"] == "0"


def test_a_note_from_another_store_starts_a_new_run(tracking_uri, tmp_path):
    result = tmp_path / "model"
    result.mkdir()
    (result / RUN_ID_FILE).write_text("../../etc/passwd\n")
    with track_stage("finetune", "medprior", tracking_uri, result):
        pass
    assert len(runs(tracking_uri)) == 1


def test_sigterm_is_killed_with_status_143(tracking_uri, tmp_path):
    code = """
        import sys, time
        from pathlib import Path
        from medprior.tracking.mlflow_run import track_stage
        with track_stage("pretrain", "medprior", sys.argv[1], Path("out")) as observer:
            print("ready", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), tracking_uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert errors == ""  # MLflow and alembic stay silent too
    (run,) = runs(tracking_uri)
    assert run.info.status == "KILLED"


def test_a_store_that_goes_away_costs_no_stage(tracking_uri, tmp_path, monkeypatch, capsys):
    with track_stage("pretrain", "medprior", tracking_uri, tmp_path / "b") as observer:
        real = observer.client.log_batch

        def broken(*args, **values):
            raise ConnectionError("gone")

        monkeypatch.setattr(observer.client, "log_batch", broken)
        observer.metrics({"loss": 1.0}, 0)
        observer.flush()
        observer.metrics({"loss": 0.5}, 1)
        monkeypatch.setattr(observer.client, "log_batch", real)
    (run,) = runs(tracking_uri)
    history = mlflow_store.connect_to_store(tracking_uri).get_metric_history(run.info.run_id, "loss")
    assert [item.value for item in history] == [1.0, 0.5]
    assert "ConnectionError" in capsys.readouterr().err


def test_errors_are_described_without_data():
    assert describe_error(Rejected("not_dicom", "x")) == "Rejected: not_dicom"
    missing = InputMissing("no finished result", where="/data/DOE/cohort", found="DOE")
    assert describe_error(missing) == "InputMissing: no finished result"
    with pytest.raises(TypeError) as caught:
        provenance.result_digest(None)  # type: ignore[arg-type]
    assert describe_error(caught.value).startswith("TypeError in read_config, line ")


def test_flatten_keeps_lists_whole():
    flat = flatten_settings({"a": {"b": 1, "c": {"d": None}}, "e": [1, 2], "f": {}, "g(x)": True})
    assert flat == {"a.b": "1", "a.c.d": "None", "e": "[1, 2]", "f": "{}", "g_x_": "True"}
