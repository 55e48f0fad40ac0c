# SPDX-License-Identifier: Apache-2.0
"""The corpus of definitions against the published JSON Schema and against the compiler; the
examples of docs/definitions.md and examples/definitions against both."""
import glob
import json
import os
import re
import subprocess

import jsonschema
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CORPUS = sorted(glob.glob(os.path.join(ROOT, "tests/corpus/definitions/*.json")))
REGISTERED = sorted(glob.glob(os.path.join(ROOT, "examples/definitions/*.json")))
GUIDE = os.path.join(ROOT, "docs/definitions.md")
DEFS = {"named": "definition", "inline": "inline", "joined": "joined_step"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.fixture(scope="session")
def validators():
    schema = json.loads(read(os.path.join(ROOT, "participants/definition.schema.json")))
    jsonschema.Draft202012Validator.check_schema(schema)
    made = {use: jsonschema.Draft202012Validator({"$ref": "#/$defs/" + name, "$defs": schema["$defs"]})
            for use, name in DEFS.items()}
    made["root"] = jsonschema.Draft202012Validator(schema)
    return made


@pytest.fixture(scope="session")
def compiler(tmp_path_factory):
    """tests/lib/definition_check, built by hand: it needs nothing but a C compiler."""
    program = str(tmp_path_factory.mktemp("check") / "definition_check")
    sources = [os.path.join(ROOT, "tests/lib/definition_check.c")]
    for name in ("json", "json_look", "arena", "mem", "text", "err"):
        sources.append(os.path.join(ROOT, "coordinator/base", name + ".c"))
    sources += glob.glob(os.path.join(ROOT, "coordinator/core/*.c"))
    for pattern in ("definition*.c", "template*.c", "findings.c", "mermaid.c"):
        sources += glob.glob(os.path.join(ROOT, "participants", pattern))
    subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-I", ROOT,
                    "-fsanitize=address,undefined", *sources, "-o", program], check=True)

    def run(text, use, name=""):
        done = subprocess.run([program, use, name], input=text.encode(), capture_output=True, check=True)
        assert done.stderr == b""
        return json.loads(done.stdout)
    return run


def document_text(text):
    """The document as it stands in a case: numbers must not go through Python."""
    start = text.index('"document":') + len('"document":')
    rest = text[start:].lstrip()
    return rest[:json.JSONDecoder().raw_decode(rest)[1]]


@pytest.mark.parametrize("path", CORPUS, ids=os.path.basename)
def test_schema_rejects_every_error_of_shape_and_nothing_else(path, validators):
    case = json.loads(read(path))
    accepted = validators[case["as"]].is_valid(case["document"])
    assert accepted == (case["is"] != "shape"), case["why"]


@pytest.mark.parametrize("path", CORPUS, ids=os.path.basename)
def test_compiler_finds_exactly_what_the_corpus_says(path, compiler):
    text = read(path)
    case = json.loads(text)
    named = isinstance(case["document"], dict) and "name" in case["document"]
    found = compiler(document_text(text), case["as"], "" if named else "demo")
    assert sorted(f["pointer"] for f in found["errors"]) == sorted(case["errors"]), found
    assert sorted(f["pointer"] for f in found["warnings"]) == sorted(case["warnings"]), found
    assert found["valid"] == (case["is"] == "valid")
    for finding in found["errors"] + found["warnings"]:
        assert finding["detail"] and "\n" not in finding["detail"]


def test_corpus_has_every_mark():
    marks = [json.loads(read(path))["is"] for path in CORPUS]
    assert {mark: marks.count(mark) >= 30 for mark in ("valid", "shape", "meaning")} == {
        "valid": True, "shape": True, "meaning": True}


def test_root_of_the_schema_is_a_definition(validators):
    assert validators["root"].is_valid({"steps": {"a": {"action": {"url": "http://h/"}}}})
    assert not validators["root"].is_valid({"mode": "tcc"})


@pytest.mark.parametrize("path", REGISTERED, ids=os.path.basename)
def test_registered_examples_are_valid(path, validators, compiler):
    assert validators["root"].is_valid(json.loads(read(path)))
    found = compiler(read(path), "named")
    assert found["valid"] and not found["warnings"], found


def guide_examples():
    """```json NAME blocks; `as` is written behind the language: ```json named, ```json inline, …"""
    if not os.path.exists(GUIDE):
        return []
    return re.findall(r"^```json (\w+)\n(.*?)^```$", read(GUIDE), re.M | re.S)


def test_guide_has_no_example_that_nobody_compiles():
    fences = re.findall(r"^```(\w+.*)$", read(GUIDE), re.M)
    assert len(guide_examples()) >= 5
    assert [f for f in fences if f.startswith("json") and f.split()[-1] not in DEFS] == []


@pytest.mark.parametrize("use,text", guide_examples())
def test_examples_of_the_guide_are_valid(use, text, validators, compiler):
    assert validators[use].is_valid(json.loads(text))
    found = compiler(text, use, "demo" if use == "named" and '"name"' not in text else "")
    assert found["valid"] and found["warnings"] == [], found
