"""The README is short, its links lead somewhere, and its commands are those of the command line."""

import argparse
import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import medprior
from medprior import cli

ROOT = Path(medprior.__file__).parent.parent
README = ROOT / "README.md"
if not README.is_file():
    pytest.skip("an installed package has no repository around it", allow_module_level=True)
TEXT = README.read_text()


def test_it_is_read_in_two_minutes():
    assert len(TEXT.split()) <= 900
    assert len(re.findall(r"\[-?\d[\d.]*, -?\d[\d.]*\]", TEXT)) <= 12


PLAIN_CAPITALS = {"MIT", "GB"}
"""A licence that is credited, and a unit."""
TERMS = (
    "Vision Transformer", "attention map", "annotation", "backbone", "calibrated", "cardiothoracic ratio", "champion",
    "checkout", "cohort", "finding", "gate", "head", "interval", "label", "mask", "pixel-AP", "pretraining",
    "registered prior", "seed", "segmenter", "spatial prior", "split", "stage", "static prior", "wheel",
)  # fmt: skip


def list_explained_words():
    """The words of the glossary's first column."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", (ROOT / "GLOSSARY.md").read_text(), re.MULTILINE)
    return {word.strip() for cell in rows for word in re.split(r"[,()]", cell)} - {"", "word", "---"}


def test_the_glossary_explains_every_term_and_abbreviation():
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", TEXT, flags=re.DOTALL)
    prose = re.sub(r"\b[A-Z]+\.(?:md|cff)|NeurAI", "", prose)
    abbreviations = set(re.findall(r"\b[A-Za-z]*[A-Z]{2,}[A-Za-z]*\b|\bS3\b|\bMLflow\b", prose)) - PLAIN_CAPITALS
    assert {"SPAN", "DINO", "DICOM", "mAUC", "AP", "MLflow"} <= abbreviations
    assert not (abbreviations | set(TERMS)) - list_explained_words()
    assert not [term for term in TERMS if term.lower() not in TEXT.lower()]
    assert "(GLOSSARY.md)" in TEXT.partition("## First radiograph")[0]


def list_sections(page):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_to_files_and_sections():
    targets = re.findall(r"\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(targets) > 20
    for target in targets:
        path, _, section = target.partition("#")
        if not path.startswith("https://"):
            page = ROOT / (path or "README.md")
            assert page.exists(), target
            assert not section or section in list_sections(page), target


def test_its_commands_are_stages_and_options_of_them():
    commands = re.findall(r"\bmedprior (\w+)([^`\n|#]*)", "\n".join(re.findall(r"`(medprior [^`]+)`", TEXT)))
    assert {name for name, _ in commands} >= {"predict", "ingest", "prior", "pretrain", "finetune", "serve"}
    for name, rest in commands:
        assert name in cli.STAGES or name == "settings"
        if name == "settings":
            continue
        parser = argparse.ArgumentParser()
        importlib.import_module(cli.STAGES[name][0]).configure(parser)
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in parser.format_help(), f"{name} {option}"


def test_its_python_names_what_there_is():
    code = re.search(r"```python\n(.+?)```", TEXT, re.DOTALL)
    assert code
    tree = ast.parse(code[1])
    assert len(code[1].strip().splitlines()) <= 12
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert hasattr(importlib.import_module(node.module), alias.name)


def test_the_citation_file_has_the_papers_and_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == medprior.__version__
    links = " ".join(str(entry) for entry in citation["references"])
    for number in ("2209.03745", "2206.04636", "2212.02400", "2104.14294", "NeurAI-Lab/LIFE"):
        assert number in links
        assert number in TEXT


def test_badges_say_what_is_so():
    """Badges are files, not a service's: each text is checked against its source."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    files = re.findall(r"!\[[^\]]+\]\((bundles/badges/[^)]+)\)", TEXT)
    labels = dict(re.search(r'aria-label="([^"]+)"', (ROOT / file).read_text())[1].split(": ") for file in files)
    assert labels == {
        "tests": "make test",
        "Python": project["requires-python"].removeprefix(">=") + "+",
        "licence": project["license"],
        "MONAI bundles": str(len(list(ROOT.glob("bundles/*/configs/metadata.json")))),
    }
    assert "\ntest:" in (ROOT / "Makefile").read_text()


def test_the_ten_errors_are_those_of_the_code():
    """Each phrase of the table stands in the code, but for what a run fills in."""
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Questions")[2]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert len(first_cells) == 10
    code = "\n".join(path.read_text() for path in (ROOT / "medprior").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # strings over several lines
    for phrase in re.findall(r"`([^`]+)`", "".join(first_cells)):
        for part in re.split(r"'?\.\.\.'?|\bN\b|; expected|\bspan\b", phrase):
            assert part.strip() in code, part
