"""Finds in the source every text that people may read: what `_()` is given, and what errors and findings say.

Lower packages know nothing of languages and build their texts with f-strings. Here an f-string becomes a template: its literal text
with a named placeholder for each value. A placeholder whose value is itself a text of the program is remembered as such, so that it
is translated too. Texts are followed through parameters, local names, returned values and tables of constants.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from api.program import Function, Program, Where, assigned, called, caught, given, returns

REPORTS = {"Spot": "detail", "Finding": "detail", "Told": "reason", "Doubt": "reason"}  # dataclasses with a field that holds a text
REMARKS = "remarks"  # functions of this name return texts
MOST_ALTERNATIVES = 8
_TEXT_ATTRIBUTES = frozenset({"strerror", "reason", "detail"})
_SAME_TEXT = frozenset({"strip", "splitlines", "split", "lower", "removeprefix", "removesuffix"})


class UntranslatableText(Exception):
    """A text given to `_()` is put together at run time: it can be in no catalog."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A value in a text. `text` tells whether it is itself a text: yes, no, or as the named parameter of a function."""

    name: str
    source: str
    text: bool | tuple[Function, str] = False


Piece = str | Slot
Template = tuple[Piece, ...]
Given = tuple[ast.expr, Where]  # an expression and where it stands


@dataclass(frozen=True, slots=True)
class Text:
    """A text to translate: where it stands, and which of its placeholders hold texts themselves."""

    text: str
    origins: tuple[str, ...]
    texts: tuple[str, ...] = ()


def shown_texts(program: Program) -> list[Text]:
    """What `_()` is given, directly or through functions such as `say`. UntranslatableText where it is put together at run time."""
    reader = Reader(program, every=True)
    for call, where in program.calls.get("_", []):
        reader.follow(call.args[0], where)
    for template in reader.templates.values():
        if len(template) > 1:
            raise UntranslatableText(f"_() is given an f-string: {spelled(template)}")
    return [Text("".join(map(str, t)), tuple(sorted(reader.origins[s]))) for s, t in sorted(reader.templates.items())]


def reported_texts(program: Program) -> list[Text]:
    """What errors and findings say, as templates."""
    reader = Reader(program)
    for name, init in program.errors.items():
        if init is None:
            for call, where in program.calls.get(name, []):
                if call.args:
                    reader.follow(call.args[0], where)
        else:
            for call, inside in init.module.calls:
                if inside is init and called(call) == "__init__" and call.args:
                    reader.follow(call.args[0], (init.module, init))
    for name, parameter in REPORTS.items():
        for call, where in program.calls.get(name, []):
            value = given(call, parameter, program.field_place(name, parameter))
            if value is not None:
                reader.follow(value, where)
    for function in program.functions.get(REMARKS, []):
        for value in returns(function.node):
            reader.follow(value, (function.module, function))
    made = []
    for text, template in sorted(reader.templates.items()):
        texts = tuple(dict.fromkeys(p.name for p in template if isinstance(p, Slot) and reader.is_text(p)))
        made.append(Text(text, tuple(sorted(reader.origins[text])), texts))
    return made


