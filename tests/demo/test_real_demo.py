from pathlib import Path

from medprior.cli import main
from medprior.demo import real_demo
from medprior.demo.real_demo import RealDemoSettings, build_comparison_settings
from medprior.evaluate.compare.plan import check_arms
from medprior.evaluate.compare.settings import CompareSettings


def test_real_row_names_what_is_missing(tmp_path, capsys):
    assert main(["demo", str(tmp_path / "out"), "--real", str(tmp_path)]) == 2
    assert "no nih/" in capsys.readouterr().err


FULL = Path(real_demo.__file__).with_name("real_full.json")


def test_every_arm_of_the_study_fits_a_comparison(tmp_path):
    """With all of its budgets, before hours are spent."""
    for study in (
        build_comparison_settings(RealDemoSettings(), ["tuberculosis"]),
        build_comparison_settings(RealDemoSettings.load(FULL, []), ["tuberculosis"]),
    ):
        settings = CompareSettings.checked(study)
        assert len(settings.arms) == 10
        check_arms({name: settings.arm(name, tmp_path) for name in settings.arms}, settings)
