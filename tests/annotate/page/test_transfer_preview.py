"""The transfer to other patients, and its doubts in words."""

from medprior.annotate import Annotation
from medprior.annotate.page.transfer_preview import TransferPreview, format_doubt
from medprior.cohort import Cohort
from medprior.errors import MedpriorError
from tests.annotate.drawings import LEFT, inside


def test_a_failure_to_carry_over_is_told(tmp_path, phantom_cohort):
    def refuse(annotation, image_ids, out):
        raise MedpriorError("the disk is full")

    def break_down(annotation, image_ids, out):
        raise RuntimeError("/a/secret/path")

    cohort = Cohort.open(phantom_cohort)
    annotation = Annotation(cohort.pixels("p0001"), {"heart": inside(LEFT, (128, 128))}, "p0001")
    for transfer, words in ((refuse, "the disk is full"), (break_down, "RuntimeError")):
        preview = TransferPreview(cohort, transfer)
        preview.start(annotation, tmp_path)
        preview._pool.shutdown(wait=True)
        assert preview.state.state == "failed"
        assert words in preview.state.message
        assert "secret" not in preview.state.message


def test_doubts_are_words():
    assert format_doubt("", 1.0) == ""
    assert format_doubt("", 0.5) == "the two pictures hardly match"
    assert format_doubt("registration, lung_ratio", 0.0).endswith("the lungs differ unusually in size")
