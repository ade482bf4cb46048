"""Modules are joined as a browser would load them, or not at all."""

import json
import shutil
import subprocess
from collections.abc import Mapping

import pytest

from rest_web.linking import LinkError, link

NODE = shutil.which("node")


def said_by(modules: Mapping[str, str]) -> object:
    """What the linked modules print."""
    linked = link(modules, "main.js")
    command = [str(NODE), "--input-type=module", "--eval", linked]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return json.loads(finished.stdout)


@pytest.mark.skipif(NODE is None, reason="there is no Node here: install Node 20 or newer")
def test_linked_modules_do_what_they_do_apart() -> None:
    modules = {
        "main.js": 'import { add } from "./maths.js";\n'
        'import { Counter, name as title } from "./counter.js";\n'
        "const hidden = 1;\n"
        "const counter = await Promise.resolve(new Counter());\n"
        "console.log(JSON.stringify([add(1, 2), title, counter.next(), hidden]));\n",
        "maths.js": "const hidden = 2;\n"
        "export function add(one, other) {\n  return one + other + hidden;\n}\n",
        "counter.js": 'import {\n  add,\n} from "./maths.js";\n'
        'export { add } from "./maths.js";\n'
        'export const name = "counter";\n'
        "export class Counter {\n  next() {\n    return add(0, 1);\n  }\n}\n"
        "export async function later() {}\n",
    }

    assert said_by(modules) == [5, "counter", 3, 1]


def test_a_module_that_many_import_is_there_once() -> None:
    modules = {
        "main.js": 'import { a } from "./a.js";\nimport { b } from "./b.js";\na(b);\n',
        "a.js": 'import { c } from "./c.js";\nexport const a = c;\n',
        "b.js": 'import { c } from "./c.js";\nexport const b = c;\n',
        "c.js": "export const c = () => {};\n",
    }

    assert link(modules, "main.js").count("const c = () => {};") == 1


def test_what_is_not_imported_is_left_out() -> None:
    assert "secret" not in link(
        {"main.js": "", "other.js": "export const secret = 1;\n"}, "main.js"
    )


@pytest.mark.parametrize(
    "text",
    [
        'import thing from "./other.js";\n',
        'import * as other from "./other.js";\n',
        'import "./other.js";\n',
        'import { x } from "elsewhere";\n',
        'import { default as x } from "./other.js"; x();\n',
        "export default 1;\n",
        "const x = 1;\nexport { x };\n",
        'export * from "./other.js";\n',
    ],
)
def test_a_form_that_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(LinkError):
        link({"main.js": text, "other.js": "export const x = 1;\n"}, "main.js")


def test_modules_that_need_each_other_are_refused() -> None:
    modules = {
        "main.js": 'import { a } from "./a.js";\n',
        "a.js": 'import { b } from "./b.js";\nexport const a = 1;\n',
        "b.js": 'import { a } from "./a.js";\nexport const b = 1;\n',
    }

    with pytest.raises(LinkError, match=r"main\.js -> a\.js -> b\.js -> a\.js"):
        link(modules, "main.js")


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(LinkError, match=r"main\.js imports gone\.js"):
        link({"main.js": 'import { x } from "./gone.js";\n'}, "main.js")
