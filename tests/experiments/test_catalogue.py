"""What is said of experiments without running them: their list, and the page that --help prints."""

import re
from pathlib import Path

import pytest

from experiments.common import catalogue

NAMES = [experiment.name for experiment in catalogue.experiments()]


def test_every_folder_with_a_config_is_listed_with_question_command_and_run_time() -> None:
    listed = catalogue.listing()
    assert len(NAMES) >= 5
    for experiment in catalogue.experiments():
        assert experiment.question.endswith("?")
        assert re.search(r"\d+ (s|min)", experiment.run_time), experiment.run_time
        assert f"python -m experiments.{experiment.name}\n    {experiment.question}" in listed
    assert all(len(line) <= 120 for line in listed.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_has_the_files_that_a_stranger_looks_for(name: str) -> None:
    folder = catalogue.ROOT / name
    assert {"__main__.py", "main.py", "config.py", "report.py"} <= {path.name for path in folder.iterdir()}
    assert len((folder / "__main__.py").read_text().splitlines()) <= 10


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_every_config_has_a_comment_and_every_variant_a_line(name: str) -> None:
    scope: dict[str, object] = {}
    source = catalogue.config_path(name).read_text(encoding="utf-8")
    exec(compile(source, name, "exec"), scope)
    fields = scope["get_config"]()  # type: ignore[operator]
    comments = catalogue.field_comments(source)
    assert {field for field in fields if not comments.get(field)} == set()
    for variant in scope["VARIANTS"]:  # type: ignore[attr-defined]
        assert (variant.__doc__ or "").splitlines()[0].endswith(".")
        assert scope["get_config"](variant.__name__) != fields  # type: ignore[operator]


CONFIG = '''"""Does it work?

Run time: 3 s on two CPU cores,
or more.

Expect: yes.
"""

def get_config(variant="default"):
    config = ConfigDict()
    # One of two,
    # as they come.
    config.first = "a"
    config.second, other = 2, 3
    config.third = (
        1  # in brackets
    )
    config.fourth = 4  # beside it
    return config

def small(config):
    """4 s. Smaller.

    More of it.
    """
    config.fourth = 1  # not this one
'''


def test_comments_are_those_above_and_beside_where_the_field_is_first_set() -> None:
    found = catalogue.field_comments(CONFIG)
    assert found == {"first": "One of two, as they come.", "third": "in brackets", "fourth": "beside it"}


def test_the_page_has_question_run_time_fields_variants_and_flags(tmp_path: Path) -> None:
    def small(config: object) -> None:
        """4 s. Smaller.

        More of it.
        """

    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.py").write_text(CONFIG)
    page = catalogue.help_page(folder / "config.py", {"fourth": 4, "first": "a", "plain": 1.5}, [small], "  --flag")
    lines = [line.rstrip() for line in page.splitlines()]
    assert lines[0] == "Does it work?"
    assert "Run time: 3 s on two CPU cores, or more." in lines
    assert [line.split() for line in lines if " = " in line] == [
        ["first", "=", "'a'", *["One", "of", "two,", "as", "they", "come."]],
        ["fourth", "=", "4", "beside", "it"],
        ["plain", "=", "1.5"],
    ]
    assert ["small", "4", "s.", "Smaller."] in [line.split() for line in lines]
    assert "More of it" not in page
    assert "  --flag" in lines
