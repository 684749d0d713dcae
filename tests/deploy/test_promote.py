"""The gate between challenger and champion: real models, real registry, real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from medprior.cli import main
from medprior.deploy import load_model, register_model
from medprior.deploy.promotion.promote import promote_challenger
from medprior.deploy.promotion.settings import GateSettings
from medprior.deploy.registry import champion
from medprior.deploy.registry.champion import load_aliases, make_champion
from medprior.errors import MedpriorError
from medprior.tracking import mlflow_store
from tests.deploy.discs import changed, disc_cohort, good_model, segmenter_model, weak_model
from tests.deploy.servers import mlflow_server

FAST = GateSettings(resamples=300)
VERSIONS = ("weak", "good", "broken", "sharp", "sized", "again")


@pytest.fixture(scope="module")
def discs(tmp_path_factory) -> Path:
    return disc_cohort(tmp_path_factory.mktemp("discs") / "cohort")


@pytest.fixture(scope="module")
def models(discs, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    weak = weak_model(discs, folder / "weak")
    good = good_model(discs, folder / "good")
    return {
        "weak": weak,
        "good": good,
        "broken": changed(good, folder / "broken", scale=1e25),
        "sharp": changed(good, folder / "sharp", sharpen=0.1),
        "sized": weak_model(discs, folder / "sized", size=48, source_size=64),
        "again": changed(good, folder / "again", sharpen=1.01),
    }


@pytest.fixture(scope="module")
def filled(empty_store, models, tmp_path_factory) -> Path:
    """A store with every model as a version and no champion."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_store, folder / "mlflow.db")
    for number, name in enumerate(VERSIONS, start=1):
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        assert register_model(models[name], "cxr", alias=name, tracking_uri=uri) == str(number)
    return folder / "mlflow.db"


