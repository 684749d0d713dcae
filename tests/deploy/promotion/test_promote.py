"""Which version is meant, what is recorded of a verdict, and what cannot be promoted; no model is trained here."""

import json
from pathlib import Path

import pytest

from medprior.cohort import Cohort
from medprior.deploy.promotion.promote import (
    build_gate_study,
    promote_challenger,
    resolve_version,
    roll_back_champion,
    save_gate_evidence,
)
from medprior.deploy.promotion.settings import GateSettings
from medprior.errors import InputMissing, MedpriorError
from medprior.tracking import mlflow_store


@pytest.fixture
def client(tracking_uri):
    """A store with three versions without files, of which the first is champion."""
    connected = mlflow_store.connect_to_store(tracking_uri)
    connected.create_registered_model("cxr")
    for _ in range(3):
        connected.create_model_version("cxr", "file:///nowhere")
    connected.set_registered_model_alias("cxr", "champion", "1")
    return connected


@pytest.mark.parametrize(("text", "version"), [("2", "2"), ("@challenger", "3"), ("@champion", "1")])
def test_a_number_or_an_alias_names_a_version(client, text, version):
    assert resolve_version(client, "cxr", {"champion": "1", "challenger": "3"}, text) == version


@pytest.mark.parametrize("text", ["4", "0", "-1", "02", "latest", "", "@none", "@", "challenger"])
def test_what_names_no_version_is_refused_with_the_aliases(client, text):
    with pytest.raises(InputMissing, match="no such version") as caught:
        resolve_version(client, "cxr", {"champion": "1", "challenger": "3"}, text)
    assert caught.value.expected == "a version's number or one of @challenger, @champion"
    with pytest.raises(InputMissing) as caught:
        resolve_version(client, "cxr", {}, text)
    assert caught.value.expected.endswith("one of no alias yet")


@pytest.mark.parametrize("challenger", ["1", "@champion"])
def test_the_champion_is_not_its_own_challenger(client, tracking_uri, phantom_cohort, challenger):
    with pytest.raises(MedpriorError, match="that version is champion already"):
        promote_challenger("cxr", phantom_cohort, challenger, tracking_uri=tracking_uri)


def test_without_a_previous_champion_there_is_no_way_back(client, tracking_uri):
    with pytest.raises(InputMissing, match="no champion to go back to"):
        roll_back_champion("cxr", tracking_uri)


def test_the_images_and_resamples_are_those_of_the_gates_settings(phantom_cohort):
    study = build_gate_study(phantom_cohort, "val", GateSettings(resamples=100, seed=7))
    assert study.part.image_ids == Cohort.open(phantom_cohort).split("val").image_ids
    assert (study.settings.resamples, study.settings.seed) == (100, 7)
    assert sum(block.shape[1] for block in study.draws.blocks) == 100


@pytest.mark.parametrize(("passed", "champion", "digest"), [(True, "1", "abc"), (False, None, None)])
def test_a_verdict_is_kept_whole_in_a_run_and_short_as_tags(client, passed, champion, digest):
    evidence = {
        "passed": passed, "champion": champion, "model_digest": digest, "cohort_digest": "c", "split": "val",
        "numbers": {"classification": {"key": "classification.mauc", "challenger": {"classification.mauc": {
            "value": 0.9, "ci95": [0.8, 0.95], "n": 40}}}},
    }  # fmt: skip
    save_gate_evidence(client, "cxr", "2", evidence, "gate room")
    tags = client.get_model_version("cxr", "2").tags
    run = client.get_run(tags.pop("gate.run_id"))
    assert tags == {
        "gate.verdict": "passed" if passed else "refused", "gate.model_digest": digest or "none",
        "gate.champion": champion or "none", "gate.cohort_digest": "c", "gate.split": "val",
        "gate.challenger.classification.mauc": "0.900 [0.800, 0.950] n=40",
    }  # fmt: skip
    assert run.info.status == "FINISHED"
    assert run.info.experiment_id == client.get_experiment_by_name("gate room").experiment_id
    assert run.data.tags["medprior.stage"] == "promote"
    assert json.loads(Path(client.download_artifacts(run.info.run_id, "gate.json")).read_text()) == evidence
    assert not client.get_model_version("cxr", "1").tags
