"""`medprior pretrain`: which of several options wins."""

import argparse
from pathlib import Path

import pytest

from medprior.errors import ConfigError, InputMissing
from medprior.observer import NullObserver
from medprior.pretrain.command import configure, result_folder, run


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
