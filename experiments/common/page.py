"""The pages that a run leaves: summary.md, and report.html, which shows all of it and needs no other file.

Their words are in template files, which are filled in with what was found.
"""

import base64
import json
import re
import struct
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from experiments.common import catalogue, charts, vega_lite
from experiments.common.charts import Chart
from experiments.common.record_fields import explained
from experiments.common.workdir import Record

VERSIONS = {"rnnjax": "rnnjax", "git revision": "git_revision", "jax": "jax", "python": "python"}
"""The versions that a page shows, each with its key in config.json."""


def filled(report: str, **found: Any) -> str:
    """The template ``summary.md`` beside a report, whose ``__file__`` is given, filled in with these values."""
    return _template(Path(report).with_name("summary.md"), escape=False).render(**found)


def code(text: str) -> str:
    """Any text as a block of code in Markdown."""
    return textwrap.indent("\n".join(text.splitlines()) or " ", "    ", lambda line: True)


def of_run(words: str, figures: Sequence[Path], run: Record, records: Sequence[Record]) -> str:
    """The page of a run in one file.

    Args:
        words: the summary in Markdown, which begins with the title.
        figures: PNG files.
        run: the content of config.json.
        records: the records of the run.
    """
    experiment = _experiment(run)
    return html(
        words,
        figures,
        charts.of_records(records),
        run=run,
        facts=_facts(run, records),
        settings=_settings(run, experiment),
        fields=explained(records, experiment),
    )


def html(words: str, figures: Sequence[Path], charts: Sequence[Chart], **about: Any) -> str:
    """A page in one file, from words in Markdown that begin with the title, PNG files, charts, and other values."""
    title, _, _ = words.lstrip("# ").partition("\n")
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").render(words)
    return _template(Path(__file__).with_name("report.html"), escape=True).render(
        title=title,
        body=Markup(_scrollable(markdown)),
        figures=[_shown(figure) for figure in figures],
        charts=[chart._asdict() | {"spec": _for_script(_as_json(chart.spec))} for chart in charts],
        library=_for_script(vega_lite.library()) if charts else "",
        **about,
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
    """Lets a wide table scroll by itself, so that the page does not."""
    return markdown.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")


def _shown(figure: Path) -> Record:
    data = figure.read_bytes()
    width, height = struct.unpack(">II", data[16:24])  # in a PNG, after its signature and the name of its first chunk
    name = figure.stem
    return {
        "name": name,
        "alt": name.replace("_", " "),
        "width": width,
        "height": height,
        "data": base64.b64encode(data).decode(),
    }


def _as_json(spec: Record) -> str:
    return json.dumps(spec, allow_nan=False, separators=(",", ":"))


def _for_script(text: str) -> Markup:
    """A text to stand between the tags of a script, escaped so that nothing in it ends the script."""
    return Markup(re.sub("<(?=/script|!--)", r"\\u003c", text, flags=re.IGNORECASE))


def _experiment(run: Record) -> str:
    """The name of the experiment that was run; empty if the command is not known."""
    words = str(run.get("command", "")).split()
    return words[2].partition(".")[2] if len(words) > 2 else ""


def _facts(run: Record, records: Sequence[Record]) -> dict[str, str]:
    """The run time, seeds, versions and machine of a run, as far as they are known."""
    seeds = sorted({record["seed"] for record in records if "seed" in record})
    versions = [f"{name} {run[key]}" for name, key in VERSIONS.items() if run.get(key)]
    machine = [run.get("machine"), f"{run['cores']} cores" if run.get("cores") else None, *run.get("devices", ())]
    facts = {
        "run time": _duration(run["seconds"]) if run.get("seconds") else "",
        "seeds": ", ".join(map(str, seeds)),
        "versions": ", ".join(versions),
        "machine": ", ".join(filter(None, machine)),
    }
    return {name: told for name, told in facts.items() if told}


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _settings(run: Record, experiment: str) -> list[Record]:
    """Each field of the config with its value and its comment, in the order of the experiment's config file."""
    path = catalogue.config_path(experiment)
    comments = catalogue.field_comments(path.read_text(encoding="utf-8")) if experiment and path.exists() else {}
    fields = run["config"]
    order = [*[name for name in comments if name in fields], *[name for name in fields if name not in comments]]
    return [{"name": name, "value": fields[name], "comment": comments.get(name, "")} for name in order]
