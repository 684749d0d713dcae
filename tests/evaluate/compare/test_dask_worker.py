"""What a worker refuses, and that no error of it escapes."""

import pytest

from medprior import __version__
from medprior.errors import InputMissing, MedpriorError
from medprior.evaluate.compare.settings import CompareSettings
from medprior.workers.secret_bytes import pack_message, unpack_message

pytest.importorskip("distributed")

from medprior.evaluate.compare.dask_worker import execute_run, execute_run_message


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
