"""What all pages have in common: their frame and style, tables, and pictures beside or inside of them."""

from __future__ import annotations

import base64
import html
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DISCLAIMER = "Research use only. Not a medical device."

STYLE = """
body { font: 11.25pt/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; color: #1b1f24; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.notice { color: #8a2d0b; font-weight: 600; } .line { font-size: 1.1rem; }
table { border-collapse: collapse; } th, td { padding: 4px 8px; border-bottom: 1px solid #d7dce1; text-align: right; }
th:first-child, td:first-child, .facts th, .facts td { text-align: left; } thead th { border-bottom: 2px solid #8c96a0; }
.good { background: #dff3e3; } .fair { background: #fff3cc; } .poor { background: #fadfd9; }
.reason { font-size: .8rem; max-width: 22rem; margin-left: auto; color: #57606a; }
figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #57606a; }
@media print { figure, tr { break-inside: avoid; } }
"""


def page(title: str, body: Sequence[str], style: str = "") -> str:
    """A page of HTML with its heading and what it is not for; `style` is added to that of all pages."""
    head = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{head}</title>'
        f"<style>{STYLE}{style}</style></head>\n<body>\n<h1>{head}</h1>\n"
        f'<p class="notice">{DISCLAIMER}</p>\n' + "\n".join(body) + "\n</body>\n</html>\n"
    )


def facts_html(facts: Mapping[str, str]) -> str:
    """A table of names and what is said of them."""
    lines = "".join(
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(str(said))}</td></tr>" for name, said in facts.items()
    )
    return f'<table class="facts" cellpadding="3">{lines}</table>'


def table_html(header: Sequence[str], lines: Sequence[Sequence[str]], *, of_words: bool = False) -> str:
    """A table of texts: of numbers, which stand to the right, or of words."""
    kind = ' class="facts"' if of_words else ""
    head = "".join(f"<th>{html.escape(h)}</th>" for h in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in line) + "</tr>" for line in lines)
    return f'<table{kind} cellpadding="3"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def image_html(source: str, width: int, text: str) -> str:
    """A picture of the page, `width` px wide, by its address, and what it shows for those who cannot see it."""
    return f'<img src="{source}" width="{width}" alt="{html.escape(text)}">'


def address_inside(picture: bytes) -> str:
    """The address of a JPEG that is inside of the page itself."""
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode('ascii')}"


def figure_html(picture: str, caption: str) -> str:
    """A picture of the page, whose path is relative to the page's folder, with its caption."""
    from urllib.parse import quote

    source = html.escape(quote(Path(picture).as_posix()))
    text = html.escape(caption)
    return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def finite(value: Any) -> Any:
    """The same with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
