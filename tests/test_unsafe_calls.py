"""No call in the package can run code hidden in data."""

import ast
from pathlib import Path

import pytest

import medprior

ROOT = Path(medprior.__file__).parent
BANNED = {"pickle.load", "pickle.loads", "yaml.load", "eval", "exec", "extractall", "joblib.load"}


def call_name(node: ast.Call) -> str:
    return ast.unparse(node.func)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_unsafe_call(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = call_name(node)
        assert name not in BANNED, f"{path}: {name}"
        assert not name.endswith(".extractall"), f"{path}: {name}"
        for keyword in node.keywords:
            value = keyword.value
            off = isinstance(value, ast.Constant) and value.value is False
            assert not (keyword.arg == "weights_only" and off), f"{path}: weights_only=False"
        if name == "torch.load":
            assert any(k.arg == "weights_only" for k in node.keywords), f"{path}: torch.load"
