import pytest

from medprior.cli import main
from tests.ingest.radiograph_files import fill_with_dicom

BAD = {
    "absent": (lambda p: None, "no such file or folder"),
    "empty": (lambda p: p.mkdir(), "the input folder is empty"),
    "text": (lambda p: (p.mkdir(), (p / "a.txt").write_text("hello")), "no usable radiograph"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_2(tmp_path, name, capfd):
    make, words = BAD[name]
    make(tmp_path / "in")
    arguments = [str(tmp_path / "in"), str(tmp_path / "c"), "--workers", "1", "--no-tracking"]
    assert main(["ingest", *arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("medprior")]
    assert len(lines) == 1
    assert words in lines[0]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--dataset", "nosuch"], "no such data set descriptor"),
        (["--set", "colour=1"], "unknown key 'colour'"),
        (["--set", "policy.max_side=-1"], "policy.max_side"),
        (["--dataset", "nih"], "none of the"),
    ],
)
def test_bad_options(tmp_path, extra, words, capfd):
    fill_with_dicom(tmp_path / "in", 1)
    arguments = [str(tmp_path / "in"), str(tmp_path / "c"), "--no-tracking", *extra]
    assert main(["ingest", *arguments]) == 2
    error = capfd.readouterr().err
    assert words in error
    assert "Traceback" not in error
