"""Names and folders of what is evaluated, and the images it may be evaluated on."""

from pathlib import Path

from medprior.evaluate.inputs import split_named_path


def test_a_folder_called_prior_needs_no_other_name(tmp_path):
    own = tmp_path / "prior"
    (tmp_path / "static").mkdir()
    own.symlink_to(tmp_path / "static")
    assert split_named_path(own)[0] == "static"
    assert split_named_path(tmp_path / "gone" / "prior") == ("prior_1", tmp_path / "gone" / "prior")
    assert split_named_path("mine=somewhere/prior") == ("mine", Path("somewhere/prior"))
