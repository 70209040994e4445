"""A little of Markdown as HTML: headings, paragraphs, lists, tables, bold and code. All else, markup included, stays text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

HEADING = re.compile(r"(#{1,6})\s+(.*)")
ITEM = re.compile(r"\s*(?:[-*]|\d+\.)\s+(.*)")
RULE = re.compile(r"\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
STRONG = re.compile(r"(\*\*.+?\*\*|`[^`]+`)")


def prose(text: str) -> Markup:
    """Markdown as HTML for inside a section, whose headings are the fifth level; links become their words."""
    return Markup("\n").join(_blocks(text))


def _blocks(text: str) -> Iterator[Markup]:
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        lines = [line for line in block.split("\n") if line.strip()]
        while lines and (heading := HEADING.fullmatch(lines[0].strip())):
            yield Markup("<h5>{}</h5>").format(_inline(heading[2]))
            lines = lines[1:]
        if not lines:
            continue
        if len(lines) > 1 and RULE.fullmatch(lines[1].strip()) and "|" in lines[0]:
            yield _table(lines)
        elif ITEM.fullmatch(lines[0]):
            yield _list(lines)
        else:
            yield Markup("<p>{}</p>").format(_inline(" ".join(lines)))


def _list(lines: list[str]) -> Markup:
    items: list[str] = []
    for line in lines:
        if item := ITEM.fullmatch(line):
            items.append(item[1])
        else:
            items[-1] += " " + line.strip()
    return Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(_inline(item)) for item in items))


def _table(lines: list[str]) -> Markup:
    head, *rows = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in (lines[0], *lines[2:]))
    columns = Markup("").join(Markup('<th scope="col">{}</th>').format(_inline(cell)) for cell in head)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(_inline(cell)) for cell in row))
        for row in rows
    )
    frame = Markup('<div class="scroll" tabindex="0" role="region" aria-label="Table">{}</div>')
    return frame.format(Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(columns, body))


def _inline(text: str) -> Markup:
    parts = []
    for part in STRONG.split(LINK.sub(r"\1", " ".join(text.split()))):
        if part.startswith("**") and len(part) > 4:
            parts.append(Markup("<b>{}</b>").format(part[2:-2]))
        elif part.startswith("`") and len(part) > 2:
            parts.append(Markup("<code>{}</code>").format(part[1:-1]))
        else:
            parts.append(escape(part))
    return Markup("").join(parts)