@pytest.fixture
def uri(filled, tmp_path, monkeypatch) -> str:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(filled, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def named(uri: str) -> dict[str, str]:
    return load_aliases(mlflow_store.connect_to_store(uri), "cxr")


def start_with(uri: str, alias: str) -> None:
    client = mlflow_store.connect_to_store(uri)
    make_champion(client, "cxr", named(uri)[alias], named(uri).get("champion"))


def test_the_command_promotes_the_better_and_keeps_the_evidence(uri, discs, capsys):
    start_with(uri, "weak")
    command = ["promote", "cxr", "--challenger", "@good", "--cohort", str(discs)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "champion mauc" in said
    assert "promoted cxr version 2" in said
    assert (named(uri)["champion"], named(uri)["previous"]) == ("2", "1")
    client = mlflow_store.connect_to_store(uri)
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


def test_the_evidence_is_what_evaluate_measures(uri, discs, models, tmp_path):
    from medprior.evaluate.evaluate import evaluate_cohort
    from medprior.evaluate.settings import EvaluateSettings

    facts = promote_challenger("cxr", discs, "@good", settings=FAST, tracking_uri=uri)
    metrics = evaluate_cohort(
        discs, tmp_path / "evidence", model=models["good"], settings=EvaluateSettings(resamples=300)
    )
    found = facts["numbers"]["classification"]["challenger"]
    for key in ("classification.mauc", "classification.ece"):
        assert found[key]["value"] == pytest.approx(metrics[key]["value"], abs=1e-9)
        assert found[key]["ci95"] == pytest.approx(metrics[key]["ci95"], abs=1e-9)


@pytest.mark.parametrize(
    ("challenger", "words"),
    [
        ("@weak", ("quality", "champion mauc 0.9", "challenger mauc 0.", "difference -0.")),
        ("@broken", ("finite outputs: not on", "smoke prediction")),
        ("@sharp", ("calibration: champion ece", "difference +0.")),
        ("@sized", ("preprocessing: size 64 -> 48", "--allow-preprocessing")),
    ],
)
def test_what_is_worse_is_refused_with_the_figures(uri, discs, capsys, challenger, words):
    start_with(uri, "good")
    assert main(["promote", "cxr", "--challenger", challenger, "--cohort", str(discs)]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors
    assert named(uri)["champion"] == "2"
    version = named(uri)[challenger[1:]]
    tags = mlflow_store.connect_to_store(uri).get_model_version("cxr", version).tags
    assert tags["gate.verdict"] == "refused"


def test_no_worse_within_the_margin_is_enough(uri, discs):
    start_with(uri, "good")
    facts = promote_challenger("cxr", discs, "@again", settings=FAST, tracking_uri=uri)
    assert facts["numbers"]["classification"]["difference"]["value"] == 0
    assert named(uri)["champion"] == named(uri)["again"]


def test_other_preprocessing_may_be_allowed_but_must_still_be_good(uri, discs):
    start_with(uri, "good")
    settings = GateSettings(resamples=300, allow_preprocessing=True)
    with pytest.raises(MedpriorError, match="quality: champion"):
        promote_challenger("cxr", discs, "@sized", settings=settings, tracking_uri=uri)


def test_the_first_champion_meets_absolute_bounds(uri, discs):
    for alias in ("@weak", "@broken"):
        with pytest.raises(MedpriorError, match="there is no champion yet"):
            promote_challenger("cxr", discs, alias, settings=FAST, tracking_uri=uri)
    assert "champion" not in named(uri)
    promote_challenger("cxr", discs, "2", settings=FAST, tracking_uri=uri)
    assert named(uri)["champion"] == "2"
    assert "previous" not in named(uri)


def test_its_own_training_patients_are_no_judges(uri, discs, models, tmp_path):
    start_with(uri, "weak")
    with pytest.raises(MedpriorError, match="patients apart: trained on this cohort"):
        promote_challenger("cxr", discs, "@good", split="val", settings=FAST, tracking_uri=uri)
    # The same patients in another cohort: only the record of the registration can tell. (A patient
    # falls into the same split in every cohort, so that its own test split is free of them.)
    other = disc_cohort(tmp_path / "other", patients=100)
    facts = promote_challenger("cxr", other, "@good", settings=FAST, tracking_uri=uri)
    assert any("not recorded" in check["text"] for check in facts["checks"])
    register_model(models["again"], "cxr", "told", tracking_uri=uri, cohorts=[discs])
    with pytest.raises(MedpriorError, match=r"patients apart: 1\d\d training patients recorded"):
        promote_challenger("cxr", other, "@told", split="train", settings=FAST, tracking_uri=uri)
    strangers = disc_cohort(tmp_path / "strangers", patients=150, first=5000)
    promote_challenger("cxr", strangers, "@told", settings=FAST, tracking_uri=uri)
    with pytest.raises(MedpriorError, match="trained on another cohort"):
        register_model(models["again"], "cxr", "told", tracking_uri=uri, cohorts=[other])


def test_rollback_goes_back_and_forth(uri, discs, capsys):
    start_with(uri, "weak")
    assert main(["promote", "cxr", "--rollback"]) == 2
    assert "no champion to go back to" in capsys.readouterr().err
    promote_challenger("cxr", discs, "@good", settings=FAST, tracking_uri=uri)
    assert main(["promote", "cxr", "--rollback"]) == 0
    assert "version 1 is champion again" in capsys.readouterr().out
    assert (named(uri)["champion"], named(uri)["previous"]) == ("1", "2")
    assert main(["promote", "cxr", "--rollback"]) == 0
    assert named(uri)["champion"] == "2"


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
def test_wrong_requests_are_one_line(uri, discs, capsys, arguments, words):
    asked = [str(discs) if item == "COHORT" else item for item in arguments]
    assert main(["promote", *asked]) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1


def processes(uri: str, discs: Path, folder: Path, *challengers: str) -> list[tuple[int, str]]:
    """`medprior promote` at once in so many processes, each ready before the first moves."""
    code = """
        import sys, time
        from pathlib import Path
        from medprior.deploy.registry import champion
        from medprior.cli import main
        here, count, uri, cohort, challenger = sys.argv[1:]
        crown = champion.make_champion
        def together(*arguments):
            (Path(here) / challenger).touch()
            while len(list(Path(here).iterdir())) < int(count):
                time.sleep(0.01)
            crown(*arguments)
        champion.make_champion = together
        sys.exit(main(["promote", "cxr", "--challenger", challenger, "--cohort", cohort,
                       "--tracking-uri", uri, "--set", "resamples=200"]))
    """
    folder.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(folder), str(len(challengers)), uri,
             str(discs), challenger],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )
        for challenger in challengers
    ]  # fmt: skip
    try:
        return [(one.wait(timeout=100), one.communicate()[1]) for one in started]
    finally:
        for one in started:
            one.kill()


