# SPDX-License-Identifier: Apache-2.0
"""What ${…} of a definition becomes, to test definitions with: the values are slices of JSON text, put in as they were written."""
from __future__ import annotations

import dataclasses
import datetime
import json
import re
import urllib.parse
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

PLACES = ("json", "path", "header", "text")  # a body of JSON, path and query of a URL, a header's value, any other body
_ROOTS = ("input", "steps", "gid", "definition", "now")
_ALTERNATIVES_MAX, _DEPTH_MAX, _INDEX_MAX = 8, 32, 100000
_BODY_MAX, _LINE_MAX = 1 << 20, 8000  # bytes
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"?|[A-Za-z0-9_+.-]*', re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_URL_TEXT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class BadTemplate(ValueError):
    """No definition may hold it."""


class NoValue(ValueError):
    """A value is missing or does not fit its place: the call cannot be made, and sagad calls that misconfigured."""


@dataclasses.dataclass(frozen=True)
class Sources:
    """What templates read. input, outputs: JSON texts, as they would be sent; of a step that has no output None."""

    input: str = "null"
    outputs: Mapping[str, Optional[str]] = dataclasses.field(default_factory=dict)
    gid: str = "g-1"
    definition: Optional[str] = None
    now_ms: int = 0


class _Reference(NamedTuple):
    root: str
    step: str
    parts: Tuple[Union[str, int], ...]


class _Hole(NamedTuple):
    source: str
    operands: Tuple[Union[_Reference, str], ...]  # a text is a literal, in JSON


def fill(template: str, place: str, sources: Sources) -> str:
    """Raises BadTemplate or NoValue. place: one of PLACES; of a body of JSON the template is the JSON text."""
    if place not in PLACES:
        raise ValueError(f"say place=: one of {', '.join(PLACES)}")
    if place == "json":
        made = _fill_json(template, sources)
    else:
        parts = _cut(template, sources)
        for part in parts:
            if isinstance(part, str):
                _check_literal(part, place)
        made = _fill_path(parts, sources) if place == "path" else "".join(
            part if isinstance(part, str) else _as_text(part, place, sources) for part in parts)
    limit = _BODY_MAX if place in ("json", "text") else _LINE_MAX
    if len(made.encode()) > limit:
        raise NoValue(f"a {place} became larger than {limit} bytes")
    return made


# ---- places ----------------------------------------------------------------------------------------


def _fill_json(template: str, sources: Sources) -> str:
    json.loads(template)
    made, done = [], 0
    for found in _TOKEN.finditer(template):
        is_name = template[found.end():].lstrip()[:1] == ":"
        if found[0][0] != '"' or is_name or "${" not in json.loads(found[0]):
            continue
        made += [template[done:found.start()], _fill_string(json.loads(found[0]), sources)]
        done = found.end()
    return "".join(made) + template[done:]


def _fill_string(text: str, sources: Sources) -> str:
    parts = _cut(text, sources)
    if len(parts) == 1 and isinstance(parts[0], _Hole):
        return _value_of(parts[0], sources)  # it keeps its type
    return '"' + "".join(_escaped(part) if isinstance(part, str) else _in_string(part, sources) for part in parts) + '"'


def _in_string(hole: _Hole, sources: Sources) -> str:
    value = _value_of(hole, sources)
    if value == "null":
        raise NoValue(f"{hole.source} is null, which has no text: give a default with ??")
    return value[1:-1] if value[0] == '"' else _escaped(value)


def _as_text(hole: _Hole, place: str, sources: Sources) -> str:
    value = _value_of(hole, sources)
    if value[0] == '"':
        text = str(json.loads(value))
    elif place != "text" and (value == "null" or value[0] in "{["):
        raise NoValue(f"{hole.source} is {'null' if value == 'null' else 'an object or array'}, which fits neither a URL nor a header")
    else:
        text = value
    if place == "header" and _CONTROL.search(text):
        raise NoValue(f"{hole.source} has a character that cannot stand in a header")
    return text


def _fill_path(parts: List[Union[str, _Hole]], sources: Sources) -> str:
    made, filled, is_path = "", False, True  # filled: a value stands in the segment at hand
    for part in parts:
        if isinstance(part, _Hole):
            made += urllib.parse.quote(_as_text(part, "path", sources), safe="")
            filled = True
            continue
        for piece in re.findall(r"[/?]|[^/?]+", part):
            if is_path and piece in "/?":
                _check_segment(made, filled)
                filled, is_path = False, piece == "/"
            made += piece
    if is_path:
        _check_segment(made, filled)
    return made


def _check_segment(made: str, filled: bool) -> None:
    if filled and made.rpartition("/")[2] in ("", ".", ".."):
        raise NoValue('a value made a path segment empty, "." or ".."')


def _check_literal(text: str, place: str) -> None:
    if place == "header" and _CONTROL.search(text):
        raise BadTemplate("a header's value has no control characters")
    if place != "path":
        return
    if "#" in text:
        raise BadTemplate("a fragment (#...) is never sent: remove it")
    if "%2e" in text.lower():
        raise BadTemplate("write a dot as a dot, not as %2e")
    if not _URL_TEXT.fullmatch(text):
        raise BadTemplate(f"{text!r:.60} cannot stand in a URL: percent-encode it")


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


# ---- values ----------------------------------------------------------------------------------------


def _value_of(hole: _Hole, sources: Sources) -> str:
    """The first operand with a value; null gives way to what stands behind it."""
    found = None
    for operand in hole.operands:
        value = operand if isinstance(operand, str) else _look_up(operand, sources)
        found = found if value is None else value
        if value not in (None, "null"):
            break
    if found is None:
        raise NoValue(f"{hole.source} has no value: there is no such member or output; give a default with ??")
    return found


