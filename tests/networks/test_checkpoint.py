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
