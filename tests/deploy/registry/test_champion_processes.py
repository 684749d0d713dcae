"""Promotions in real processes: at once, killed in the middle, and over a server."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from medprior.deploy import load_model
from medprior.deploy.promotion.promote import promote_challenger
from medprior.deploy.registry import champion
from medprior.deploy.registry.champion import make_champion
from medprior.tracking import mlflow_store
from tests.deploy.promotable import FAST_GATE, load_cxr_aliases, make_alias_champion
from tests.deploy.servers import mlflow_server


def promote_at_once(uri: str, discs: Path, folder: Path, *challengers: str) -> list[tuple[int, str]]:
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
        return [(one.wait(timeout=100), one.communicate(timeout=300)[1]) for one in started]
    finally:
        for one in started:
            one.kill()


def test_of_two_at_once_exactly_one_wins(filled_uri, discs, tmp_path):
    make_alias_champion(filled_uri, "weak")
    answers = promote_at_once(filled_uri, discs, tmp_path / "ready", "@good", "@again")
    assert sorted(status for status, _ in answers) == [0, 2], answers
    (lost,) = [text for status, text in answers if status == 2]
    assert "the champion changed meanwhile" in lost
    winner = "good" if answers[0][0] == 0 else "again"
    assert load_cxr_aliases(filled_uri)["champion"] == load_cxr_aliases(filled_uri)[winner]
    assert load_cxr_aliases(filled_uri)["previous"] == "1"


SLOW = pytest.mark.slow


@pytest.mark.parametrize("last_call", [pytest.param(0, marks=SLOW), 1, pytest.param(2, marks=SLOW)])
def test_a_kill_in_the_middle_loses_no_champion(filled_uri, discs, tmp_path, last_call):
    make_alias_champion(filled_uri, "weak")
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
        [sys.executable, "-c", textwrap.dedent(code), filled_uri, str(discs), str(last_call)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
        env=os.environ,
    )
    assert answer.returncode == -signal.SIGKILL, answer.stderr
    assert load_cxr_aliases(filled_uri)["champion"] == ("2" if last_call == 2 else "1")
    assert load_model("models:/cxr@champion", filled_uri).models
    if last_call < 2:
        promote_challenger("cxr", discs, "@good", settings=FAST_GATE, tracking_uri=filled_uri)
    assert (load_cxr_aliases(filled_uri)["champion"], load_cxr_aliases(filled_uri)["previous"]) == ("2", "1")


@pytest.fixture(scope="module")
def server(filled_store, tmp_path_factory):
    """`mlflow server` over a copy of the filled_store store."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(filled_store, folder / "mlflow.db")
    store_uri = f"sqlite:///{folder / 'mlflow.db'}"
    artifacts = ("--artifacts-destination", str(folder / "artifacts"))
    with mlflow_server(store_uri, folder / "server", *artifacts) as uri:
        yield uri


@pytest.mark.slow
def test_over_a_server_exactly_one_of_two_wins(server, discs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_alias_champion(server, "weak")
    answers = promote_at_once(server, discs, tmp_path / "ready", "@good", "@again")
    assert sorted(status for status, _ in answers) == [0, 2], answers
    winner = "good" if answers[0][0] == 0 else "again"
    assert load_cxr_aliases(server)["champion"] == load_cxr_aliases(server)[winner]
    assert load_cxr_aliases(server)["previous"] == "1"
    names = [model.name for model in mlflow_store.connect_to_store(server).search_registered_models()]
    assert names == ["cxr"]


@pytest.mark.slow
def test_a_lock_left_by_a_killed_process_is_taken_over(server, monkeypatch):
    monkeypatch.setattr(champion, "LOCK_WAIT_SECONDS", 0.5)
    client = mlflow_store.connect_to_store(server)
    client.create_registered_model("cxr.promotion-lock")
    make_champion(client, "cxr", "3", load_cxr_aliases(server)["champion"])
    assert load_cxr_aliases(server)["champion"] == "3"
    assert [model.name for model in client.search_registered_models()] == ["cxr"]
