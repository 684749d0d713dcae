"""`medprior promote` from the command line to the registry."""

import json
from pathlib import Path

import pytest

from medprior.cli import main
from medprior.tracking import mlflow_store
from tests.deploy.promotable import load_cxr_aliases, make_alias_champion


def test_the_command_promotes_the_better_and_keeps_the_evidence(filled_uri, discs, capsys):
    make_alias_champion(filled_uri, "weak")
    command = ["promote", "cxr", "--challenger", "@good", "--cohort", str(discs)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "champion mauc" in said
    assert "promoted cxr version 2" in said
    assert (load_cxr_aliases(filled_uri)["champion"], load_cxr_aliases(filled_uri)["previous"]) == ("2", "1")
    client = mlflow_store.connect_to_store(filled_uri)
    tags = client.get_model_version("cxr", "2").tags
    assert tags["gate.verdict"] == "passed"
    assert tags["gate.champion"] == "1"
    assert tags["gate.difference.classification.mauc"].startswith("0.")
    path = client.download_artifacts(tags["gate.run_id"], "gate.json")
    facts = json.loads(Path(path).read_text())
    numbers = facts["numbers"]["classification"]
    assert numbers["difference"]["ci95"][0] > 0
    want = numbers["challenger"]["classification.mauc"]["value"]
    assert want > numbers["champion"]["classification.mauc"]["value"] + 0.2
    assert facts["images"] == facts["patients"] > 70
    assert str(discs) not in json.dumps(facts)
    assert main(command) == 2
    assert "champion already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody", "--cohort", "COHORT"], "no such registered model"),
        (["cxr", "--cohort", "COHORT"], "no such version"),
        (["cxr", "--cohort", "COHORT", "--challenger", "77"], "no such version"),
        (["cxr", "--cohort", "COHORT", "--challenger", "latest"], "no such version"),
        (["cxr", "--challenger", "2"], "no cohort to judge on"),
        (["cxr", "--challenger", "2", "--cohort", "nowhere"], "no finished result"),
        (["cxr", "--challenger", "2", "--cohort", "COHORT", "--margin", "-1"], "margin"),
    ],
)
def test_wrong_requests_are_one_line(filled_uri, discs, capsys, arguments, words):
    asked = [str(discs) if item == "COHORT" else item for item in arguments]
    assert main(["promote", *asked]) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1
