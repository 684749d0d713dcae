"""How users name the objects of a prediction."""

import pytest

from medprior.deploy.inference.object_kinds import format_object_file, parse_object_kinds
from medprior.errors import ConfigError


def test_kinds_come_once_and_in_the_order_in_which_they_are_built():
    assert parse_object_kinds(" NRRD,sr,,seg,sr", "--objects") == ("seg", "sr", "nrrd")


@pytest.mark.parametrize(("text", "words"), [("segg", "seg"), ("", "no kind"), (" , ", "no kind")])
def test_unknown_kinds_and_none_are_refused(text, words):
    with pytest.raises(ConfigError) as caught:
        parse_object_kinds(text, "--objects")
    assert words in str(caught.value)
    assert "--objects" in str(caught.value)


def test_a_kind_that_is_not_allowed_here_is_unknown():
    with pytest.raises(ConfigError):
        parse_object_kinds("nrrd", "--objects", ("seg", "sr"))


def test_file_names():
    assert format_object_file("00001_ab", "gsps") == "00001_ab.gsps.dcm"
    assert format_object_file("00001_ab", "nrrd") == "00001_ab.seg.nrrd"
