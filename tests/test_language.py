"""The naming rules of CONTRIBUTING.md, held over the whole package by reading its syntax trees."""

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

import medprior

ROOT = Path(medprior.__file__).parent
REPOSITORY = ROOT.parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
USUAL_NAMES = {"main", "run", "configure", "result_folder"}
"""One entry point per command carries the same name."""
PARTICIPLE = re.compile(
    r"_?(\w*[a-z]{2}(ed|wn|ght|aid|ept|ound|oken|iven|oosen|itten)|made|told|held|met|cut|set|sent|built|kept|known)"
)
VAGUE_LOCALS = {"found", "told", "made", "judged", "drawn"}
MISSING_DOCUMENT = re.compile(r"\(methods \d|\bmethods \d+[.)]|design\.md|methods\.md|of the design\b")


def list_functions(tree: ast.Module) -> list[str]:
    defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [name for name in defined if not name.startswith("__")]


ALL_FUNCTIONS = {name for tree in TREES.values() for name in list_functions(tree)} - USUAL_NAMES


def test_few_functions_are_a_single_word() -> None:
    single = sorted(name for name in ALL_FUNCTIONS if "_" not in name.strip("_"))
    assert len(single) <= 0.05 * len(ALL_FUNCTIONS), single


def test_no_function_is_a_bare_participle() -> None:
    bare = sorted(name for name in ALL_FUNCTIONS if "_" not in name.strip("_") and PARTICIPLE.fullmatch(name))
    assert not bare


def test_a_public_name_belongs_to_one_module() -> None:
    homes = defaultdict(list)
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                homes[node.name].append(module)
    shared = {
        name: modules
        for name, modules in homes.items()
        if len(modules) > 1 and not name.startswith("_") and name not in USUAL_NAMES
    }
    assert not shared


def test_locals_say_what_they_hold() -> None:
    vague = [
        f"{module}:{node.lineno} {node.id}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE_LOCALS
    ]
    assert not vague


def test_a_folder_holds_at_most_25_modules() -> None:
    sizes = Counter(path.parent for path in MODULES.values())
    assert not {str(folder): size for folder, size in sizes.items() if size > 25}


def test_files_and_functions_stay_small() -> None:
    assert not [module for module, path in MODULES.items() if path.read_text().count("\n") > 400]
    assert not [
        f"{module}.{node.name}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 60
    ]


def list_imports(module: str) -> set[str]:
    """The package's modules that a module names in any import: lazy and typing ones count."""
    imports = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                target = f"{node.module}.{alias.name}"
                imports.add(target if target in MODULES else node.module)
        elif isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
    return (imports & MODULES.keys()) - {module}


def test_imports_have_no_circle() -> None:
    """Removes modules that import nothing left, until none can be removed: what stays is a circle."""
    arrows = {name: list_imports(name) for name, path in MODULES.items() if path.name != "__init__.py"}
    while free := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in free}
    assert not arrows


def test_nothing_cites_a_missing_document() -> None:
    documents = [*MODULES.values(), *sorted(ROOT.rglob("*.md"))]
    assert not [str(path) for path in documents if MISSING_DOCUMENT.search(path.read_text())]


def test_documents_name_files_that_exist() -> None:
    if not (REPOSITORY / "tests").is_dir():
        pytest.skip("an installed package has no repository around it")
    named_file = re.compile(r"\b(?:tests|medprior|bundles|docker)/[\w/.-]+\.(?:py|md|json|yaml)\b")
    assert not [
        f"{document}: {path}"
        for document in [*sorted(REPOSITORY.glob("*.md")), *sorted(ROOT.rglob("*.md"))]
        for path in named_file.findall(document.read_text())
        if not (REPOSITORY / path).exists()
    ]
