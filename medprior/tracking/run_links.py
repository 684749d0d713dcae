"""Links the run of a stage to the runs whose results it read, by their digests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST_TAG = "medprior.result_digest"
PARENT_TAG = "mlflow.parentRunId"
PARENT_INPUTS = ("model", "backbone", "prior", "cohort")
"""Kinds of input, the one that a result is nearest to first: its run becomes the parent."""


def find_producing_run(client: MlflowClient, experiment: str, digest: str, own_run_id: str = "") -> str | None:
    """Id of the latest run in an experiment whose result has a digest; None where there is none."""
    if not digest.isalnum():  # it becomes part of a query
        return None
    runs = client.search_runs([experiment], f"tags.`{DIGEST_TAG}` = '{digest}'", order_by=["start_time DESC"])
    return next((str(run.info.run_id) for run in runs if run.info.run_id != own_run_id), None)


def number_inputs(inputs: Mapping[str, object]) -> dict[str, str]:
    """Inputs of a `config.json` with a digest, by kind: `model`, `model_2` ... for `model.NAME`.

    Names are left out: people name folders after patients.
    """
    numbered: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for name, digest in inputs.items():
        kind = name.partition(".")[0]
        if isinstance(digest, str):
            counts[kind] += 1
            numbered[kind if counts[kind] == 1 else f"{kind}_{counts[kind]}"] = digest
    return numbered


def build_link_tags(client: MlflowClient, run_id: str, inputs: Mapping[str, str]) -> dict[str, str]:
    """Tags that link a run to what it read: digest and run id of each input, and its parent in the list of runs.

    A run that has a parent, as in a comparison, keeps it.

    Args:
        client: of the store.
        run_id: the run that read the inputs.
        inputs: name of `number_inputs` -> digest of the result folder.
    """
    run = client.get_run(run_id)
    tags: dict[str, str] = {}
    sources: dict[str, str] = {}
    for name, digest in inputs.items():
        tags[f"medprior.input.{name}.digest"] = digest
        source = find_producing_run(client, run.info.experiment_id, digest, run_id)
        if source is not None:
            tags[f"medprior.input.{name}.run_id"] = sources[name] = source
    parent = next((sources[name] for name in PARENT_INPUTS if name in sources), None)
    if parent is not None and PARENT_TAG not in run.data.tags:
        tags[PARENT_TAG] = parent
    return tags
