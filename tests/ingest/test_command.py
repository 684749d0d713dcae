import json
import re

import pytest

from medprior.cli import main
from medprior.cohort import Cohort
from medprior.ingest.descriptor import descriptor_folder
from tests.ingest.radiograph_files import encode_radiograph, fill_with_dicom

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


def write_hospital_export(folder):
    """Twelve patients whose files all have the name IM000001.dcm; every second one has an effusion."""
    rows = ["image,patient_id,effusion"]
    for number in range(12):
        path = folder / f"PAT{number:04d}" / "SER1" / "IM000001.dcm"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_radiograph(number))
        rows.append(f"PAT{number:04d}/SER1/IM000001.dcm,p{number},{number % 2}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_equal_file_names_are_refused_until_the_template_is_followed(tmp_path, capfd):
    folder = write_hospital_export(tmp_path / "in")
    template, own = (descriptor_folder() / "template.yaml").read_text(), tmp_path / "own.yaml"
    own.write_text(template)
    arguments = ["ingest", str(folder), str(tmp_path / "c"), "--workers", "1", "--no-tracking", "--dataset", str(own)]
    assert main(arguments) == 2
    error = capfd.readouterr().err
    assert "12 files share 1 image id(s)" in error
    assert error.count("IM000001.dcm") == 3
    assert "template.yaml" in error
    assert not (tmp_path / "c" / "manifest.parquet").exists()
    followed = template.replace("  - match: '(^|/)(?P<id>[^/]+)\\.dcm$'\n", "")
    own.write_text(re.sub(r"# (- match: '\^\(\?P<id>\.\+\)\\.dcm\$'|key_match: )", r"\1", followed))
    assert main(arguments) == 0
    cohort = Cohort.open(tmp_path / "c")
    assert "note: labels.csv: 0 rows without image, 0 images without row" in capfd.readouterr().err
    summary = json.loads((tmp_path / "c" / "summary.json").read_text())
    assert summary["joins"] == {"labels.csv": {"rows_without_image": 0, "images_without_row": 0}}
    assert len(cohort) == len(set(cohort.patient_ids)) == 12
    assert sorted(cohort.labels(["Effusion"])[:, 0]) == [0] * 6 + [1] * 6


def test_files_superseded_by_an_earlier_kind_are_counted(tmp_path, capfd):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.dcm", "a.dicom", "b.dicom"):
        (folder / name).write_bytes(encode_radiograph(1, sop=f"1.2.{len(name)}{ord(name[0])}"))
    own = tmp_path / "own.yaml"
    kinds = "[{match: '(?P<id>[^/]+)\\.dcm$'}, {match: '(?P<id>[^/]+)\\.dicom$'}]"
    own.write_text(f"{{name: own, title: t, licence: x, images: {kinds}}}")
    arguments = [str(folder), str(tmp_path / "c"), "--workers", "1", "--no-tracking", "--dataset", str(own)]
    assert main(["ingest", *arguments]) == 0
    assert "note: INPUT: 1 superseded files" in capfd.readouterr().err
    assert json.loads((tmp_path / "c" / "summary.json").read_text())["joins"] == {"INPUT": {"superseded_files": 1}}
