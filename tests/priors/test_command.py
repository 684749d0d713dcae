from medprior.annotate import annotate_from_cohort
from medprior.cli import main
from medprior.priors import SpatialPrior

from .conftest import write_cohort


def test_the_command_builds_a_prior_and_refuses_in_one_line(thoraxes, drawing, tmp_path, capsys):
    small = write_cohort(tmp_path / "cohort", count=5, with_noise=False)
    annotate_from_cohort(small, "t000").save(tmp_path / "annotation")
    call = ["prior", str(small.path), str(tmp_path / "prior"), "--no-tracking"]
    annotated = ["--annotation", str(tmp_path / "annotation")]
    assert main([*call, *annotated, "--method", "affine", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "left_lung" in said
    assert "pixel-AP" in said
    (offer, *_) = SpatialPrior.load(tmp_path / "prior").facts["next"]
    assert f"worth annotating next: {offer['image_id']} " in said
    assert SpatialPrior.load(tmp_path / "prior").method == "affine"
    assert main([*call, "--method", "static"]) == 2
    assert main([*call, "--annotation", str(tmp_path / "nothing")]) == 2
    assert main([*call, *annotated, "--set", "softnes=3"]) == 2
    # The backbone given on the command line arrives.
    assert main([*call, *annotated, "--method", "static", "--backbone", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    assert "unknown key 'softnes'" in errors[2]
    assert "takes no backbone" in errors[3]
