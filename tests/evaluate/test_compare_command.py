"""`medprior compare`: what it refuses in one line."""

from medprior.cli import main
from medprior.pretrain.settings import RECIPES


def test_refusals_from_the_command_line(tmp_path, capsys, cohort_path):
    start = ["compare", str(cohort_path), str(tmp_path / "c"), "--no-tracking", "--recipes"]
    assert main([*start, "dino", "magic"]) == 2
    assert ", ".join(sorted(RECIPES)) in capsys.readouterr().err
    assert main([*start, "dino", "--fractions", "0"]) == 2
    assert "above 0 up to 1" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
