import argparse
import importlib
import json
import os
import subprocess
import sys

import pytest

import medprior
from medprior import cli

STAGE = """
from medprior.errors import TrainingDiverged, InputMissing

def configure(parser):
    parser.add_argument("what")

def run(args, observer):
    print(type(observer).__name__, sorted(vars(args)))
    if args.what == "input":
        raise InputMissing("no such file", where="INPUT")
    if args.what == "training":
        raise TrainingDiverged("not finite")
    if args.what == "stop":
        raise KeyboardInterrupt
    if args.what == "bug":
        raise ZeroDivisionError
"""


@pytest.fixture(params=[True, False], ids=["tracked", "untracked"])
def stage(request, tmp_path, monkeypatch):
    """A stage `probe` whose argument says how it ends; whether it may be tracked."""
    (tmp_path / "probe_stage.py").write_text(STAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.STAGES, "probe", ("probe_stage", "a stage of this test"))
    monkeypatch.setattr(cli, "UNTRACKED_STAGES", set() if request.param else {"probe"})
    yield request.param
    sys.modules.pop("probe_stage", None)


@pytest.mark.parametrize(
    ("ending", "status", "words"),
    [
        ("well", 0, ""),
        ("input", 2, "medprior probe: INPUT: no such file\n"),
        ("training", 3, "medprior probe: not finite\n"),
        ("stop", 130, ""),
    ],
)
def test_the_status_says_how_a_stage_ended(stage, ending, status, words, capsys):
    tracking = ["--no-tracking"] if stage else []
    assert cli.main(["probe", ending, *tracking]) == status
    printed = capsys.readouterr()
    assert printed.err == words
    names = ["experiment", "no_tracking", "tracking_uri", "what"] if stage else ["what"]
    assert printed.out == f"NullObserver {names}\n"


@pytest.mark.parametrize("stage", [True], indirect=True)
def test_pictures_are_logged_only_when_asked_for(stage, monkeypatch, tmp_path, tracking_uri):
    from medprior.tracking import mlflow_run

    asked = []

    class NotedObserver(mlflow_run.RunObserver):
        def __init__(self, client, run_id, result, pictures=False):
            asked.append((pictures, client.get_run(run_id).info.run_name))
            super().__init__(client, run_id, result, pictures)

    monkeypatch.setattr(mlflow_run, "RunObserver", NotedObserver)
    module = importlib.import_module("probe_stage")
    monkeypatch.setattr(module, "result_folder", lambda args: tmp_path / "JOHN-DOE", raising=False)
    for options in ([], ["--log-pictures", "--run-name", "try"]):
        assert cli.main(["probe", "well", "--tracking-uri", tracking_uri, *options]) == 0
    assert [pictures for pictures, _ in asked] == [False, True]
    assert asked[0][1].startswith("probe-20")
    assert asked[1][1].startswith("probe-try-20")


@pytest.mark.parametrize("stage", [False], indirect=True)
def test_a_private_stage_writes_for_its_owner_only_and_the_umask_comes_back(stage, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "PRIVATE_STAGES", {"probe"})
    module = importlib.import_module("probe_stage")

    def write_files(args, observer):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").write_text("")
        raise ValueError

    monkeypatch.setattr(module, "run", write_files)
    before = os.umask(0o022)
    try:
        with pytest.raises(ValueError):
            cli.main(["probe", "well"])
        after = os.umask(0o022)
    finally:
        os.umask(before)
    assert after == 0o022
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "folder", tmp_path / "folder" / "file")]
    assert modes == [0o700, 0o600]


def test_every_stage_that_reads_patients_is_private():
    assert set(cli.STAGES) > cli.PRIVATE_STAGES
    assert set(cli.STAGES) - cli.PRIVATE_STAGES == {
        "phantom", "register", "export", "promote", "serve", "bench", "doctor", "demo",
    }  # fmt: skip


def test_one_process_stages_are_refused_to_torchrun(stage, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["probe", "well"]) == 2
    assert "without torchrun" in capsys.readouterr().err
    monkeypatch.setattr(cli, "DISTRIBUTED_STAGES", {"probe"})
    assert cli.main(["probe", "well"]) == 0
    assert capsys.readouterr().out.startswith("NullObserver")  # the first process alone is tracked


