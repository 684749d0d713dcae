import argparse
import json

import pytest

from medprior import doctor
from medprior.errors import MedpriorError


def test_sections_that_cost_little_are_filled():
    for name in ("machine", "packages", "decoders"):
        rows = doctor.REPORT_SECTIONS[name]()
        assert rows, name
    assert {row["state"] for row in rows} <= {"right", "not tried"}


def test_the_sandbox_section_tells_what_holds_and_what_does_not(monkeypatch):
    answers = {"opens no socket (seccomp)": True, "reads no file by its path (Landlock)": False}
    monkeypatch.setattr("medprior.workers.confinement_check.check_confinement", lambda: answers)
    found = {row["what"]: row["found"] for row in doctor.REPORT_SECTIONS["sandbox"]()}
    assert found == {
        "opens no socket (seccomp)": "holds", "reads no file by its path (Landlock)": "does NOT hold here"
    }  # fmt: skip


def test_tables_show_every_row():
    report = {"things": [{"what": "a", "found": "1"}, {"what": "long name", "found": None}]}
    text = "\n".join(doctor.format_doctor_tables(report))
    assert "long name" in text
    assert "a          1" in text


def test_a_broken_decoder_is_an_error(monkeypatch, capsys):
    row = {"syntax": "RLE Lossless", "decoder": "x", "state": "wrong", "ms_per_megapixel": 1.0}
    monkeypatch.setattr(doctor, "REPORT_SECTIONS", {"decoders": lambda: [row]})
    with pytest.raises(MedpriorError, match="RLE Lossless"):
        doctor.run(argparse.Namespace(json=True), None)
    assert json.loads(capsys.readouterr().out)["decoders"] == [row]


@pytest.mark.parametrize(
    ("states", "is_refused"),
    [
        ({"a": "right", "b": "failed"}, False), ({"a": "failed"}, True), ({"a": "not tried"}, False),
        ({"a": "right", "b": "wrong"}, True),
    ],
)  # fmt: skip
def test_one_working_decoder_is_enough_and_no_wrong_one_is_allowed(states, is_refused, monkeypatch, capsys):
    rows = [
        {"syntax": "RLE Lossless", "decoder": name, "state": state, "ms_per_megapixel": None}
        for name, state in states.items()
    ]
    monkeypatch.setattr(doctor, "REPORT_SECTIONS", {"decoders": lambda: rows})
    arguments = argparse.Namespace(json=False)
    if is_refused:
        with pytest.raises(MedpriorError, match="found RLE Lossless;"):
            doctor.run(arguments, None)
    else:
        doctor.run(arguments, None)
    assert "  RLE Lossless  a  " in capsys.readouterr().out
