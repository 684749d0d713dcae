"""Tables of a report as CSV and LaTeX files, for papers and spreadsheets."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from medprior.evaluate.report.tables import ReportCell, ReportTable
from medprior.provenance import atomic_write

TABLES_FOLDER = "tables"
LATEX_SPECIALS = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "–": "--",
    }
)  # fmt: skip


def write_table_files(out: Path, tables: Sequence[ReportTable]) -> list[str]:
    """Write each table as `tables/NN_title.csv` and `.tex`, in the order of the report.

    Returns:
        The paths below `out`.
    """
    names = []
    for number, table in enumerate(tables, start=1):
        stem = f"{number:02d}_{re.sub(r'[^a-z0-9]+', '_', table.title.lower()).strip('_')[:48]}"
        for suffix, text in ((".csv", format_csv_table(table)), (".tex", format_latex_table(table))):
            name = f"{TABLES_FOLDER}/{stem}{suffix}"
            with atomic_write(out / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
            names.append(name)
    return names


def format_csv_table(table: ReportTable) -> str:
    """A table as CSV: value and interval of each column, with a plain minus sign."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["", *(text for head in table.heads for text in (head, f"{head}, 95 % interval"))])
    for name, cells in table.rows:
        texts = (text.replace("−", "-").strip("–") for cell in cells for text in (cell.value, cell.interval))
        writer.writerow([name, *texts])
    return stream.getvalue()


def format_latex_table(table: ReportTable) -> str:
    """A table as LaTeX with the rules of the booktabs package; the note is its caption."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{escape_latex(table.title)}. {escape_latex(table.note)}}}",
        rf"\begin{{tabular}}{{l{'l' * len(table.heads)}}}",
        r"\toprule",
        " & ".join(["", *map(escape_latex, table.heads)]) + r" \\",
        r"\midrule",
        *(" & ".join([escape_latex(name), *map(format_latex_cell, cells)]) + r" \\" for name, cells in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def format_latex_cell(cell: ReportCell) -> str:
    """Value and interval of a cell; `--` where there is none."""
    interval = f" ({cell.interval})" if cell.interval else ""
    return escape_latex(f"{cell.value or '–'}{interval}")


def escape_latex(text: str) -> str:
    """Text with the characters escaped that LaTeX interprets."""
    return text.translate(LATEX_SPECIALS)
