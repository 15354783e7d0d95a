"""The pages that a run leaves: summary.md, and report.html, which shows all of it and needs no other file.

The words stand in files of their own, in which what was found is filled in.
"""

import base64
import struct
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from experiments.common import catalogue
from experiments.common.workdir import CIRCUMSTANCES, Record


def filled(report: str, **found: Any) -> str:
    """The template ``summary.md`` beside a report, of which ``__file__`` is given, with these values."""
    return _template(Path(report).with_name("summary.md"), escape=False).render(**found)


def code(text: str) -> str:
    """As a block of code in Markdown, whatever is in it."""
    return textwrap.indent("\n".join(text.splitlines()) or " ", "    ", lambda line: True)


def html(words: str, figures: Sequence[Path], run: Record | None = None, records: Sequence[Record] = ()) -> str:
    """A page in one file: words, figures, and of a run its settings.

    Args:
        words: in Markdown, the title first.
        figures: PNG files.
        run: what config.json has.
        records: those of the run, of which it tells how many there are of each kind.
    """
    title, _, _ = words.lstrip("# ").partition("\n")
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").render(words)
    counts = Counter(str(record["kind"]) for record in records)
    return _template(Path(__file__).with_name("report.html"), escape=True).render(
        title=title,
        body=Markup(_scrollable(markdown)),
        figures=[_shown(figure) for figure in figures],
        run=run,
        settings=_settings(run) if run else [],
        circumstances=", ".join(f"{name} {run[name]}" for name in CIRCUMSTANCES if run.get(name)) if run else "",
        kinds=", ".join(f"{count} of kind {kind}" for kind, count in counts.items()),
    )


def _template(path: Path, *, escape: bool) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=escape,
    )
    return environment.get_template(path.name)


def _scrollable(markdown: str) -> str:
    """A wide table scrolls by itself, and not the page."""
    return markdown.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")


def _shown(figure: Path) -> Record:
    data = figure.read_bytes()
    width, height = struct.unpack(">II", data[16:24])  # of a PNG, behind its signature and the name of its first part
    name = figure.stem
    return {
        "name": name,
        "alt": name.replace("_", " "),
        "width": width,
        "height": height,
        "data": base64.b64encode(data).decode(),
    }


def _settings(run: Record) -> list[Record]:
    """Each field of the config with what its experiment says of it, in the order in which it says so."""
    words = str(run.get("command", "")).split()
    path = catalogue.config_path(words[2].partition(".")[2]) if len(words) > 2 else None
    comments = catalogue.field_comments(path.read_text(encoding="utf-8")) if path and path.exists() else {}
    fields = run["config"]
    order = [*[name for name in comments if name in fields], *[name for name in fields if name not in comments]]
    return [{"name": name, "value": fields[name], "comment": comments.get(name, "")} for name in order]
