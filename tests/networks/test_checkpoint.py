import pytest
import torch

from medprior.errors import InputMissing
from medprior.networks.checkpoint import load_newest_checkpoint, save_checkpoint


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_at_least_two_are_kept_whatever_is_asked_for(tmp_path):
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step, {"step": step}, keep=1)
    assert names(tmp_path) == [f"step_{step:08d}.{end}" for step in (2, 10) for end in ("pt", "sha256")]
    for step in (11, 12):
        save_checkpoint(tmp_path, step, {"step": step}, keep=3)
    assert len(names(tmp_path)) == 6
    assert load_newest_checkpoint(tmp_path) == {"step": 12}


def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path):
    for step in (9, 10):
        save_checkpoint(tmp_path, step, {"weight": torch.full((2,), float(step))})
    newest = tmp_path / "step_00000010.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert load_newest_checkpoint(tmp_path)["weight"].tolist() == [9, 9]
    (tmp_path / "step_00000009.sha256").unlink()
    with pytest.raises(InputMissing, match="every checkpoint is damaged"):
        load_newest_checkpoint(tmp_path)


def test_without_a_checkpoint_there_is_none(tmp_path):
    assert load_newest_checkpoint(tmp_path) is None
    assert load_newest_checkpoint(tmp_path / "missing") is None


class Payload:
    """What a checkpoint must not hold."""


def test_objects_are_not_run_although_their_digest_is_right(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1})
    save_checkpoint(tmp_path, 2, {"object": Payload()})
    assert load_newest_checkpoint(tmp_path) == {"step": 1}
