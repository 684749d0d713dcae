"""The flow is one way: a module imports its own room or one to its left, nothing else."""

import ast
from pathlib import Path

import pytest

import medprior

ROOT = Path(medprior.__file__).parent
ORDER = [
    "errors", "lazy_imports", "resources", "geometry", "palette", "side_markers", "figure_text", "observer",
    "settings", "locks", "provenance", "metrics", "tracking", "workers", "pages", "dicom", "cohort", "networks",
    "phantom", "ingest", "annotate", "priors", "pretrain", "finetune", "evaluate", "deploy", "bundle", "bench",
    "doctor", "cli", "demo", "__main__",
]  # fmt: skip
WITHOUT = {
    "torch": {"tracking", "workers", "dicom", "cohort", "phantom", "ingest", "annotate",
              "priors"},
    "mlflow": set(ORDER) - {"tracking", "deploy", "bundle", "bench", "demo", "doctor", "cli"},
    "SimpleITK": {"networks", "pretrain", "finetune"},
    "fastapi": set(ORDER) - {"pages", "annotate", "deploy"},
    "dask": set(ORDER) - {"workers", "ingest", "priors", "evaluate", "bench"},
    "distributed": set(ORDER) - {"workers", "ingest", "priors", "evaluate", "bench"},
    "highdicom": set(ORDER) - {"dicom", "annotate", "deploy", "bench"},
}  # fmt: skip
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_arrow_points_back(path: Path) -> None:
    here = room(path)
    assert here in ORDER, f"unknown room {here}"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "medprior" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) <= ORDER.index(here), f"{path} imports {name}"
        assert here not in WITHOUT.get(parts[0], set()), f"{path} imports {name}"
