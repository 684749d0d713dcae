"""`medprior pretrain`: which of several options wins."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from medprior.errors import ConfigError, InputMissing
from medprior.observer import NullObserver
from medprior.pretrain import pretrain_backbone
from medprior.pretrain.command import configure, result_folder, run

from .runs import TINY_RUN, run_settings


def parse(*options):
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(["cohort", "backbone", *map(str, options)])


def test_set_overrides_recipe_and_recipe_the_file(tmp_path):
    (tmp_path / "run.json").write_text('{"recipe": "of the file"}')
    given = ("--config", tmp_path / "run.json")
    with pytest.raises(ConfigError, match="'of the file'"):
        run(parse(*given), NullObserver())
    with pytest.raises(ConfigError, match="'of the option'"):
        run(parse(*given, "--recipe", "of the option"), NullObserver())
    with pytest.raises(ConfigError, match="'of the override'"):
        run(parse(*given, "--recipe", "of the option", "--set", "recipe=of the override"), NullObserver())


def test_a_missing_plugin_stops_before_anything_else(tmp_path):
    with pytest.raises(InputMissing, match="no such plugin"):
        run(parse("--plugin", tmp_path / "none.py", "--recipe", "magic"), NullObserver())


def test_initial_weights_are_those_of_the_option(phantom_cohort, tmp_path):
    args = parse("--recipe", "dino", "--init", tmp_path / "none.safetensors")
    args.cohort, args.backbone = phantom_cohort, tmp_path / "out"
    with pytest.raises(InputMissing, match="none"):
        run(args, NullObserver())


def test_the_result_folder_is_the_backbone():
    assert result_folder(parse()) == Path("backbone")


def test_processes_of_torchrun_are_one_run(phantom_cohort, tmp_path):
    """Two processes give the losses of one, write one folder and say once where it is."""
    (tmp_path / "run.json").write_text(json.dumps(TINY_RUN))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "medprior"]
    command += ["pretrain", phantom_cohort, tmp_path / "two", "--config", tmp_path / "run.json", "--no-tracking"]
    env = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("backbone: ") == 1
    pretrain_backbone(phantom_cohort, tmp_path / "one", settings=run_settings())
    one, two = (pd.read_csv(tmp_path / name / "metrics.csv") for name in ("one", "two"))
    assert two.step.tolist() == one.step.tolist() == [4, 8, 12]
    assert two.loss_dino[0] == pytest.approx(one.loss_dino[0], rel=1e-3)
    assert two.loss_dino.tolist() == pytest.approx(one.loss_dino.tolist(), rel=1e-2)  # rounding grows step by step
    assert (tmp_path / "two" / "backbone.safetensors").is_file()


def test_processes_that_cannot_meet_are_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ConfigError, match=r"MASTER_ADDR.*torchrun -m medprior pretrain"):
        run(parse("--recipe", "dino"), NullObserver())


def test_the_preset_is_that_of_the_option():
    with pytest.raises(ConfigError, match="no preset 'magic'"):
        run(parse("--preset", "magic"), NullObserver())
