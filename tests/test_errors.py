import pickle

import pytest

from medprior.errors import (
    ConfigError,
    InputMissing,
    MedpriorError,
    Rejected,
    TrainingCollapsed,
    TrainingDiverged,
    suggest_nearest,
)


def test_a_message_says_where_what_expected_found_and_the_next_step_in_one_line():
    error = MedpriorError("it is\n wrong", where="--key", expected="this", found="that", fix="try\tagain")
    assert str(error) == "--key: it is wrong; expected this, found that; try again"
    assert str(MedpriorError("wrong")) == "wrong"
    assert str(MedpriorError("wrong", expected="this", fix="again")) == "wrong; expected this; again"


@pytest.mark.parametrize(
    ("kind", "code"),
    [(MedpriorError, 2), (ConfigError, 2), (InputMissing, 2), (TrainingCollapsed, 3), (TrainingDiverged, 3)],
)
def test_input_ends_with_2_and_training_with_3(kind, code):
    assert kind("wrong").exit_code == code


def test_a_rejected_file_keeps_its_code_on_the_way_from_a_process():
    back = pickle.loads(pickle.dumps(Rejected("empty", "no bytes")))
    assert (back.code, back.what, str(back)) == ("empty", "no bytes", "empty: no bytes")


def test_the_nearest_name_is_suggested_and_none_where_all_are_far():
    assert suggest_nearest("pretrian", iter(["ingest", "pretrain"])) == "did you mean 'pretrain'?"
    assert suggest_nearest("xyz", ["ingest", "pretrain"]) == ""
