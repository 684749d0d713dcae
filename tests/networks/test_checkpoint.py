"""Checkpoints that survive a crash."""

import pytest
import torch

from medprior.errors import InputMissing
from medprior.networks.checkpoint import load_newest_checkpoint, save_checkpoint


def test_damaged_checkpoint_falls_back_and_all_damaged_stops(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"step": step, "x": torch.ones(3) * step})
    assert len(list(tmp_path.glob("*.pt"))) == 2
    newest = tmp_path / "step_00000003.pt"
    newest.write_bytes(newest.read_bytes()[:-20])
    assert load_newest_checkpoint(tmp_path)["step"] == 2
    older = tmp_path / "step_00000002.pt"
    older.write_bytes(b"x" + older.read_bytes()[1:])
    with pytest.raises(InputMissing, match="every checkpoint is damaged"):
        load_newest_checkpoint(tmp_path)
    assert load_newest_checkpoint(tmp_path / "nothing") is None


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


def test_one_without_its_digest_counts_as_damaged(tmp_path):
    for step in (9, 10):
        save_checkpoint(tmp_path, step, {"step": step})
    (tmp_path / "step_00000010.sha256").unlink()
    assert load_newest_checkpoint(tmp_path) == {"step": 9}


class Payload:
    """What a checkpoint must not hold."""


def test_objects_are_not_run_although_their_digest_is_right(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1})
    save_checkpoint(tmp_path, 2, {"object": Payload()})
    assert load_newest_checkpoint(tmp_path) == {"step": 1}