def test_a_bug_keeps_its_traceback(stage):
    with pytest.raises(ZeroDivisionError):
        cli.main(["probe", "bug", *(["--no-tracking"] if stage else [])])


@pytest.mark.parametrize("stage", [False], indirect=True)
def test_stages_without_a_run_take_no_tracking_options(stage, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["probe", "well", "--no-tracking"])
    assert stop.value.code == 2
    assert "--no-tracking" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]])
def test_help_lists_every_stage(arguments, capsys):
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(cli.STAGES)


def test_the_version_is_printed_and_an_unknown_stage_refused(capsys):
    assert cli.main(["-V"]) == cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"{medprior.__version__}\n" * 2
    assert cli.main(["bake"]) == 2
    assert "no stage 'bake'; known: phantom, ingest," in capsys.readouterr().err


@pytest.mark.parametrize("name", list(cli.STAGES))
def test_every_stage_has_arguments_a_run_and_a_result(name):
    module = importlib.import_module(cli.STAGES[name][0])
    module.configure(argparse.ArgumentParser())
    assert callable(module.run)
    assert name in cli.UNTRACKED_STAGES or callable(module.result_folder)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ingest", "--help"]])
def test_a_reader_that_went_away_is_no_error(arguments, unbuffered):
    """As `medprior --help | head -1`, with the pipe closed before the first byte."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-m", "medprior", *arguments]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False, timeout=300)
    os.close(writing)
    assert (result.returncode, result.stderr) == (0, b"")


def test_help_opens_with_what_a_user_needs(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("medprior finds lungs and heart")
    for command in ("medprior predict chest.dcm -o out", "medprior settings STAGE"):
        assert text.index(command) < text.index("stages, in the order")


def test_a_misspelt_stage_names_the_nearest(capsys):
    assert cli.main(["pretain"]) == 2
    assert capsys.readouterr().err.startswith(
        "medprior: no stage 'pretain'; did you mean 'pretrain'? known: phantom, ingest,"
    )
    assert cli.main(["setting"]) == 2
    assert "did you mean 'settings'?" in capsys.readouterr().err


def test_a_stage_has_settings_where_it_takes_set():
    parsers = {name: argparse.ArgumentParser() for name in cli.STAGES}
    for name, parser in parsers.items():
        importlib.import_module(cli.STAGES[name][0]).configure(parser)
    assert {name for name, parser in parsers.items() if "--set" in parser.format_help()} == set(cli.SETTINGS_BY_STAGE)


@pytest.mark.parametrize("stage", list(cli.SETTINGS_BY_STAGE))
def test_every_setting_of_a_stage_has_a_default_and_a_line(stage, capsys):
    assert cli.main(["settings", stage]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    undescribed = [line for line in lines if not line.split("=", 1)[1].partition("  ")[2].strip()]
    assert undescribed == []
    assert cli.main(["settings", stage, "--json"]) == 0
    schema = json.loads(capsys.readouterr().out)
    top_keys = list(dict.fromkeys(line.split("=")[0].split(".")[0] for line in lines))
    assert top_keys == list(schema["properties"])
    assert [key for key in top_keys if "description" not in schema["properties"][key]] == []


def test_settings_of_pretraining_are_those_of_its_recipe(capsys):
    assert cli.main(["settings", "pretrain"]) == 0
    lines = {line.split("=")[0]: line.split("=", 1)[1] for line in capsys.readouterr().out.splitlines()}
    assert lines["optimiser.lr"].split() == ["0.001", "peak", "learning", "rate,", "before", "`lr_scaling`."]
    assert lines["span.weight"].split()[0] == "0.3"
    assert lines["steps"].split()[0] == "null"


@pytest.mark.parametrize(
    ("stage", "words"),
    [("predict", "options only; expected one of phantom"), ("pretain", "did you mean 'pretrain'?"), ("zzz", "no such")],
)
def test_settings_of_another_word_are_refused(stage, words, capsys):
    assert cli.main(["settings", stage]) == 2
    error = capsys.readouterr().err
    assert error.startswith("medprior settings: STAGE: ")
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("stage_name", "is_named"), [("ingest", True), ("predict", False)])
def test_help_of_a_stage_says_where_its_settings_are(stage_name, is_named, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([stage_name, "--help"])
    assert stop.value.code == 0
    assert (f"medprior settings {stage_name}" in capsys.readouterr().out) == is_named
