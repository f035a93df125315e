"""HTML parts of the reports; a page is one file and opens offline."""

import html
from collections.abc import Iterable, Sequence

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.lead { color: #59636e; margin-top: 0; }
.note { background: #fff8e1; border-left: 4px solid #d9a300; padding: .6rem 1rem; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.card { border: 1px solid #d1d9e0; border-radius: 8px; padding: .7rem 1rem; min-width: 12rem; }
.card b { display: block; font-size: 1.6rem; } .card small { color: #59636e; display: block; }
table { border-collapse: collapse; } th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #e4e8ec;
  text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: .8rem; }
figure { margin: 0; } figure img { width: 100%; display: block; border-radius: 4px; background: #000; }
figcaption { font-size: .8rem; color: #59636e; overflow-wrap: anywhere; }
img.plot { max-width: 100%; } pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; font-size: .82rem; }
.true { color: #2ea043; font-weight: 600; } .predicted { color: #d9661f; font-weight: 600; }
"""


def page(title: str, lead: str, sections: Iterable[str], reload_seconds: int = 0) -> str:
    """Build an HTML document.

    Args:
        sections: HTML.
        reload_seconds: after which a browser reads the page again; 0: never.
    """
    reload = f'<meta http-equiv="refresh" content="{reload_seconds}">' if reload_seconds else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{reload}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>\n' + "\n".join(sections) + "</body></html>\n"
    )


def escape(value: object) -> str:
    return html.escape(str(value))


def section(title: str, *parts: str) -> str:
    return f"<h2>{escape(title)}</h2>" + "".join(parts)


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def cards(values: Iterable[tuple[str, str, str]]) -> str:
    """Show each (name, value, small print) as a card."""
    boxes = (
        f'<div class="card">{escape(name)}<b>{escape(value)}</b><small>{escape(small)}</small></div>'
        for name, value, small in values
    )
    return f'<div class="cards">{"".join(boxes)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Build a table; all columns but the first are right-aligned."""
    classes = ["" if column == 0 else ' class="number"' for column in range(len(header))]
    head = "".join(f"<th{css}>{escape(name)}</th>" for name, css in zip(header, classes))
    body = "".join(
        "<tr>" + "".join(f"<td{css}>{escape(value)}</td>" for value, css in zip(row, classes)) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def plot(uri: str, description: str) -> str:
    return f'<img class="plot" alt="{escape(description)}" src="{uri}">'


def picture_grid(pictures: Iterable[tuple[str, str]]) -> str:
    """Show each (data URI, caption) as a figure."""
    figures = (
        f'<figure><img alt="{escape(caption)}" src="{uri}"><figcaption>{escape(caption)}</figcaption></figure>'
        for uri, caption in pictures
    )
    return f'<div class="grid">{"".join(figures)}</div>'


def code(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"
