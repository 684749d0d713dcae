"""Links between runs, in a real store."""

from pathlib import Path

from medprior import provenance
from medprior.tracking import mlflow_store
from medprior.tracking.mlflow_run import track_stage
from medprior.tracking.run_links import find_producing_run, number_inputs
from tests.tracking.test_run_record import finish_stage


def test_a_row_of_stages_is_a_row_of_parents(tracking_uri, tmp_path):
    ingest, cohort = finish_stage(tracking_uri, "ingest", tmp_path / "cohort")
    prior, prior_digest = finish_stage(tracking_uri, "prior", tmp_path / "prior", cohort=tmp_path / "cohort")
    inputs = {"cohort": tmp_path / "cohort", "prior": tmp_path / "prior"}
    pretrain, backbone = finish_stage(tracking_uri, "pretrain", tmp_path / "backbone", **inputs)
    inputs = {"cohort": tmp_path / "cohort", "backbone": tmp_path / "backbone"}
    finetune, model = finish_stage(tracking_uri, "finetune", tmp_path / "model", **inputs)
    inputs = {"cohort": tmp_path / "cohort", "model.Anna Smith": tmp_path / "model"}
    evaluate, _ = finish_stage(tracking_uri, "evaluate", tmp_path / "evidence", **inputs)
    assert "mlflow.parentRunId" not in ingest.data.tags
    parents = {run.data.tags["mlflow.parentRunId"] for run in (prior,)}
    assert parents == {ingest.info.run_id}
    assert pretrain.data.tags["mlflow.parentRunId"] == prior.info.run_id
    assert finetune.data.tags["mlflow.parentRunId"] == pretrain.info.run_id
    assert evaluate.data.tags["mlflow.parentRunId"] == finetune.info.run_id
    links = {key: value for key, value in finetune.data.tags.items() if key.startswith("medprior.input.")}
    assert links == {
        "medprior.input.cohort.digest": cohort, "medprior.input.cohort.run_id": ingest.info.run_id,
        "medprior.input.backbone.digest": backbone, "medprior.input.backbone.run_id": pretrain.info.run_id,
    }  # fmt: skip
    assert evaluate.data.tags["medprior.input.model.digest"] == model
    assert prior_digest != cohort
    # Names of folders may be those of patients.
    assert not any("Anna" in key + value for key, value in evaluate.data.tags.items())


def test_an_input_of_another_store_has_its_digest_alone(tracking_uri, tmp_path):
    provenance.write_config(tmp_path / "cohort", "ingest", {"size": 1})
    run, _ = finish_stage(tracking_uri, "pretrain", tmp_path / "backbone", cohort=tmp_path / "cohort")
    assert run.data.tags["medprior.input.cohort.digest"] == provenance.result_digest(tmp_path / "cohort")
    assert "medprior.input.cohort.run_id" not in run.data.tags
    assert "mlflow.parentRunId" not in run.data.tags


def test_a_run_inside_another_keeps_its_parent(tracking_uri, tmp_path):
    finish_stage(tracking_uri, "ingest", tmp_path / "cohort")
    with track_stage("compare", "medprior", tracking_uri, tmp_path / "comparison") as observer:
        from medprior.tracking.run_record import log_result_folder

        with observer.nested("arm") as child:
            inputs: dict[str, Path] = {"cohort": tmp_path / "cohort"}
            provenance.write_config(tmp_path / "arm", "pretrain", {}, inputs=inputs)
            log_result_folder(child, "pretrain", tmp_path / "arm")
            child_id = child.run_id
        parent = observer.run_id
    tags = mlflow_store.connect_to_store(tracking_uri).get_run(child_id).data.tags
    assert tags["mlflow.parentRunId"] == parent
    assert "medprior.input.cohort.run_id" in tags


def test_the_latest_run_of_a_result_is_found_and_queries_are_not_built_of_names(tracking_uri, tmp_path):
    first, digest = finish_stage(tracking_uri, "ingest", tmp_path / "cohort")
    client, experiment = mlflow_store.connect_to_store(tracking_uri), first.info.experiment_id
    assert find_producing_run(client, experiment, digest) == first.info.run_id
    assert find_producing_run(client, experiment, digest, first.info.run_id) is None
    assert find_producing_run(client, experiment, "' OR tags.x = '") is None


def test_inputs_are_numbered_by_kind():
    inputs = {"cohort": "c", "model.b": "1", "model.a": "2", "prior": None, "backbone.x": "3"}
    assert number_inputs(inputs) == {"cohort": "c", "model": "1", "model_2": "2", "backbone": "3"}
