import json

import pytest

from medprior import doctor


def test_sections_that_cost_little_are_filled():
    for name in ("machine", "packages", "decoders"):
        rows = doctor.REPORT_SECTIONS[name]()
        assert rows, name
    assert {row["state"] for row in rows} <= {"right", "not tried"}


def test_tables_show_every_row():
    found = {"things": [{"what": "a", "found": "1"}, {"what": "long name", "found": None}]}
    text = "\n".join(doctor.format_doctor_tables(found))
    assert "long name" in text
    assert "a          1" in text


def test_a_broken_decoder_is_an_error(monkeypatch, capsys):
    import argparse

    from medprior.errors import MedpriorError

    row = {"syntax": "RLE Lossless", "decoder": "x", "state": "wrong", "ms_per_megapixel": 1.0}
    monkeypatch.setattr(doctor, "REPORT_SECTIONS", {"decoders": lambda: [row]})
    with pytest.raises(MedpriorError, match="RLE Lossless"):
        doctor.run(argparse.Namespace(json=True), None)
    assert json.loads(capsys.readouterr().out)["decoders"] == [row]
