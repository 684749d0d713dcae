"""Links a registered version to the run of its model, and describes it in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from medprior.deploy.inference.finding_evidence import load_model_metrics
from medprior.provenance import read_config, result_digest
from medprior.tracking.run_links import PARENT_TAG, build_link_tags, find_producing_run, number_inputs
from medprior.tracking.run_record import flatten_metric_entries
from medprior.tracking.run_summary import choose_leading_chart, format_run_summary

if TYPE_CHECKING:
    from mlflow import MlflowClient


def link_version_run(client: MlflowClient, run_id: str, artifacts: Mapping[str, Path]) -> dict[str, str]:
    """Link the run that registers to those that made the models; returns the tags for the version.

    Args:
        client: of the store.
        run_id: the run.
        artifacts: artifact name -> model folder.
    """
    tags = build_link_tags(client, run_id, {name: result_digest(folder) for name, folder in artifacts.items()})
    for key, value in tags.items():
        client.set_tag(run_id, key, value)
    return {key: value for key, value in tags.items() if key != PARENT_TAG}


def describe_version(
    client: MlflowClient, name: str, version: str, artifacts: Mapping[str, Path], evidence: Path | None
) -> None:
    """Write a version's description: its metrics in the evidence, what it was made from, and a chart of the evidence.

    Args:
        client: of the store.
        name: registered model.
        version: its version.
        artifacts: artifact name -> model folder.
        evidence: folder of `medprior evaluate`, or None.
    """
    config = read_config(artifacts["model"])
    metrics, run_id, chart = {}, "", ""
    if evidence is not None:
        metrics = flatten_metric_entries(load_model_metrics(artifacts, evidence))
        experiment = client.get_run(str(client.get_model_version(name, version).run_id)).info.experiment_id
        run_id = find_producing_run(client, experiment, result_digest(evidence)) or ""
        chart = choose_leading_chart([item.path for item in client.list_artifacts(run_id)]) if run_id else ""
    title = f"medprior: {config['task']}, {', '.join(config.get('labels') or config.get('structures') or ())}"
    inputs = number_inputs(config.get("inputs") or {})
    client.update_model_version(name, version, format_run_summary(title, metrics, inputs, run_id, chart))
