"""docs/architecture.md names what there is."""

import re

from tools.templates import STACKS, STACKS_ROOT, name_of

from .conftest import template_of

ROOT = STACKS_ROOT.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_every_function_stands_at_its_stack() -> None:
    rows = {
        row[0]: set(re.findall(r"`(\w+)`", row[1]))
        for row in re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", PAGE, re.MULTILINE)
        if row[0] in STACKS
    }
    assert rows == {
        stack: {name_of(each) for each in template.functions.values()}
        for stack in STACKS
        for template in [template_of(stack)]
    }


def test_every_package_has_a_line() -> None:
    for project in ROOT.glob("libs/*/pyproject.toml"):
        assert f"`libs/{project.parent.name}`" in PAGE


def test_what_it_leads_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target


def test_what_notices_a_mistake_is_there() -> None:
    sources = [*ROOT.glob("tests/unit/**/*.py"), *ROOT.glob("tools/*.py")]
    code = "\n".join(source.read_text() for source in sources)
    section = PAGE.partition("## What notices a mistake")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!mistake|---)[^|]+ \|(.+)\|$", section, re.MULTILINE)
    assert len(rows) == 10
    for row in rows:
        names = re.findall(r"`(\w+)`", row)
        assert names
        for name in names:
            assert f"def {name}(" in code, name