def _look_up(reference: _Reference, sources: Sources) -> Optional[str]:
    now = datetime.datetime.fromtimestamp(sources.now_ms / 1000, datetime.timezone.utc)
    roots: Dict[str, Optional[str]] = {
        "input": sources.input, "steps": sources.outputs.get(reference.step), "gid": json.dumps(sources.gid),
        "definition": json.dumps(sources.definition), "now": json.dumps(now.isoformat(timespec="milliseconds").replace("+00:00", "Z"))}
    value = roots[reference.root]
    value = value and value.strip()
    for part in reference.parts:
        if not value or value[0] != ("{" if isinstance(part, str) else "["):
            return None
        value = next((text for name, text in _inside(value) if name == part), None)
    return value or None


def _inside(value: str) -> Iterator[Tuple[Union[str, int], str]]:
    """The members or elements of an object or array, as they were written."""
    depth, start, name, index = 0, 0, None, 0  # type: int, int, Optional[str], int
    for found in _TOKEN.finditer(value):
        token = found[0]
        if depth == 1 and token == ":":
            name, start = json.loads(value[start:found.start()]), found.end()
        if depth == 1 and token in ",]}" and value[start:found.start()].strip():
            yield (index if name is None else name), value[start:found.start()].strip()
            index, start, name = index + 1, found.end(), None
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token, 0)
        if depth == 1 and start == 0:
            start = found.end()


# ---- holes -----------------------------------------------------------------------------------------


def _cut(text: str, sources: Sources) -> List[Union[str, _Hole]]:
    parts: List[Union[str, _Hole]] = []
    done, at = 0, text.find("$")
    while at >= 0:
        if text.startswith("${", at + 1):  # $${ stands for ${
            parts.append(text[done:at])
            done, at = at + 1, at + 3
        elif text.startswith("${", at):
            hole = _Reader(text[at:], sources.outputs).hole()
            parts += [text[done:at], hole]
            done = at = at + len(hole.source)
        else:
            at += 1
        at = text.find("$", at)
    return [part for part in (*parts, text[done:]) if part]


class _Reader:
    """Of one hole; text begins with it."""

    def __init__(self, text: str, steps: Mapping[str, Any]):
        self._text, self._steps, self._at = text, steps, 2

    def hole(self) -> _Hole:
        operands: List[Union[_Reference, str]] = []
        while True:
            self._skip()
            if len(operands) == _ALTERNATIVES_MAX:
                raise self._wrong("one ${…} has at most 8 alternatives")
            operands.append(self._operand(is_first=not operands))
            self._skip()
            if self._next("}"):
                return _Hole(self._text[:self._at], tuple(operands))
            if not self._next("??"):
                raise self._wrong("?? or } is expected")
            if isinstance(operands[-1], str):
                raise self._wrong("nothing can follow a literal: it is never missing")

    def _wrong(self, what: str) -> BadTemplate:
        return BadTemplate(f'{what}, at {self._at} of "{self._text[:60]}"')

    def _skip(self) -> None:
        while self._next(" "):
            pass

    def _next(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _word(self) -> str:
        found = _WORD.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found[0] if found else ""

    def _operand(self, is_first: bool) -> Union[_Reference, str]:
        start, word = self._at, self._word()
        if word and word not in ("true", "false", "null"):
            return self._reference(word)
        if is_first:
            raise self._wrong("a reference is expected: input, steps.NAME.output, gid, definition or now")
        self._at = start
        return self._literal()

    def _reference(self, root: str) -> _Reference:
        if root not in _ROOTS:
            raise self._wrong("a reference begins with input, steps, gid, definition or now")
        step = self._step() if root == "steps" else ""
        parts: List[Union[str, int]] = []
        while self._text.startswith((".", "["), self._at):
            if root not in ("input", "steps"):
                raise self._wrong("gid, definition and now are texts and have no parts")
            if len(parts) == _DEPTH_MAX:
                raise self._wrong("a reference goes at most 32 levels deep")
            parts.append(self._part())
        return _Reference(root, step, tuple(parts))

    def _part(self) -> Union[str, int]:
        if self._next("["):
            found = re.compile(r"([0-9]+)\]").match(self._text, self._at)
            if not found or len(found[1]) > 20 or int(found[1]) >= _INDEX_MAX:
                raise self._wrong("an index is a whole number below 100000, as in [0]")
            self._at = found.end()
            return int(found[1])
        self._at += 1
        name = self._word()
        if not name:
            raise self._wrong("a name is expected behind the dot")
        return name

    def _step(self) -> str:
        name = self._word() if self._next(".") else ""
        if not name:
            raise self._wrong("write steps.NAME.output")
        if name not in self._steps:
            raise self._wrong("there is no step of that name")
        if not (self._next(".") and self._word() == "output"):
            raise self._wrong("of a step only the output can be read: steps.NAME.output")
        return name

    def _literal(self) -> str:
        if self._next("'"):
            end = self._text.find("'", self._at)
            if end < 0:
                raise self._wrong("the closing ' is missing")
            text, self._at = self._text[self._at:end], end + 1
            return json.dumps(text, ensure_ascii=False)
        found = _LITERAL.match(self._text, self._at)
        literal = found[0] if found else ""
        try:
            json.loads(literal)
            if literal in ("NaN", "Infinity", "-Infinity"):
                raise ValueError
        except ValueError:
            raise self._wrong("a reference, or a literal like \"text\", 'text', 12, true or null is expected") from None
        self._at += len(literal)
        return literal