class Reader:
    """Collects templates. With `every`, all texts, also names and marks; else only those that are words of a language."""

    def __init__(self, program: Program, *, every: bool = False) -> None:
        self._program, self._every = program, every
        self.templates: dict[str, Template] = {}
        self.origins: dict[str, set[str]] = {}
        self._waiting: list[tuple[ast.expr, Where, tuple[Function, str] | None]] = []
        self._seen: set[int] = set()
        self._through: dict[tuple[Function, str], list[Template]] = {}
        self._reading: set[tuple[int, str]] = set()  # names being read: they may be made from themselves
        self._filled: set[str] = set()  # names that a condition says are not empty

    def follow(self, text: ast.expr, where: Where) -> None:
        """Collect what this expression can be, and all that flows into it."""
        self._waiting.append((text, where, None))
        while self._waiting:
            expression, place, parameter = self._waiting.pop()
            if parameter is None and id(expression) in self._seen:
                continue
            if parameter is None:
                self._seen.add(id(expression))
            for template in self._read(expression, place):
                self._take(template, place, parameter)

    def is_text(self, slot: Slot) -> bool:
        """Whether a slot can hold a text of the program."""
        return slot.text if isinstance(slot.text, bool) else self._carries(slot.text, frozenset())

    def _carries(self, parameter: tuple[Function, str], above: frozenset[tuple[Function, str]]) -> bool:
        if parameter in above:
            return False
        for template in self._through.get(parameter, []):
            for piece in template:
                if isinstance(piece, str):
                    if len(template) > 1 or is_words(piece):
                        return True
                elif piece.text is True or (isinstance(piece.text, tuple) and self._carries(piece.text, above | {parameter})):
                    return True
        return False

    def _take(self, made: Template, where: Where, parameter: tuple[Function, str] | None) -> None:
        template = tuple(named(made))
        if parameter is not None:
            self._through[parameter].append(template)
        literal = "".join(piece for piece in template if isinstance(piece, str))
        if literal and (self._every or (is_words(literal) if len(template) == 1 else re.search(r"\w|: | \(", literal))):
            text = spelled(template)
            self.templates[text] = template
            self.origins.setdefault(text, set()).add(where[0].path)
        for piece in template:
            if isinstance(piece, Slot) and isinstance(piece.text, tuple) and piece.text not in self._through:
                self._through[piece.text] = []
                self._enter(*piece.text)

    def _enter(self, function: Function, name: str) -> None:
        """Follow what every call gives for this parameter."""
        names = [function.node.name]
        if names == ["__init__"]:
            names = [error for error, init in self._program.errors.items() if init is function]
        for called_name in names:
            for call, where in self._program.calls.get(called_name, []):
                argument = function.argument(call, name)
                if argument is not None:
                    self._waiting.append((argument, where, (function, name)))

    def _read(self, node: ast.expr, where: Where) -> list[Template]:
        """What an expression can be, as templates."""
        match node:
            case ast.Constant(value=str(value)):
                return [(value,) if value else ()]
            case ast.JoinedStr(values=values):
                return self._product([self._read_part(part, where) for part in values], where)
            case ast.BinOp(op=ast.Add(), left=left, right=right) if texts_in([node]):
                return self._product([self._read(left, where), self._read(right, where)], where)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                filled = {test.id} if isinstance(test, ast.Name) else set()
                self._filled |= filled
                found = self._read(body, where)
                self._filled -= filled
                return found + self._read(orelse, where)
            case ast.BoolOp(values=values):
                # The empty text at the end of `x or ""` says only that there may be no x.
                kept = [value for value in values if not (isinstance(value, ast.Constant) and value.value == "")]
                return [template for value in kept for template in self._read(value, where)]
            case ast.Name():
                return self._read_name(node, where)
            case ast.Call():
                return self._read_call(node, where)
            case ast.Subscript(value=value):
                elements = self._elements(value, where)
                return self._read(value, where) if elements == [(value, where)] else self._one_of(node, elements)
            case ast.List() | ast.Tuple() | ast.ListComp() | ast.GeneratorExp() | ast.Dict():
                return self._one_of(node, self._elements(node, where))
            case ast.Attribute(attr=attribute) if attribute in _TEXT_ATTRIBUTES:
                return [(Slot(attribute, ast.unparse(node), True),)]
            case ast.Attribute(attr=attribute) if attribute in self._program.attributes:
                return self._one_of(node, self._elements(node, where))
        return [(opaque(node),)]

    def _read_part(self, part: ast.expr, where: Where) -> list[Template]:
        if isinstance(part, ast.FormattedValue):
            if part.conversion != -1 or part.format_spec is not None:
                return [(opaque(part.value),)]
            part = part.value
        return list(dict.fromkeys(self._read(part, where)))

    def _product(self, parts: list[list[Template]], where: Where) -> list[Template]:
        """Every way to put the parts together; where there are many, a part with alternatives becomes a slot and they stand alone."""
        if len(list(itertools.product(*parts))) > MOST_ALTERNATIVES:
            for part in parts:
                for template in part if len(part) > 1 else ():
                    self._take(template, where, None)
            parts = [part if len(part) < 2 else [(Slot("text", str(number), True),)] for number, part in enumerate(parts)]
        return [tuple(itertools.chain.from_iterable(choice)) for choice in itertools.product(*parts)]

    def _read_name(self, node: ast.Name, where: Where) -> list[Template]:
        module, inside = where
        while inside is not None:
            if caught(inside.node, node.id):
                return [(Slot(node.id, node.id, True),)]
            local = self._locally(inside, node.id)
            if local is not None:
                mark = (id(inside), node.id)
                self._reading.add(mark)
                found = [template for value in local for template in self._read_local(node, value, (module, inside))]
                self._reading.discard(mark)
                return [template for template in found if template or node.id not in self._filled]
            for parameter in inside.parameters():
                if parameter.arg == node.id:
                    annotation = ast.unparse(parameter.annotation) if parameter.annotation is not None else "str"
                    error = annotation.endswith(("Error", "Exception"))
                    return [(Slot(node.id, node.id, error or ((inside, node.id) if "str" in annotation else False)),)]
            inside = inside.around
        values = module.constants.get(node.id, [])
        return [template for value in values for template in self._read(value, (module, None))] if texts_in(values) else [(opaque(node),)]

    def _locally(self, function: Function, name: str) -> list[ast.expr] | None:
        """What a local name is given; None for no local name, or one that is being read already."""
        found = assigned(function.node, name)
        return found if found and (id(function), name) not in self._reading else None

    def _read_local(self, node: ast.Name, value: ast.expr, where: Where) -> list[Template]:
        # A local name that is only a value keeps its own name.
        return [(Slot(node.id, node.id, t[0].text),) if len(t) == 1 and isinstance(t[0], Slot) else t for t in self._read(value, where)]

    def _read_call(self, node: ast.Call, where: Where) -> list[Template]:
        name = called(node)
        match node.func:
            case ast.Name(id="str") if len(node.args) == 1:
                return self._read(node.args[0], where)
            case ast.Attribute(attr="join") if len(node.args) == 1:
                return self._one_of(node, self._elements(node.args[0], where))
            case ast.Attribute(value=value) if name in _SAME_TEXT:
                return self._read(value, where)
            case ast.Attribute(attr="get", value=ast.Name() as table):
                return self._one_of(node, [*self._elements(table, where), *((default, where) for default in node.args[1:])])
        return self._one_of(node, self._returned(node))

    def _returned(self, node: ast.Call) -> list[Given]:
        """What the program's functions of this name return."""
        functions = self._program.functions.get(called(node), [])
        return [(value, (function.module, function)) for function in functions for value in returns(function.node)]

    def _elements(self, node: ast.expr, where: Where) -> list[Given]:
        """The expressions that a list, a table of constants or a comprehension is made of."""
        match node:
            case ast.Name():
                module, function = where
                while function is not None:
                    local = self._locally(function, node.id)
                    if local is not None:
                        mark = (id(function), node.id)
                        self._reading.add(mark)
                        found = [element for value in local for element in self._elements(value, (module, function))]
                        self._reading.discard(mark)
                        return found
                    function = function.around
                return [element for value in module.constants.get(node.id, []) for element in self._elements(value, (module, None))]
            case ast.Attribute(attr=name) if name in self._program.attributes and (0, name) not in self._reading:
                self._reading.add((0, name))
                found = [element for value, place in self._program.attributes[name] for element in self._elements(value, place)]
                self._reading.discard((0, name))
                return found
            case ast.List(elts=values) | ast.Tuple(elts=values) | ast.Dict(values=values) | ast.BoolOp(values=values):
                return [element for value in values for element in self._elements(value, where)]
            case ast.ListComp(elt=value) | ast.GeneratorExp(elt=value):
                return [(value, where)]
            case ast.Subscript(value=value) | ast.Starred(value=value):
                return self._elements(value, where)
            case ast.IfExp(body=body, orelse=orelse):
                return [*self._elements(body, where), *self._elements(orelse, where)]
        return [(node, where)]

    def _one_of(self, node: ast.expr, elements: list[Given]) -> list[Template]:
        """A value taken from several: each that is a text is one on its own, and the value is a slot for it."""
        texts = [(value, place) for value, place in elements if self._holds(value, place, frozenset())]
        self._waiting += [(value, place, None) for value, place in texts if id(value) not in self._seen]
        return [(Slot(opaque(node).name, ast.unparse(node), bool(texts)),)]

    def _holds(self, node: ast.expr, where: Where, above: frozenset[int]) -> bool:
        """Whether an expression can be a text of the program, also one that a function returns."""
        if texts_in([node]):
            return True
        if id(node) in above:
            return False
        elements = self._returned(node) if isinstance(node, ast.Call) else self._elements(node, where)
        return elements != [(node, where)] and any(self._holds(value, place, above | {id(node)}) for value, place in elements)


