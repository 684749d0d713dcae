"""Random tables, descriptors and folders, with an oracle in plain Python: no image lost, no label wrong, all counted.

`python -m tests.ingest.fuzzed_tables CASES` tries that many cases and prints what it found.
"""

import csv
import gzip
import io
import math
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from medprior.errors import ConfigError, InputMissing
from medprior.ingest.descriptor import DatasetDescriptor
from medprior.ingest.plan import match_sources
from medprior.ingest.tables import TableJoins, read_tables

# NFC and NFD of one letter, case, blanks, dots, a comma and a quote, digits with zeros, a line break.
STEMS = ("a", "A", "\u00e9", "e\u0301", "1", "01", "x.y", "b c", 'q"u', "k,l", "im\n2", "=1")
FOLDERS = ("", "p1/", "p2/", "P1/", "p1/s\u00e9/")
SUFFIXES = (".png", ".PNG", ".jpg", ".dcm")
WORDS = {
    "1": 1.0, "0": 0.0, "1.0": 1.0, "0,5": 0.5, "": None, " ": None, "-1": None, "-1.0": None, "nan": None, "N/A": None,
    "True": 1.0, "FALSE": 0.0, " yes": 1.0, "No": 0.0, "Positive": 1.0, "negative": 0.0, "uncertain": None,
    "likely": 0.75, "not read": None, "maybe": "refused", "100": "refused", "2": "refused", "inf": "refused",
}  # fmt: skip
MAPPED = {"likely": 0.75, "not read": None}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")


@dataclass(frozen=True)
class TableCase:
    """One input: paths of images, rows of (key cell, label cell), and how ids and the table are written."""

    paths: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    ids_are_paths: bool
    repeated: str
    separator: str
    encoding: str
    is_compressed: bool
    key_column: str
    label_column: str


@st.composite
def table_cases(draw):
    """Inputs in which most rows name an image in one of the usual spellings, and some name none."""
    paths = draw(
        st.lists(
            st.builds("{}{}{}".format, *map(st.sampled_from, (FOLDERS, STEMS, SUFFIXES))),
            min_size=1, max_size=7, unique=True,
        )
    )  # fmt: skip
    ids_are_paths = draw(st.booleans())
    spellings = [path for path in paths] + ["gone/zz.png"]
    if not ids_are_paths:
        names = [path.rsplit("/", 1)[-1] for path in paths]
        spellings += names + [name.rsplit(".", 1)[0] for name in names]
        spellings += [path.replace("/", "\\") for path in paths] + [f"C:\\data\\{name}" for name in names] + ["zz"]
    cells = st.sampled_from(sorted(WORDS))
    usual = st.sampled_from(sorted(word for word, value in WORDS.items() if value != "refused"))
    label = draw(st.sampled_from([usual, usual, usual, cells]))
    rows = draw(st.lists(st.tuples(st.sampled_from(spellings), label), min_size=1, max_size=9))
    return TableCase(
        tuple(sorted(paths)), tuple(rows), ids_are_paths, draw(st.sampled_from(["mean", "max"])),
        draw(st.sampled_from([",", ";", "\t"])), draw(st.sampled_from(ENCODINGS)), draw(st.booleans()),
        draw(st.sampled_from(["image", "Image", " image "])), draw(st.sampled_from(["mass", "MASS", "mass "])),
    )  # fmt: skip


def build_descriptor(case):
    """Ids are names without suffix, or whole paths without suffix."""
    match = r"^(?P<id>.+)\.(png|PNG|jpg|dcm)$" if case.ids_are_paths else r"(^|/)(?P<id>[^/]+)\.(png|PNG|jpg|dcm)$"
    table = {
        "files": ["t.csv"], "key": ["image"], "repeated": case.repeated, "labels": {"Mass": ["mass"]}, "values": MAPPED,
    }  # fmt: skip
    if case.ids_are_paths:
        table["key_match"] = match
    return DatasetDescriptor.from_values(
        {"name": "own", "title": "t", "licence": "x", "images": [{"match": match}], "tables": [table]}
    )


def write_case(case, folder):
    """The table as the csv module writes it."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=case.separator)
    writer.writerows([[case.key_column, "note", case.label_column], *([key, "x", label] for key, label in case.rows)])
    data = text.getvalue().encode(case.encoding)
    (folder / "t.csv").write_bytes(gzip.compress(data) if case.is_compressed else data)


def expect_result(case):
    """What must come out: an error class, or (labels by path, rows without image, images without row)."""
    ids = {path: path.rsplit(".", 1)[0] if case.ids_are_paths else path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
           for path in case.paths}  # fmt: skip
    if len(set(ids.values())) < len(ids):
        return ConfigError
    values, spellings, missing = defaultdict(list), defaultdict(set), 0
    for cell, word in case.rows:
        cell = cell.strip()
        if case.ids_are_paths:
            key = cell.rsplit(".", 1)[0]
        else:
            name = cell.replace("\\", "/").rsplit("/", 1)[-1]
            key = name[:-4] if name[-4:].lower() in {".png", ".jpg", ".dcm"} else name
        if WORDS[word] == "refused":
            return ConfigError
        if key in ids.values():
            spellings[key].add(cell)
        else:
            missing += 1
        if WORDS[word] is not None:
            values[key].append(WORDS[word])
    if not case.ids_are_paths and any(len(cells) > 1 for cells in spellings.values()):
        return ConfigError
    if not spellings:
        return InputMissing
    combine = max if case.repeated == "max" else lambda numbers: math.fsum(numbers) / len(numbers)
    labels = {path: combine(values[key]) if values[key] else None for path, key in ids.items()}
    return labels, missing, len(ids) - len(spellings)


def run_case(case, folder):
    """The same from the package."""
    write_case(case, folder)
    descriptor = build_descriptor(case)
    try:
        sources = match_sources(list(case.paths), str, descriptor)
        joins = TableJoins(source.key for source in sources)
        tables = read_tables(folder, descriptor, joins)
    except (ConfigError, InputMissing) as error:
        return type(error)
    labels = {
        source.relative: tables[source.key].labels["Mass"] if source.key in tables else None for source in sources
    }
    labels = {path: None if value is None or math.isnan(value) else value for path, value in labels.items()}
    counts = joins.counts["t.csv"]
    return labels, counts["rows_without_image"], counts["images_without_row"]


def check_case(case):
    """Raise AssertionError where package and oracle differ; returns the kind of result."""
    with tempfile.TemporaryDirectory() as folder:
        result, expected = run_case(case, Path(folder)), expect_result(case)
    if isinstance(expected, type) or isinstance(result, type):
        assert result == expected, case
        return result.__name__
    assert set(result[0]) == set(case.paths), case
    for path, value in expected[0].items():
        known = result[0][path]
        assert (known is None) == (value is None), (path, case)
        assert value is None or math.isclose(known, value), (path, case)
    assert result[1:] == expected[1:], case
    return "joined"


def fuzz_tables(count, seen):
    """Check `count` random cases; their kinds of results are counted in `seen`."""

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(table_cases())
    def check(case):
        kind = check_case(case)
        seen[kind] += 1
        event(kind)

    check()


if __name__ == "__main__":
    results = Counter()
    fuzz_tables(int(sys.argv[1]), results)
    print(f"{sum(results.values())} cases, 0 differ from the oracle: {dict(results)}")
