"""A trainer that reads the logs of a step in the next one: as on CUDA, here on the CPU."""

import copy

import numpy as np
import pytest
import torch

from medprior.errors import TrainingDiverged
from medprior.pretrain.deferred_logs import DeferredLogs
from medprior.pretrain.trainer import PretrainTrainer
from medprior.pretrain.views.dataset import SquaresDataset
from medprior.pretrain.views.stored_batches import build_step_loader
from medprior.priors import SpatialPrior

from .multi_crops import STRUCTURES, learner_of, pictures, square_images, tiny

IMAGES = 12
CPU = torch.device("cpu")
EVERY_OBJECTIVE = {
    "recipe": "all", "steps": 8, "window": 2, "network": {"registers": 1},
    "ibot": {"separate_head": True}, "loca": {"cluster": True},
}  # fmt: skip


class PhantomSquares(SquaresDataset):
    """Twelve phantoms, with a prior of the first one's organs."""

    def __init__(self):
        images, masks = pictures(IMAGES)
        self.images = square_images(images[:, 0].numpy())
        self.aspect = np.ones(IMAGES)
        self.ids = tuple(map(str, range(IMAGES)))
        self.prior = SpatialPrior(masks[0].numpy(), STRUCTURES, "static", "annotation")


def trainer_of(settings, deferred):
    loader = build_step_loader(PhantomSquares(), settings)
    return PretrainTrainer(learner_of(settings, [-1, -1, -1]), loader, settings, CPU, deferred=deferred)


def train(trainer, broken=()):
    """Every step's logs; the steps in `broken` are shown a picture that is not finite."""
    logs = []
    for step, batch in enumerate(trainer.data_loader, start=1):
        trainer.state.iteration = step
        if step in broken:
            batch["image"][0] = torch.nan
        logs.append(trainer.step(trainer, batch))
    trainer.read_deferred_logs()
    return logs


def state_of(trainer):
    learner = {key: value.clone() for key, value in trainer.learner.state_dict().items()}
    moments = copy.deepcopy(trainer.optimiser.state_dict()["state"])
    return learner | {f"{index}.{key}": value for index, state in moments.items() for key, value in state.items()}


@pytest.fixture(scope="module")
def settings():
    return tiny(**EVERY_OBJECTIVE, span={"assignment": "hungarian", "assign_after": 0.4, "guard": True})


def test_late_logs_are_the_same_numbers(settings):
    """The two ways differ in the kernel of AdamW and in the rounding of the teacher's average alone."""
    at_once, late = trainer_of(settings, False), trainer_of(settings, True)
    for first, second in zip(train(at_once), train(late), strict=True):
        assert list(first) == list(second)
        assert dict(second) == pytest.approx(first, rel=2e-3, abs=2e-4)
    assert not isinstance(late.optimiser.param_groups[0]["lr"], torch.Tensor)
    assert (at_once.learner.structure_heads() >= 0).all()
    assert at_once.learner.structure_heads().tolist() == late.learner.structure_heads().tolist()
    for network in ("student", "teacher"):
        start, first, second = (
            torch.nn.utils.parameters_to_vector(getattr(learner, network).parameters())
            for learner in (learner_of(settings, [-1, -1, -1]), at_once.learner, late.learner)
        )
        assert (second - first).norm() < 1e-2 * (first - start).norm()


def test_a_step_that_is_not_finite_changes_nothing(settings):
    trainer = trainer_of(settings, True)
    batches = list(trainer.data_loader)
    for step in (1, 2):
        trainer.state.iteration = step
        trainer.step(trainer, batches[step - 1])
    before = state_of(trainer)
    trainer.state.iteration = 3
    batches[2]["image"][0] = torch.nan
    logs = trainer.step(trainer, batches[2])
    after = state_of(trainer)
    assert before.keys() == after.keys()
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    assert logs["skipped_steps"] == 1
    assert (trainer.skipped, trainer.skipped_steps) == (1, 1)
    trainer.state.iteration = 4
    assert trainer.step(trainer, batches[3])["skipped_steps"] == 1
    assert trainer.skipped == 0


def test_the_run_stops_one_step_after_the_eleventh_in_a_row():
    trainer = trainer_of(tiny(recipe="dino", steps=14), True)
    batch = next(iter(trainer.data_loader))
    batch["image"][:] = torch.nan
    for step in range(1, 12):
        trainer.state.iteration = step
        trainer.step(trainer, batch)
    trainer.state.iteration = 12
    with pytest.raises(TrainingDiverged, match="for 11 steps in a row"):
        trainer.step(trainer, batch)


def test_an_optimiser_of_the_other_kind_goes_on(settings):
    """A checkpoint from a CPU on a GPU, and back: the kernel stays that of the machine."""
    at_once, late = trainer_of(settings, False), trainer_of(settings, True)
    train(late)
    at_once.load_optimiser_state(late.optimiser.state_dict())
    assert not at_once.optimiser.param_groups[0]["fused"]
    again = trainer_of(settings, True)
    again.load_optimiser_state(at_once.optimiser.state_dict())
    assert again.optimiser.param_groups[0]["fused"]
    state = again.optimiser.state[again.optimiser.param_groups[0]["params"][0]]
    assert state["step"].item() == 8
    assert state["exp_avg"].abs().sum() > 0


def test_values_are_completed_once_and_as_late_as_possible():
    calls = []

    def complete(numbers):
        calls.append(numbers)
        return numbers | {"loss": 3.0}

    values = torch.tensor([1.5, 2.5])
    logs = DeferredLogs(("a", "b"), values, complete)
    values.zero_()  # the step's own memory is used again before anyone looks
    assert calls == []
    assert (dict(logs), len(logs), logs["a"]) == ({"a": 1.5, "b": 2.5, "loss": 3.0}, 3, 1.5)
    assert calls == [{"a": 1.5, "b": 2.5}]
