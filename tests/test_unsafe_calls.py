"""No call in the package can run code hidden in data."""

import ast
from pathlib import Path

import pytest

import medprior

ROOT = Path(medprior.__file__).parent
BANNED = {"pickle.load", "pickle.loads", "yaml.load", "eval", "exec", "extractall", "joblib.load"}


def call_name(node: ast.Call) -> str:
    return ast.unparse(node.func)


def is_unsafe(node: ast.Call) -> bool:
    """Whether a call may run code hidden in data."""
    name = call_name(node)
    weights_only = [keyword.value for keyword in node.keywords if keyword.arg == "weights_only"]
    is_off = any(isinstance(value, ast.Constant) and value.value is False for value in weights_only)
    is_open = name == "torch.load" and not weights_only
    return name in BANNED or name.endswith(".extractall") or is_off or is_open


def test_no_unsafe_call() -> None:
    calls = [
        (path, node)
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]
    assert not [f"{path}:{node.lineno} {call_name(node)}" for path, node in calls if is_unsafe(node)]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("pickle.loads(x)", True), ("archive.extractall()", True), ("torch.load(x)", True),
        ("torch.load(x, weights_only=False)", True), ("torch.load(x, weights_only=True)", False),
        ("yaml.safe_load(x)", False),
    ],
)  # fmt: skip
def test_unsafe_calls_are_told_apart(call: str, expected: bool) -> None:
    (statement,) = ast.parse(call).body
    assert is_unsafe(statement.value) is expected