def is_words(text: str) -> bool:
    """Whether a text is words of a language, not the name of a field, a table or a contract."""
    return bool(re.search("[A-Za-z]{2}", text)) and not re.fullmatch(r"\w*_\w*|\w*[a-z][A-Z]\w*|[A-Z][a-z]+", text)


def texts_in(values: Iterable[ast.expr]) -> bool:
    """Whether words stand in these expressions, outside of what is only looked up or compared."""
    return any(isinstance(node, ast.Constant) and isinstance(node.value, str) and is_words(node.value) for v in values for node in _said(v))


def _said(node: ast.expr) -> Iterator[ast.expr]:
    yield node
    match node:
        case ast.JoinedStr(values=inner) | ast.BoolOp(values=inner) | ast.Dict(values=inner) | ast.List(elts=inner) | ast.Tuple(elts=inner):
            pass
        case ast.IfExp(body=body, orelse=orelse):
            inner = [body, orelse]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            inner = [left, right]
        case ast.ListComp(elt=value) | ast.GeneratorExp(elt=value):
            inner = [value]
        case ast.Subscript(value=value) | ast.Starred(value=value) | ast.FormattedValue(value=value):
            inner = [value]
        case ast.Call(func=ast.Attribute(attr="join"), args=inner):
            pass
        case _:
            inner = []
    for child in inner:
        yield from _said(child)


