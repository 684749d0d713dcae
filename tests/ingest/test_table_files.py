import gzip

import pytest

from medprior.errors import InputMissing
from medprior.ingest.table_files import find_column, find_nearest_names, open_table, open_text, require_columns

ROWS = [{"image": "a, b", "mass": "1"}, {"image": "ü", "mass": ""}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_encodings_are_seen_from_the_first_bytes(tmp_path, encoding, suffix):
    data = "äb\r\n".encode(encoding) if encoding.startswith("utf-8") else "a\r\n".encode(encoding)
    path = tmp_path / f"t.csv{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    with open_text(path) as file:
        assert file.read() == ("äb\r\n" if encoding.startswith("utf-8") else "a\r\n")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_compression_is_seen_from_the_content(tmp_path, name):
    """Browsers unpack tables and keep the name."""
    for data in (b"a\n", gzip.compress(b"a\n")):
        (tmp_path / name).write_bytes(data)
        with open_text(tmp_path / name) as file:
            assert file.read() == "a\n"


@pytest.mark.parametrize("start", ["", "sep={}\n", "\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_are_seen_from_the_header(tmp_path, separator, start):
    lines = ["image{}mass", '"a, b"{}1', "ü{}"]
    (tmp_path / "t.csv").write_text(start.format(separator) + "\n".join(line.format(separator) for line in lines))
    for key in (("image",), ("gone",)):
        with open_table(tmp_path / "t.csv", key) as reader:
            assert list(reader) == ROWS


def test_a_comma_in_a_header_is_no_separator_where_the_key_stands_beside_a_semicolon(tmp_path):
    (tmp_path / "t.csv").write_text("image;Box [x,y,w,h]\na;1\n")
    with open_table(tmp_path / "t.csv", ("image",)) as reader:
        assert list(reader) == [{"image": "a", "Box [x,y,w,h]": "1"}]
    (tmp_path / "empty.csv").touch()
    with open_table(tmp_path / "empty.csv", ("image",)) as reader:
        assert list(reader) == []


def test_columns_may_differ_in_case_and_outer_blanks():
    columns = ["Image ", "mass", "Mass"]
    assert find_column(("id", "image"), columns) == "Image "
    assert find_column(("Mass",), columns) == "Mass"
    assert find_column(("IMAGE", "mass"), columns) == "mass"
    assert find_column(("mas",), columns) is None


def test_missing_columns_are_named_with_the_three_nearest():
    columns = ["imagename", "effusion", "sex", "age"]
    assert find_nearest_names("Image", columns) == ["age", "imagename", "sex"]
    with pytest.raises(InputMissing) as caught:
        require_columns("t.csv", [("image", "id"), ("sex",)], columns)
    assert str(caught.value) == (
        "t.csv: a column is missing; expected image or id, found as nearest age, imagename, sex; "
        "correct the names in the descriptor, or remove there what the table lacks"
    )
    with pytest.raises(InputMissing, match="2 columns are missing; expected a, b, found as nearest nothing"):
        require_columns("t.csv", [("a",), ("b",)], [])
