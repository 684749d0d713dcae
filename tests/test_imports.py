"""The flow is one way: a module imports its own room or one to its left, nothing else."""

import ast
from pathlib import Path

import medprior

ROOT = Path(medprior.__file__).parent
ORDER = [
    "errors", "lazy_imports", "resources", "geometry", "palette", "side_markers", "figure_text", "observer",
    "settings", "locks", "provenance", "figure_style", "metrics", "tracking", "workers", "pages", "dicom", "cohort",
    "networks", "phantom", "ingest", "annotate", "priors", "pretrain", "finetune", "evaluate", "deploy", "bundle",
    "bench", "doctor", "cli", "demo", "__main__",
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


def is_forbidden(here: str, name: str) -> bool:
    """Whether a module of room `here` may not import `name`."""
    parts = name.split(".")
    is_own = parts[0] == "medprior" and len(parts) > 1 and parts[1] in ORDER
    return (is_own and ORDER.index(parts[1]) > ORDER.index(here)) or here in WITHOUT.get(parts[0], set())


def test_every_room_has_its_place() -> None:
    assert {room(path) for path in MODULES} <= set(ORDER)


def test_no_arrow_points_back() -> None:
    arrows = [(path, name) for path in MODULES for name in imported(path)]
    assert not [f"{path} imports {name}" for path, name in arrows if is_forbidden(room(path), name)]
    assert is_forbidden("metrics", "medprior.cohort.Cohort")
    assert is_forbidden("dicom", "torch.nn")
    assert not is_forbidden("cohort", "medprior.metrics.auc")
