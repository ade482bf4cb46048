"""A stack's README has all of its parameters, and none that there is not."""

import re

from tools.templates import SSM_PARAMETER_TYPE, STACKS_ROOT, Template


def test_a_readme_has_the_parameters_of_its_template(template: Template) -> None:
    readme = (STACKS_ROOT / template.stack / "README.md").read_text()
    rows = re.findall(r"^\| (`[^|]*) \|", readme, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row)]
    settings = [
        name
        for name, parameter in template.parameters.items()
        if parameter["Type"] != SSM_PARAMETER_TYPE
    ]
    assert sorted(named) == sorted(settings)
