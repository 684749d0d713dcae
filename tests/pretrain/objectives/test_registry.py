"""An objective is one file: of a plugin, of an installed package, or of one line in the registry."""

import json
from importlib.metadata import EntryPoint

import pandas as pd
import pytest

from medprior.cli import main
from medprior.errors import ConfigError, InputMissing
from medprior.pretrain import PretrainSettings
from medprior.pretrain.learner import Learner
from medprior.pretrain.objectives import registry

from ..runs import TINY_RUN

PLUGIN = """
from __future__ import annotations

import torch

from medprior.pretrain.objectives.objective import Objective
from medprior.pretrain.objectives.objective_settings import ObjectiveNeeds, ObjectiveSettings


class SpreadSettings(ObjectiveSettings):
    active_needs = ObjectiveNeeds(masks=True)
    target: float = 1.0


class SpreadObjective(Objective):
    name = "spread"
    section_type = SpreadSettings
    scheduled = True
    cls_row_stacks = 1

    def __init__(self, settings):
        super().__init__()
        self.settings = settings.sections[self.name]
        self.register_buffer("steps", torch.zeros(()))

    def weight(self, progress):
        return self.settings.weight * (1 - progress)

    def parts(self):
        return {"spread": torch.nn.Linear(24, 1)}

    def sample_masks(self, step, part, whole, grid):
        return torch.zeros(2 * (part.stop - part.start), grid[0] * grid[1], dtype=torch.bool)

    def loss(self, multi_crop, targets, count, outputs):
        tokens = outputs.views[0]
        assert tokens.cls_logits is not None and not multi_crop.masked.any()
        score = outputs.student.parts["spread"](tokens.cls).square().mean()
        return (score - self.settings.target).abs(), {"spread_steps": self.steps.clone()}

    def commit_step(self):
        self.steps += 1
"""


@pytest.fixture(autouse=True)
def untouched_registry(monkeypatch):
    monkeypatch.setattr(registry, "OBJECTIVES", dict(registry.OBJECTIVES))


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "my_objective.py"
    path.write_text(PLUGIN)
    return path


def pretrain(cohort, folder, *options):
    (folder.parent / "tiny.json").write_text(json.dumps(TINY_RUN | {"steps": 2, "batch": 16, "window": 1}))
    config = ["--config", str(folder.parent / "tiny.json"), "--no-tracking"]
    return main(["pretrain", str(cohort), str(folder), *config, *map(str, options)])


def test_a_plugin_file_trains_by_the_command_line(phantom_cohort, tmp_path, plugin):
    spread = ("--plugin", plugin, "--set", "spread.weight=0.5", "--set", "spread.target=3")
    assert pretrain(phantom_cohort, tmp_path / "out", *spread) == 0
    table = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert (table.loss_spread > 2).all()
    assert table.spread_weight.tolist() == [0.5, 0.25]
    assert table.spread_steps.tolist() == [0, 1]
    rest = table.loss_dino + 0.1 * table.loss_koleo + table.spread_weight * table.loss_spread
    assert table.loss.tolist() == pytest.approx(rest.tolist(), rel=1e-4)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["settings"]["spread"] == {"weight": 0.5, "target": 3.0}


def test_by_a_line_of_the_registry_or_an_entry_point(monkeypatch, tmp_path, plugin):
    monkeypatch.syspath_prepend(tmp_path)
    line = "my_objective:SpreadObjective"
    values = TINY_RUN | {"spread": {"weight": 1.0}}
    with pytest.raises(ConfigError, match="unknown key 'spread'"):
        PretrainSettings.from_values(values)
    with monkeypatch.context() as patch:
        patch.setitem(registry.OBJECTIVES, "spread", line)
        assert list(Learner(PretrainSettings.from_values(values).resolve(64)).objectives)[-1] == "spread"
    entry = EntryPoint("spread", line, "medprior.objectives")
    monkeypatch.setattr(registry, "find_installed_objectives", registry.find_installed_objectives.__wrapped__)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == entry.group else [])
    learner = Learner(PretrainSettings.from_values(values).resolve(64))
    assert list(learner.objectives)[-1] == "spread"
    assert "student.parts.spread.weight" in learner.state_dict()


def test_a_plugin_at_weight_zero_does_not_exist_and_a_bad_one_is_refused(tmp_path, plugin):
    registry.load_plugin(plugin)
    registry.load_plugin(plugin)
    settings = PretrainSettings.from_values(TINY_RUN).resolve(64)
    assert settings.sections["spread"].weight == 0
    assert "spread" not in Learner(settings).objectives
    with pytest.raises(InputMissing, match="no such plugin"):
        registry.load_plugin(tmp_path / "missing.py")
    empty, taken = tmp_path / "empty.py", tmp_path / "taken.py"
    empty.write_text("")
    taken.write_text(PLUGIN.replace('"spread"', '"dino"'))
    with pytest.raises(ConfigError, match="no subclass"):
        registry.load_plugin(empty)
    with pytest.raises(ConfigError, match=r"exists.*dino"):
        registry.load_plugin(taken)
