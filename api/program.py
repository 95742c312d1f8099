"""The program's own source as an index: functions, calls and error classes by name, and what a name can stand for in a function."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("ledger", "contracts", "anchoring", "node", "samples", "api")
ROOT_ERROR = "CaresealError"


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function, the function around it, and the module it is in."""

    node: ast.FunctionDef
    module: Module
    around: Function | None
    method: bool

    def parameters(self) -> list[ast.arg]:
        """The parameters that a call fills, without self."""
        listed = [*self.node.args.posonlyargs, *self.node.args.args]
        return (listed[1:] if self.method else listed) + self.node.args.kwonlyargs

    def argument(self, call: ast.Call, name: str) -> ast.expr | None:
        """What a call gives for a parameter."""
        return given(call, name, [parameter.arg for parameter in self.parameters()].index(name))


@dataclass(slots=True, eq=False)
class Module:
    """A source file. Functions, calls and what attributes are given come with the function they stand in."""

    path: str
    constants: dict[str, list[ast.expr]] = field(default_factory=dict)
    functions: list[Function] = field(default_factory=list)
    classes: list[ast.ClassDef] = field(default_factory=list)
    calls: list[tuple[ast.Call, Function | None]] = field(default_factory=list)
    attributes: list[tuple[str, ast.expr, Function | None]] = field(default_factory=list)


Where = tuple[Module, Function | None]


class Program:
    """All modules of the program."""

    def __init__(self, modules: Iterable[Module]) -> None:
        self._modules = list(modules)
        self.functions: dict[str, list[Function]] = {}
        self.calls: dict[str, list[tuple[ast.Call, Where]]] = {}
        self.attributes: dict[str, list[tuple[ast.expr, Where]]] = {}
        for module in self._modules:
            for function in module.functions:
                self.functions.setdefault(function.node.name, []).append(function)
            for call, inside in module.calls:
                self.calls.setdefault(called(call), []).append((call, (module, inside)))
            for name, value, inside in module.attributes:
                self.attributes.setdefault(name, []).append((value, (module, inside)))
        self.errors = self._errors()

    def _errors(self) -> dict[str, Function | None]:
        """Every error class under the root, with its own constructor where it has one."""
        found: dict[str, Function | None] = {ROOT_ERROR: None}
        size = 0
        while size < len(found):
            size = len(found)
            for module in self._modules:
                for node in module.classes:
                    base = next((base.id for base in node.bases if isinstance(base, ast.Name) and base.id in found), None)
                    if base is not None and node.name not in found:
                        own = next((f for f in module.functions if f.node in node.body and f.node.name == "__init__"), None)
                        found[node.name] = own or found[base]
        return found

    def field_place(self, class_name: str, field_name: str) -> int:
        """The place of a field among those of a dataclass. LookupError where there is none."""
        for module in self._modules:
            for node in module.classes:
                names = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
                if node.name == class_name and field_name in names:
                    return names.index(field_name)
        raise LookupError(f"no field {field_name} in a class {class_name}")


def read_program(root: Path) -> Program:
    """All modules of the packages in a checkout. SyntaxError where a file is not Python."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return Program(read_module(path.relative_to(root).as_posix(), path.read_text()) for path in paths)


def read_module(path: str, source: str) -> Module:
    """Parse one file. SyntaxError where it is not Python."""
    module, tree = Module(path), ast.parse(source, path)
    _walk(tree, module, None, in_class=False)
    for statement in tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
                if isinstance(target, ast.Name):
                    module.constants.setdefault(target.id, []).append(statement.value)
    return module


def _walk(node: ast.AST, module: Module, inside: Function | None, *, in_class: bool) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in child.decorator_list)
            function = Function(child, module, inside, in_class and not static)
            module.functions.append(function)
            _walk(child, module, function, in_class=False)
        elif isinstance(child, ast.ClassDef):
            module.classes.append(child)
            _walk(child, module, inside, in_class=True)
        else:
            if isinstance(child, ast.Call):
                module.calls.append((child, inside))
            if isinstance(child, (ast.Assign, ast.AnnAssign)) and child.value is not None:
                targets = child.targets if isinstance(child, ast.Assign) else [child.target]
                module.attributes += [(target.attr, child.value, inside) for target in targets if isinstance(target, ast.Attribute)]
            _walk(child, module, inside, in_class=False)


def called(call: ast.Call) -> str:
    """The bare name of what is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id if isinstance(call.func, ast.Name) else ""


def given(call: ast.Call, name: str, place: int) -> ast.expr | None:
    """The argument of a call by keyword or place."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[place] if place < len(call.args) and not any(isinstance(a, ast.Starred) for a in call.args) else None


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of the functions in it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield from own_nodes(child)


def assigned(function: ast.AST, name: str) -> list[ast.expr]:
    """Everything a local name is given, also what a list of this name is given by append, extend and +=."""
    found: list[ast.expr] = []
    for node in own_nodes(function):
        match node:
            case ast.Assign(targets=targets, value=value):
                found += [value for target in targets if isinstance(target, ast.Name) and target.id == name]
            case (
                ast.AnnAssign(target=ast.Name(id=named), value=ast.expr() as value)
                | ast.AugAssign(target=ast.Name(id=named), value=value)
                | ast.NamedExpr(target=ast.Name(id=named), value=value)
            ):
                found += [value] if named == name else []
            case ast.Call(func=ast.Attribute(value=ast.Name(id=named), attr="append" | "extend"), args=values):
                found += values if named == name else []
    return found


def caught(function: ast.AST, name: str) -> bool:
    """Whether a name is an exception caught in this function."""
    return any(isinstance(node, ast.ExceptHandler) and node.name == name for node in own_nodes(function))


def returns(function: ast.AST) -> list[ast.expr]:
    """What a function returns."""
    return [node.value for node in own_nodes(function) if isinstance(node, ast.Return) and node.value is not None]
