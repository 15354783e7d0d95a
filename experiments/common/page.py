"""The page that a run leaves: text that stands in a file of its own, with what was found filled in."""

import textwrap
from pathlib import Path
from typing import Any

import jinja2


def filled(report: str, **found: Any) -> str:
    """The template ``summary.md`` beside a report, of which ``__file__`` is given, with these values."""
    loader = jinja2.FileSystemLoader(Path(report).parent)
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    return environment.get_template("summary.md").render(**found)


def code(text: str) -> str:
    """As a block of code in Markdown, whatever is in it."""
    return textwrap.indent("\n".join(text.splitlines()) or " ", "    ", lambda line: True)
