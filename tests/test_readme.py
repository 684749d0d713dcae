"""The README is short, its links lead somewhere, and its commands are those of the command line."""

import argparse
import ast
import importlib
import re
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
