"""What a worker refuses, and that no error of it escapes."""

import pytest
import torch

from medprior import __version__
from medprior.errors import InputMissing, MedpriorError
from medprior.evaluate.compare.dask_worker import execute_run, execute_run_message, pin_gpu
from medprior.evaluate.compare.settings import CompareSettings
from medprior.workers.secret_bytes import pack_message, unpack_message


def describe_run(cohort, folder, **changes):
    facts = {
        "version": __version__, "cohort": str(cohort), "folder": str(folder), "origin": str(folder), "seed": 0,
        "settings": CompareSettings().model_dump(mode="json"), "arm": {"recipe": "dino"}, "excluded": [], "threads": 1,
    }  # fmt: skip
    return facts | changes


def test_folders_that_a_worker_does_not_see_are_refused(tmp_path, cohort_path):
    with pytest.raises(InputMissing, match="does not see the cohort"):
        execute_run(describe_run(tmp_path / "none", tmp_path / "a-0"))
    with pytest.raises(InputMissing, match="does not see the cohort"):
        execute_run(describe_run(cohort_path, tmp_path / "none" / "a-0"))


def test_a_worker_of_another_version_is_refused(tmp_path, cohort_path):
    with pytest.raises(MedpriorError):
        execute_run(describe_run(cohort_path, tmp_path / "a-0", version="0.0.0+other"))


def test_an_error_is_an_answer_without_its_text():
    """Outside a worker there is none to be found: the type of the error is told, not its message."""
    answer, _ = unpack_message(execute_run_message("none", pack_message({}, [])))
    assert answer["failed"] is False
    assert answer["stop"].startswith("unexpected ")
    assert answer["stop"].endswith(" in a worker")


def test_numbered_workers_take_turns_on_the_gpus(monkeypatch):
    """Which card is current is torch's state; without a card only what is asked of torch can be seen."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    pin_gpu(0)
    assert chosen == ([] if not torch.cuda.is_available() else [0])
    chosen.clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for worker in (0, 1, 2, 3, "tcp://10.0.0.1:4000"):
        pin_gpu(worker)
    assert chosen == [0, 1, 0, 1]
