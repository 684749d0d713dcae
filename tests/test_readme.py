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


def test_links_lead_to_files_and_sections():
    targets = re.findall(r"(?<!!)\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(targets) > 20
    sections = {line.lstrip("# ").lower().replace(" ", "-") for line in TEXT.splitlines() if line.startswith("#")}
    for target in targets:
        path, _, section = target.partition("#")
        if not path:
            assert section in sections, target
        elif not path.startswith("https://"):
            assert (ROOT / path).exists(), target


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