def test_of_two_at_once_exactly_one_wins(uri, discs, tmp_path):
    start_with(uri, "weak")
    answers = processes(uri, discs, tmp_path / "ready", "@good", "@again")
    assert sorted(status for status, _ in answers) == [0, 2], answers
    (lost,) = [text for status, text in answers if status == 2]
    assert "the champion changed meanwhile" in lost
    winner = "good" if answers[0][0] == 0 else "again"
    assert named(uri)["champion"] == named(uri)[winner]
    assert named(uri)["previous"] == "1"


SLOW = pytest.mark.slow


@pytest.mark.parametrize("last_call", [pytest.param(0, marks=SLOW), 1, pytest.param(2, marks=SLOW)])
def test_a_kill_in_the_middle_loses_no_champion(uri, discs, tmp_path, last_call):
    start_with(uri, "weak")
    code = """
        import os, signal, sys
        from mlflow import MlflowClient
        from medprior.cli import main
        calls, left = MlflowClient.set_registered_model_alias, [int(sys.argv[3])]
        def dying(self, *arguments):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            calls(self, *arguments)
            if left[0] == 0 and arguments[1] == "champion":
                os.kill(os.getpid(), signal.SIGKILL)
        MlflowClient.set_registered_model_alias = dying
        main(["promote", "cxr", "--challenger", "@good", "--cohort", sys.argv[2],
              "--tracking-uri", sys.argv[1], "--set", "resamples=200"])
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), uri, str(discs), str(last_call)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
        env=os.environ,
    )
    assert answer.returncode == -signal.SIGKILL, answer.stderr
    assert named(uri)["champion"] == ("2" if last_call == 2 else "1")
    assert load_model("models:/cxr@champion", uri).models
    if last_call < 2:
        promote_challenger("cxr", discs, "@good", settings=FAST, tracking_uri=uri)
    assert (named(uri)["champion"], named(uri)["previous"]) == ("2", "1")


def test_masks_are_judged_by_dice_and_are_not_lost(uri, discs, models, tmp_path):
    poor = segmenter_model(discs, tmp_path / "poor", epochs=1)
    sound = segmenter_model(discs, tmp_path / "sound", epochs=3)
    register_model(models["good"], "both", "challenger", segmenter=sound, tracking_uri=uri)
    facts = promote_challenger("both", discs, settings=FAST, tracking_uri=uri)
    dice = facts["numbers"]["segmentation"]["challenger"]["segmentation.dice.mean"]
    assert dice["ci95"][0] > 0.5
    register_model(models["good"], "both", "challenger", segmenter=poor, tracking_uri=uri)
    with pytest.raises(MedpriorError, match="segmentation quality: champion dice"):
        promote_challenger("both", discs, settings=FAST, tracking_uri=uri)
    register_model(models["good"], "both", "challenger", tracking_uri=uri)
    with pytest.raises(MedpriorError, match="champion has a segmentation model"):
        promote_challenger("both", discs, settings=FAST, tracking_uri=uri)
    allowed = GateSettings(resamples=300, allow_labels=True)
    promote_challenger("both", discs, settings=allowed, tracking_uri=uri)
    assert load_aliases(mlflow_store.connect_to_store(uri), "both")["champion"] == "3"


@pytest.fixture(scope="module")
def server(filled, tmp_path_factory):
    """`mlflow server` over a copy of the filled store."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(filled, folder / "mlflow.db")
    store_uri = f"sqlite:///{folder / 'mlflow.db'}"
    artifacts = ("--artifacts-destination", str(folder / "artifacts"))
    with mlflow_server(store_uri, folder / "server", *artifacts) as uri:
        yield uri


@pytest.mark.slow
def test_over_a_server_exactly_one_of_two_wins(server, discs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start_with(server, "weak")
    answers = processes(server, discs, tmp_path / "ready", "@good", "@again")
    assert sorted(status for status, _ in answers) == [0, 2], answers
    winner = "good" if answers[0][0] == 0 else "again"
    assert named(server)["champion"] == named(server)[winner]
    assert named(server)["previous"] == "1"
    names = [model.name for model in mlflow_store.connect_to_store(server).search_registered_models()]
    assert names == ["cxr"]


@pytest.mark.slow
def test_a_lock_left_by_a_killed_process_is_taken_over(server, monkeypatch):
    monkeypatch.setattr(champion, "LOCK_WAIT_SECONDS", 0.5)
    client = mlflow_store.connect_to_store(server)
    client.create_registered_model("cxr.promotion-lock")
    make_champion(client, "cxr", "3", named(server)["champion"])
    assert named(server)["champion"] == "3"
    assert [model.name for model in client.search_registered_models()] == ["cxr"]
