"""Tables as CSV and LaTeX."""

import csv
import io
import re

from medprior.evaluate.report.table_files import format_csv_table, format_latex_table, write_table_files
from medprior.evaluate.report.tables import ReportCell, ReportTable

TABLE = ReportTable(
    "Is it better, and how sure?",
    ["difference", "share of 100 %"],
    [
        ("my_model − baseline", [ReportCell("k", "−0.120", "−0.200 to −0.040"), ReportCell(value="worse & {sure}")]),
        ("other", [ReportCell(), ReportCell("n", "3", is_count=True)]),
    ],
    "Paired; 95 % intervals.",
)


def test_csv_has_every_value_and_its_interval():
    rows = list(csv.reader(io.StringIO(format_csv_table(TABLE))))
    assert rows[0] == ["", "difference", "difference, 95 % interval", "share of 100 %", "share of 100 %, 95 % interval"]
    assert rows[1] == ["my_model − baseline", "-0.120", "-0.200 to -0.040", "worse & {sure}", ""]
    assert rows[2] == ["other", "", "", "3", ""]
    assert float(rows[1][1]) == -0.12


def test_latex_escapes_what_it_would_interpret():
    text = format_latex_table(TABLE)
    assert r"my\_model $-$ baseline & $-$0.120 ($-$0.200 to $-$0.040) & worse \& \{sure\} \\" in text
    assert r"other & -- & 3 \\" in text
    assert r"\caption{Is it better, and how sure?. Paired; 95 \% intervals.}" in text
    assert not re.search(r"(?<!\\)[%_]", text)
    assert text.count(r"\begin{tabular}{lll}") == text.count(r"\end{tabular}") == 1


def test_files_are_numbered_in_the_order_of_the_report(tmp_path):
    names = write_table_files(tmp_path, [TABLE, TABLE])
    assert names[:2] == ["tables/01_is_it_better_and_how_sure.csv", "tables/01_is_it_better_and_how_sure.tex"]
    assert (tmp_path / names[2]).read_text() == format_csv_table(TABLE)
    assert (tmp_path / names[3]).read_text() == format_latex_table(TABLE)
