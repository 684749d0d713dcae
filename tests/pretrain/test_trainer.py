"""A batch worked through in parts is the whole batch, where the mathematics allow it; steps that are skipped."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from medprior.errors import ConfigError, TrainingDiverged, TrainingFailed
from medprior.networks.vit import VisionTransformer
from medprior.pretrain import Pretraining, PretrainSettings, pretrain_backbone
from medprior.pretrain.trainer import average_logs
from medprior.settings import merge_mappings

from . import processes
from .multi_crops import square_images, tiny
from .runs import TINY_RUN, run_settings

EACH = {"batch_norm": False, "koleo_weight": 0.0}
EQUAL = {
    "dino": {"recipe": "dino"},
    "span": {"recipe": "span"},
    "span on local views": {
        "recipe": "span", "crops": {"local_size": 48}, "span": {"local_views": True},
    },
    "sar": {"recipe": "sar"},
    "loca": {"recipe": "loca", "loca": {"cluster": False}},
    "ibot": {"recipe": "ibot"},
    "all": {"recipe": "all"},
}  # fmt: skip


@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_give_losses_gradients_and_centres_of_the_whole(name, parts):
    settings = tiny(**merge_mappings(EQUAL[name], {"dino": EACH}))
    whole, split = processes.take_step(settings, 0, 1), processes.take_step(settings, 0, 1, parts)
    for key, value in whole["losses"].items():
        assert split["losses"][key] == pytest.approx(value, rel=1e-5), key
    left, right = np.array(whole["gradient"]), np.array(split["gradient"])
    assert np.linalg.norm(left - right) < 1e-4 * np.linalg.norm(left)
    for key, value in whole["kept"].items():
        np.testing.assert_allclose(split["kept"][key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"dino": {"batch_norm": True}}, {"dino": {"teacher": "sinkhorn"}}, {"recipe": "loca"}],
)
def test_statistics_of_the_batch_are_those_of_a_part(changes):
    """What the README says is not equal: batch norm, Sinkhorn, even use of prototypes."""
    settings = tiny(**merge_mappings({"dino": EACH}, changes))
    whole, split = processes.take_step(settings, 0, 1), processes.take_step(settings, 0, 1, 2)
    assert whole["losses"] != pytest.approx(split["losses"], rel=1e-5)


def test_a_run_in_parts(phantom_cohort, tmp_path):
    losses = []
    for parts in (1, 2):
        changes = {
            "accumulate": parts, "recipe": "nokoleo+sar+loca", "steps": 4, "window": 1,
            "dino": {"weight": 0.0}, "loca": {"cluster": False},
        }  # fmt: skip
        settings = PretrainSettings.from_values(merge_mappings(TINY_RUN, changes))
        pretrain_backbone(phantom_cohort, tmp_path / str(parts), settings=settings)
        losses.append(pd.read_csv(tmp_path / str(parts) / "metrics.csv").loss)
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    assert losses[0].tolist() == pytest.approx(losses[1].tolist(), rel=1e-3)
    with pytest.raises(ConfigError, match="accumulate"):
        pretrain_backbone(
            phantom_cohort, tmp_path / "x",
            settings=PretrainSettings.from_values(TINY_RUN | {"accumulate": 3}),
        )  # fmt: skip


def limit_memory(monkeypatch, most):
    """A device that holds no more than `most` pictures in one pass of a network."""
    forward = VisionTransformer.forward

    def forward_few(network, images, *args, **kwargs):
        if len(images) > most:
            raise torch.OutOfMemoryError("out of memory")
        return forward(network, images, *args, **kwargs)

    monkeypatch.setattr(VisionTransformer, "forward", forward_few)


def assert_same_backbone(first, second):
    """Two runs have the same weights, bit for bit."""
    one, other = (load_file(folder / "backbone.safetensors") for folder in (first, second))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=0, atol=0)


def test_a_step_that_does_not_fit_goes_on_in_more_parts(phantom_cohort, tmp_path, monkeypatch, caplog):
    """The run is that of someone who had set `accumulate` so from the start."""
    changes = {
        "recipe": "nokoleo+sar+loca", "steps": 4, "window": 1, "dino": {"weight": 0.0},
        "loca": {"cluster": False},
    }  # fmt: skip
    settings = PretrainSettings.from_values(merge_mappings(TINY_RUN, changes))
    asked = settings.model_copy(update={"accumulate": 4})
    pretrain_backbone(phantom_cohort, tmp_path / "asked", settings=asked)
    limit_memory(monkeypatch, settings.batch // 2)
    pretrain_backbone(phantom_cohort, tmp_path / "met", settings=settings)
    assert "accumulate=4" in caplog.text
    assert_same_backbone(tmp_path / "asked", tmp_path / "met")


def test_gradients_of_an_attempt_that_did_not_fit_are_forgotten(phantom_cohort, tmp_path, monkeypatch, caplog):
    """Memory ends in the second part of the second step, when the first part has left its gradients."""
    changes = {"recipe": "nokoleo+sar+loca", "steps": 4, "dino": {"weight": 0.0}, "loca": {"cluster": False}}
    settings = PretrainSettings.from_values(merge_mappings(TINY_RUN, changes))
    asked = settings.model_copy(update={"accumulate": 4})
    pretrain_backbone(phantom_cohort, tmp_path / "asked", settings=asked)
    forward, backward, passed = VisionTransformer.forward, torch.Tensor.backward, []

    def note_backward(loss, *args, **kwargs):
        backward(loss, *args, **kwargs)
        passed.append("backward")

    def fail_after_a_backward_pass(network, *args, **kwargs):
        if passed == 3 * ["backward"]:
            passed.append("failure")
            raise torch.OutOfMemoryError("out of memory")
        return forward(network, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "backward", note_backward)
    monkeypatch.setattr(VisionTransformer, "forward", fail_after_a_backward_pass)
    halves = settings.model_copy(update={"accumulate": 2})
    pretrain_backbone(phantom_cohort, tmp_path / "met", settings=halves)
    assert passed[:4] == [*3 * ["backward"], "failure"]
    assert "accumulate=4" in caplog.text
    assert_same_backbone(tmp_path / "asked", tmp_path / "met")


def test_what_never_fits_stops_with_advice(phantom_cohort, tmp_path, monkeypatch):
    settings = PretrainSettings.from_values(TINY_RUN | {"steps": 2})
    limit_memory(monkeypatch, 1)
    with pytest.raises(TrainingFailed, match="memory does not hold") as failed:
        pretrain_backbone(phantom_cohort, tmp_path / "out", settings=settings)
    assert "accumulate=" in str(failed.value)


def test_non_finite_loss_is_skipped_then_stops(phantom_cohort, tmp_path):
    run = Pretraining(phantom_cohort, tmp_path / "out", settings=run_settings(steps=60))
    before = {k: v.clone() for k, v in run.trainer.learner.student.state_dict().items()}
    run.dataset.images = square_images(np.full(run.dataset.images.shape, np.nan, np.float32))
    with pytest.raises(TrainingFailed, match="not finite"):
        run.run()
    after = run.trainer.learner.student.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_logs_are_means_over_the_parts_that_have_them():
    parts = [{"a": torch.tensor(1.0)}, {"a": torch.tensor(4), "b": torch.tensor(5.0)}]
    assert {name: value.item() for name, value in average_logs(parts).items()} == {"a": 2.5, "b": 5.0}
    assert average_logs(parts[:1]) is parts[0]


def test_rates_follow_the_progress_of_the_run(phantom_cohort, tmp_path):
    """Four steps, a warm-up of one: nothing, the peak, then down a cosine; the first step is at progress 0."""
    optimiser = {"lr": 1e-3, "final_lr": 0.0, "warmup": 0.25, "weight_decay": [0.0, 0.4]}
    without_dino = TINY_RUN["dino"] | {"weight": 0.0}
    settings = run_settings(recipe="sar", steps=4, window=1, optimiser=optimiser, dino=without_dino)
    run = Pretraining(phantom_cohort, tmp_path, settings=settings)
    run.trainer.run()
    rows = pd.DataFrame(run.metrics.rows)
    assert rows.lr.tolist() == pytest.approx([0, 1e-3, 7.5e-4, 2.5e-4], abs=1e-10)
    assert rows.sar_weight.tolist() == pytest.approx([0, 0.009330127, 0.005868241, 0.001786062], rel=1e-5)
    assert rows.loss.tolist() == pytest.approx(
        (0.1 * rows.loss_koleo + rows.sar_weight * rows.loss_sar).tolist(), rel=1e-5
    )
    decaying, rest = run.trainer.optimiser.param_groups
    assert decaying["weight_decay"] == pytest.approx(0.3414214)  # at 3/4 of the run, from 0 to 0.4
    assert rest["weight_decay"] == 0
    assert "koleo_weight" not in rows


def test_the_teacher_stands_still_where_its_momentum_is_one(phantom_cohort, tmp_path):
    """Its momentum rises from `teacher_momentum` to 1; the first step takes the start's."""
    run = Pretraining(
        phantom_cohort, tmp_path, settings=run_settings(steps=4, dino=TINY_RUN["dino"] | {"teacher_momentum": 0.0})
    )
    run.trainer.state.iteration = 1
    learner = run.trainer.learner
    with torch.no_grad():
        learner.student.head.prototypes.add_(1.0)
    run.trainer._update()
    assert torch.equal(learner.teacher.head.prototypes, learner.student.head.prototypes)
    run.trainer.state.iteration = 5  # progress 1
    before = learner.teacher.head.prototypes.clone()
    with torch.no_grad():
        learner.student.head.prototypes.add_(1.0)
    run.trainer._update()
    assert torch.equal(learner.teacher.head.prototypes, before)


def test_ten_steps_in_a_row_may_be_skipped(phantom_cohort, tmp_path):
    trainer = Pretraining(phantom_cohort, tmp_path, settings=run_settings()).trainer
    for _ in range(10):
        trainer._skip()
    trainer.state.iteration = 1
    trainer._update()
    assert (trainer.skipped, trainer.skipped_steps) == (0, 10)
    for _ in range(10):
        trainer._skip()
    with pytest.raises(TrainingDiverged, match="for 11 steps in a row"):
        trainer._skip()
    assert trainer.skipped_steps == 21
