"""Mutants of small sources by hand: what is changed, what stays, and that one decision differs."""

import ast

import pytest

from .mutants import list_mutants, write_mutant


def changes(source):
    return [(mutant.before, mutant.after) for mutant in list_mutants(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a + b", [("a + b", "a - b")]),
        ("x *= a", [("x *= a", "x /= a")]),
        ("x = a < b", [("a < b", "a <= b"), ("a < b", "a >= b")]),
        ("x = a <= b == c", [("a <= b == c", f"a {sign} b == c") for sign in "<>"] + [("a <= b == c", "a <= b != c")]),
        ("x = a and b", [("a and b", "a or b")]),
        ("x = not a", [("not a", "a")]),
        ("x = b if a else c", [("b if a else c", "b if not a else c")]),
        ("x = [a for a in b if a]", [("for a in b if a", "for a in b")]),
        ("x = 2", [("2", "3"), ("2", "1")]),
        ("x = 0", [("0", "1")]),
        ("x = 0.25", [("0.25", "0.5")]),
        ("x = -1", [("-1", "1")]),
        ("x = True", [("True", "False")]),
        ("x = np.nanargmax(a)", [("np.nanargmax", "np.nanargmin")]),
        ("x = f(rows, columns)", [("f(rows, columns)", "f(columns, rows)")]),
        ("x = (rows, columns)", [("(rows, columns)", "(columns, rows)")]),
        ("self.commit()", [("self.commit()", "pass")]),
        ("raise ValueError(1)", [("raise ValueError(1)", "pass")]),
    ],
)
def test_each_kind_of_decision_is_changed(source, expected):
    assert [(before.strip(), after.strip()) for before, after in changes(source)] == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A text with 2 numbers."""',
        "x: Literal[1, 2]",
        "def f(x: A | B) -> A | B: ...",
        "assert a < b",
        "@dataclass(frozen=True)\nclass A: ...",
        "x = f'{a + 1}'",
        "log.info('a', 3)",
        "if TYPE_CHECKING:\n    import a",
        "Number = Literal[4, 8]",
        "x = f(a, 1e-8)",
        "x = floor",
        "x = f(a, b.c)",
        "x = a[:, 1e-8]",
    ],
)
def test_what_holds_no_decision_stays(source):
    assert changes(source) == []


def test_the_order_of_a_symmetric_call_is_no_decision():
    assert changes("x = max(a, b)") == [("max", "min")]


def test_a_mutant_differs_from_its_module_in_one_place():
    source = "def choose(a, b):\n    # the larger\n    return a if a > b else b\n"
    mutants = list_mutants(source)
    written = [write_mutant(source, mutant) for mutant in mutants]
    assert len(set(written)) == len(mutants) == 3
    plain = ast.unparse(ast.parse(source)).splitlines()
    assert all(sum(x != y for x, y in zip(plain, text.splitlines(), strict=True)) == 1 for text in written)
    assert {mutant.line for mutant in mutants} == {3}


def test_a_mutant_of_another_source_is_refused():
    (mutant,) = list_mutants("x = a + b")
    with pytest.raises(ValueError, match="line 1 has no mutant"):
        write_mutant("x = a * b", mutant)
