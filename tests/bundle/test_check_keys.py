"""Mistyped keys of a bundle's run, and errors in one line."""

import json

import pytest

from medprior.bundle.check_keys import (
    MONAI_KEYS,
    check_unknown_keys,
    find_running_workflow,
    list_known_keys,
    print_one_line_error,
)
from medprior.errors import ConfigError, MedpriorError, TrainingCollapsed


def test_known_keys_are_those_of_the_configs_and_of_monai_and_not_of_the_metadata(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"epochs": 1, "settings": {"deep": 2}}))
    (tmp_path / "evaluate.json").write_text(json.dumps({"+run": [], "evidence_dir": "x"}))
    (tmp_path / "metadata.json").write_text(json.dumps({"version": "1"}))
    (tmp_path / "notes.yaml").write_text("other: 1")
    assert list_known_keys(tmp_path) == MONAI_KEYS | {"epochs", "settings", "run", "evidence_dir"}


def test_unknown_keys_are_all_named_with_the_nearest_known_one():
    known = {"dataset_dir", "epochs"}
    check_unknown_keys({"epochs"}, known)
    with pytest.raises(ConfigError) as caught:
        check_unknown_keys({"epochs", "zzz", "epoch", "dataset_dri"}, known)
    assert caught.value.what == "unknown key --dataset_dri, --epoch, --zzz"
    assert caught.value.fix == "did you mean --dataset_dir?"
    with pytest.raises(ConfigError, match="the keys are in the bundle's configs"):
        check_unknown_keys({"zzz"}, known)


def wrapped(inner: Exception, explicit: bool) -> Exception:
    """An error that was raised from, or while handling, another, as MONAI raises them."""
    try:
        try:
            raise inner
        except Exception as error:
            if explicit:
                raise RuntimeError("Failed to evaluate") from error
            raise RuntimeError("Failed to evaluate")  # noqa: B904
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MedpriorError("no cohort", fix="run it"), 2),
        (TrainingCollapsed("all alike"), 3),
    ],
)
def test_an_error_of_ours_is_one_line_and_its_status_however_deep(error, status, explicit, capsys):
    outer = wrapped(wrapped(error, explicit), explicit)
    with pytest.raises(SystemExit) as caught:
        print_one_line_error(type(outer), outer, outer.__traceback__)
    assert caught.value.code == status
    assert capsys.readouterr().err == f"medprior: {error}\n"


def test_a_foreign_error_keeps_its_traceback(capsys):
    outer = wrapped(ValueError("foreign"), explicit=True)
    print_one_line_error(type(outer), outer, outer.__traceback__)
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "ValueError: foreign" in text
    assert "medprior: " not in text


def test_outside_of_a_workflow_there_is_none_to_find():
    with pytest.raises(RuntimeError, match="from `initialize`"):
        find_running_workflow()
