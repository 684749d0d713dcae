"""The format of a mask file, from its first bytes."""

from tests.annotate.drawings import assert_refused


def test_an_unknown_format_is_refused_with_those_that_are_known(tmp_path):
    (tmp_path / "m.bin").write_bytes(b"what is this?" * 99)
    assert_refused(tmp_path, tmp_path / "m.bin", "format is not known.*LabelMe")
