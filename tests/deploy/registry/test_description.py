"""A version's links and description, in a real registry."""

import json
import shutil

from medprior.deploy import register_model
from medprior.provenance import read_config, result_digest, write_config
from medprior.tracking import mlflow_store
from medprior.tracking.mlflow_run import track_stage


def test_a_version_is_linked_to_the_run_of_its_model_and_described_by_its_evidence(
    tracking_uri, classifier, segmenter, tmp_path
):
    shutil.copytree(classifier, tmp_path / "model", ignore=shutil.ignore_patterns("checkpoints"))
    with track_stage("finetune", "medprior", tracking_uri, tmp_path / "model") as finetune:
        pass
    evidence = tmp_path / "evidence"
    with track_stage("evaluate", "medprior", tracking_uri, evidence) as evaluate:
        (evidence / "figures").mkdir(parents=True)
        (evidence / "figures" / "roc.png").write_bytes(b"\x89PNG")
        metrics = {"classification.mauc": {"value": 0.81, "ci95": [0.7, 0.9], "n": 20}}
        (evidence / "metrics.json").write_text(json.dumps(metrics))
        write_config(evidence, "evaluate", {}, inputs={"model.first": tmp_path / "model"})
        config = json.loads((evidence / "config.json").read_text()) | {"primary": {"classification": "first"}}
        (evidence / "config.json").write_text(json.dumps(config))
    version = register_model(
        tmp_path / "model", "cxr", segmenter=segmenter, evidence=evidence, tracking_uri=tracking_uri
    )
    client = mlflow_store.connect_to_store(tracking_uri)
    registered = client.get_model_version("cxr", version)
    tags = {key: value for key, value in registered.tags.items() if key.startswith("medprior.input.")}
    assert tags == {
        "medprior.input.model.digest": result_digest(classifier),
        "medprior.input.model.run_id": finetune.run_id,
        "medprior.input.segmenter.digest": result_digest(segmenter),
    }
    run = client.get_run(registered.run_id)
    assert run.data.tags["mlflow.parentRunId"] == finetune.run_id
    assert run.data.tags["medprior.input.model.run_id"] == finetune.run_id
    text = registered.description
    labels = read_config(classifier)["labels"]
    assert text.startswith(f"**medprior: classification, {', '.join(labels)}**")
    assert "| classification.mauc | 0.81 | [0.700, 0.900] |" in text
    assert f"Made from cohort `{read_config(classifier)['inputs']['cohort'][:12]}`" in text
    assert text.endswith(f"![roc](get-artifact?path=roc.png&run_uuid={evaluate.run_id})")


def test_a_model_without_runs_and_evidence_is_described_by_its_origin(tracking_uri, segmenter):
    register_model(segmenter, "organs", tracking_uri=tracking_uri)
    client = mlflow_store.connect_to_store(tracking_uri)
    version = client.get_model_version("organs", "1")
    assert version.tags["medprior.input.model.digest"] == result_digest(segmenter)
    assert "medprior.input.model.run_id" not in version.tags
    assert version.description.startswith("**medprior: segmentation, ")
    assert "metric" not in version.description
