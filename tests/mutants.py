"""Mutants of a module's source: one changed operator, constant, comparison, branch, pair or call each."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
PAIRS = (
    ("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("nanmin", "nanmax"), ("argmin", "argmax"),
    ("nanargmin", "nanargmax"), ("idxmin", "idxmax"), ("any", "all"), ("floor", "ceil"), ("sum", "max"),
    ("mean", "sum"), ("clamp_min", "clamp_max"), ("zeros_like", "ones_like"), ("zeros", "ones"),
    ("student", "teacher"),
)  # fmt: skip
OTHER_NAMES = dict(PAIRS) | {right: left for left, right in reversed(PAIRS) if right not in dict(PAIRS)}
CALLED_NAMES = {"min", "max", "any", "all", "sum"}
"""Of these the plain names that are changed: other plain names are variables."""
SMALLEST_FLOAT = 1e-6
"""Smaller ones guard a division or a logarithm; doubling them changes nothing that can be seen."""
SYMMETRIC = {"min", "max", "minimum", "maximum", "equal", "allclose", "isclose", "array_equal", "hypot", "isinstance"}
"""Calls whose first two arguments are not swapped: the result is the same, or only a type is checked."""


@dataclass(frozen=True)
class Mutant:
    """A changed node of a module's tree: its number in `ast.walk`, its line, and its text before and after."""

    node: int
    line: int
    before: str
    after: str


def list_mutants(source: str) -> list[Mutant]:
    """All mutants of a module, by line; annotations, texts, assertions, decorators and messages stay."""
    tree = ast.parse(source)
    skipped = {id(inner) for node in ast.walk(tree) for part in list_skipped(node) for inner in ast.walk(part)}
    mutants = []
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in skipped:
            continue
        for changed in change_node(node):
            before, after = (shorten_text(ast.unparse(ast.fix_missing_locations(x))) for x in (node, changed))
            if before != after:
                mutants.append(Mutant(number, getattr(node, "lineno", 0), before, after))
    return sorted(mutants, key=lambda mutant: (mutant.line, mutant.node))


def write_mutant(source: str, mutant: Mutant) -> str:
    """Source of the module with one node changed."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[mutant.node]
    for changed in change_node(node):
        if shorten_text(ast.unparse(ast.fix_missing_locations(changed))) == mutant.after:
            substituted = SubstituteNode(node, changed).visit(tree)
            return ast.unparse(ast.fix_missing_locations(substituted)) + "\n"
    raise ValueError(f"line {mutant.line} has no mutant {mutant.after!r}")


class SubstituteNode(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, node: ast.AST, changed: ast.AST) -> None:
        self.node, self.changed = node, changed

    def visit(self, node: ast.AST) -> ast.AST:
        """The changed node for the one that is looked for."""
        return self.changed if node is self.node else super().generic_visit(node)


def shorten_text(text: str) -> str:
    """The text in one line of at most 160 characters, its middle left out."""
    line = " ".join(text.split())
    return line if len(line) <= 160 else f"{line[:110]} ... {line[-45:]}"


def list_skipped(node: ast.AST) -> list[ast.AST]:
    """Parts of a node that hold no decision."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.decorator_list, *filter(None, [node.returns])]
        case ast.ClassDef():
            return [*node.decorator_list, *node.bases]
        case ast.arg(annotation=ast.AST() as annotation) | ast.AnnAssign(annotation=annotation):
            return [annotation]
        case ast.Raise():
            return [part for part in (node.exc, node.cause) if part is not None]
        case ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            return [node]
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return [node]
        case ast.Assign(targets=[ast.Name(id=name)]) if name == "__all__" or name.endswith("Kind"):
            return [node]
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logger")))):
            return [node]
        case ast.Call(func=ast.Name(id="cast" | "TypeVar")) | ast.Subscript(value=ast.Name(id="Literal")):
            return [node]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            return [node.operand]
    return []


def change_node(node: ast.AST) -> Iterator[ast.AST]:
    """Changed copies of a node."""
    if isinstance(node, ast.expr):
        yield from change_operation(node)
        yield from change_value(node)
        return
    match node:
        case ast.AugAssign() if type(node.op) in OPERATORS:
            yield copy_node(node, op=OPERATORS[type(node.op)]())
        case ast.If():
            yield copy_node(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.comprehension() if node.ifs:
            yield copy_node(node, ifs=[])
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise():
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def change_operation(node: ast.expr) -> Iterator[ast.expr]:
    """Another operator or comparison, or the other branch."""
    match node:
        case ast.BinOp() if type(node.op) in OPERATORS:
            yield copy_node(node, op=OPERATORS[type(node.op)]())
        case ast.Compare():
            for index, comparison in enumerate(node.ops):
                for other in COMPARISONS[type(comparison)]:
                    yield copy_node(node, ops=[*node.ops[:index], other(), *node.ops[index + 1 :]])
        case ast.BoolOp():
            yield copy_node(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.Invert() | ast.USub()):
            yield copy.deepcopy(node.operand)
        case ast.IfExp():
            yield copy_node(node, test=ast.UnaryOp(ast.Not(), node.test))


def change_value(node: ast.expr) -> Iterator[ast.expr]:
    """Another constant, name or order."""
    match node:
        case ast.Constant():
            yield from change_constant(node)
        case ast.Name(ctx=ast.Load()) if node.id in CALLED_NAMES:
            yield copy_node(node, id=OTHER_NAMES[node.id])
        case ast.Attribute(ctx=ast.Load()) if node.attr in OTHER_NAMES:
            yield copy_node(node, attr=OTHER_NAMES[node.attr])
        case ast.Call() if has_swappable_arguments(node):
            yield copy_node(node, args=[node.args[1], node.args[0], *node.args[2:]])
        case ast.Tuple(ctx=ast.Load(), elts=[first, second]) if type(first) is type(second):
            yield copy_node(node, elts=[second, first])


def change_constant(node: ast.Constant) -> Iterator[ast.Constant]:
    """Other truth; integers one up and one down; floats doubled, 0 to 1. Texts and tiny floats stay."""
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        if value > 0:
            yield ast.Constant(value - 1)
    elif isinstance(value, float) and not 0 < value <= SMALLEST_FLOAT:
        yield ast.Constant(2 * value if value else 1.0)


def has_swappable_arguments(node: ast.Call) -> bool:
    """Whether the first two arguments of a call are of one form, such as two names, and their order matters."""
    if len(node.args) < 2 or type(node.args[0]) is not type(node.args[1]) or isinstance(node.args[0], ast.Starred):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name not in SYMMETRIC


def copy_node(node: Node, **fields: object) -> Node:
    """A deep copy of a node with some fields replaced."""
    changed = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, copy.deepcopy(value))
    return changed
