"""Turns the equations of docstrings, written in plain characters, into HTML that looks as in a book.

    h_t = tanh(x_t W + h_{t-1} U + b)        a remark

``*`` multiplies element by element, two symbols side by side are a matrix product. Plain HTML looks the same in every
browser; MathML needs a font that many systems lack, and without it leaves subscripts on the line.
"""

import html
import re
import textwrap

WORDS = {
    *("tanh", "sigmoid", "softmax", "softplus", "relu", "exp", "log", "ln", "max", "min", "sign", "sqrt"),
    *("mean", "var", "Re", "mod", "dt", "dh", "step", "depth"),
}
"""Names of more than one letter, which are set upright."""

SIGNS = {
    **{"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "eta": "η", "theta": "θ", "lambda": "λ"},
    **{"mu": "μ", "nu": "ν", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω"},
    **{"*": "⊙", "-": "−", "...": "…", ">=": "≥", "<=": "≤", "||": "‖", "->": "→", "'": "′"},
}
SUM = re.compile(r"sum over (?:modules )?(\w) (?:= (\w+), \.\.\., (.+?)|with (.+?)) of ")
TOKEN = re.compile(r"[_^]\{|\.\.\.|>=|<=|->|\|\||[A-Za-z]+|\d+(?:\.\d+)?(?:e-?\d+)?|\s+|.")
STAR = re.compile(r"(?<=\w)\*")  # part of a name, as in y*; the sign of a product has spaces around it
SMALL = re.compile(r"[_^](-?[A-Za-z0-9]+)")
REMARK = re.compile(r"(?<![\s(]) {3,}(?=\S)")


def rendered(block: str) -> str | None:
    """A table of equations and remarks; None if a line is code or text instead of an equation."""
    rows = []
    for line in filter(str.strip, textwrap.dedent(block).splitlines()):
        equation, remark = (*REMARK.split(line.strip(), maxsplit=1), "")[:2]
        if equation.endswith(":") and "(" not in equation:
            rows.append(f'<tr><td colspan="2">{html.escape(equation)}</td></tr>')
            continue
        shown = written(equation)
        if shown is None or "=" not in equation:
            return None
        rows.append(f"<tr><td>{shown}</td><td>{_remark(remark)}</td></tr>")
    return f'<table class="equations">{"".join(rows)}</table>'


def written(equation: str) -> str | None:
    """An equation in HTML; None if it contains a word that is not in ``WORDS``."""
    equation = STAR.sub("^{∗}", SUM.sub(_sum, equation))
    equation = SMALL.sub(lambda found: f"{found.group()[0]}{{{found[1]}}}", equation)
    parts: list[str] = []
    open_tags: list[str] = []
    for token in TOKEN.findall(equation):
        if token in ("_{", "^{"):
            open_tags.append("sub" if token == "_{" else "sup")
            parts.append(f"<{open_tags[-1]}>")
        elif token == "}" and open_tags:
            parts.append(f"</{open_tags.pop()}>")
        elif token.isspace():
            parts.append(" ")
        elif token in SIGNS:
            parts.append(SIGNS[token])
        elif token in WORDS or not token.isalpha():
            parts.append(html.escape(token))
        elif len(token) == 1 or open_tags:
            parts.append(f"<i>{token}</i>")
        else:
            return None
    return "".join(parts)


def _sum(found: re.Match[str]) -> str:
    """The words 'sum over l = 0, ..., L - 1 of' as a sum sign with its limits."""
    index, first, last, condition = found.groups()
    return f"∑_{{{index}: {condition}}} " if condition else f"∑_{{{index} = {first}}}^{{{last}}} "


def _remark(text: str) -> str:
    """A remark in words; if it begins with an equation, that is set as one up to the first comma or colon."""
    begins = re.match(r"\S{1,4} = [^,:]+", text)
    shown = written(begins.group()) if begins else None
    return html.escape(text) if begins is None or shown is None else shown + html.escape(text[begins.end() :])