def opaque(node: ast.expr) -> Slot:
    """A slot for a value that is no text of the program, named after what it is taken from."""
    inner: ast.expr | None = node
    name = "value"
    while inner is not None:
        match inner:
            case ast.Attribute(attr=name) | ast.Name(id=name):
                inner = None
            case ast.Call(func=ast.Attribute(value=value, attr=attribute), args=args) if attribute == "get" or not args:
                inner = value
            case ast.Call(args=[value, *_]) | ast.Subscript(value=value) | ast.BinOp(left=value) | ast.BoolOp(values=[value, *_]):
                inner = value
            case ast.ListComp(generators=[first, *_]) | ast.GeneratorExp(generators=[first, *_]):
                inner = first.iter
            case _:
                inner = None
    return Slot(name.strip("_").lower() or "value", ast.unparse(node))


def named(template: Template) -> Iterator[Piece]:
    """The template with adjoining texts joined, and every slot's name its own; the same expression keeps one name."""
    taken: dict[str, str] = {}
    for is_literal, pieces in itertools.groupby(template, lambda piece: isinstance(piece, str)):
        if is_literal:
            yield "".join(map(str, pieces))
            continue
        for piece in pieces:
            assert isinstance(piece, Slot)  # noqa: S101 - the group says so
            name, number = piece.name, 1
            while taken.setdefault(name, piece.source) != piece.source:
                number += 1
                name = f"{piece.name}{number}"
            yield Slot(name, piece.source, piece.text)


def spelled(template: Template) -> str:
    """The template as a message id: {name} for a slot, braces of the text doubled."""
    return "".join(
        piece.replace("{", "{{").replace("}", "}}") if isinstance(piece, str) else "{" + piece.name + "}" for piece in template
    )
