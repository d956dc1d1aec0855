"""A report as a single HTML file that prints on one or two pages of A4."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path

from app import units
from app.offline.page import offline_page
from app.reports.charts import chart_svg
from app.reports.report import Attachment, Chart, Flip, Report, Section, Table
from engine.untrusted import valid_text

_STYLE = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
_PRINTED_FLIPS = 3
_OPEN_FLIPS = 12
"""That the screen shows at once; the others are folded away."""


def report_html(report: Report) -> str:
    """The page, without a script; every text of the report stands in it as it is written."""
    verdict = f"<strong>{_text(report.answer)}.</strong> {_text(report.verdict)}"
    parts = [
        f"<header><p class='soft'>{_text(report.title)}</p><h1>{_text(report.question)}</h1>",
        f"<p class='verdict {report.tone}'>{verdict}</p></header>",
        *(_section(section) for section in report.sections),
        _flips(report),
        _environment(report),
    ]
    body = f"<main class='report'>{''.join(parts)}</main>"
    return offline_page(f"{report.title}: {report.question}", body, style=_STYLE)


def _section(section: Section) -> str:
    text = f"<p>{_text(section.text)}</p>" if section.text else ""
    charts = "".join(map(_chart, section.charts))
    return (
        f"<section><h2>{_text(section.title)}</h2>{text}"
        f"{f'<div class=charts>{charts}</div>' if charts else ''}{''.join(map(_table, section.tables))}</section>"
    )


def _chart(chart: Chart) -> str:
    return f"<figure><figcaption>{_text(chart.title)}</figcaption>{chart_svg(chart)}{_note(chart.note)}</figure>"


def _table(table: Table) -> str:
    caption = f"<caption>{_text(table.title)}</caption>" if table.title else ""
    head = "".join(f"<th scope='col'>{_text(header)}</th>" for header in table.headers)
    rows = "".join(_row(row) for row in table.rows)
    return (
        f"<div class='wide'><table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"{_note(table.note)}"
    )


def _row(row: Iterable[str]) -> str:
    first, *others = row
    return f"<tr><th scope='row'>{_text(first)}</th>{''.join(f'<td>{_text(cell)}</td>' for cell in others)}</tr>"


def _note(note: str) -> str:
    return f"<p class='soft'>{_text(note)}</p>" if note else ""


def _flips(report: Report) -> str:
    if not report.flips:
        return ""
    gained = sum(flip.gained for flip in report.flips)
    said = (
        f"{gained:,} right with {report.candidate} alone, {len(report.flips) - gained:,} with {report.baseline} alone."
    )
    left = len(report.flips) - _PRINTED_FLIPS
    more = f"<p class='soft printed'>{units.counted(left, 'more flip')} in the file itself.</p>" if left > 0 else ""
    flips = [_flip(flip, report, printed=place < _PRINTED_FLIPS) for place, flip in enumerate(report.flips)]
    shown, folded = "".join(flips[:_OPEN_FLIPS]), "".join(flips[_OPEN_FLIPS:])
    if folded:
        count = units.counted(len(flips) - _OPEN_FLIPS, "more flip")
        folded = f"<details class='screen'><summary>{count}</summary>{folded}</details>"
    return f"<section><h2>Answers that flip</h2><p>{_text(said)}</p>{shown}{folded}{more}</section>"


def _flip(flip: Flip, report: Report, *, printed: bool) -> str:
    baseline = _answer(report.baseline, flip.baseline, right=not flip.gained)
    candidate = _answer(report.candidate, flip.candidate, right=flip.gained)
    return (
        f"<article class='flip{'' if printed else ' screen'}'><p class='words prompt'>{_text(flip.prompt)}</p>"
        f"<div class='pair'>{baseline}{candidate}</div></article>"
    )


def _answer(name: str, text: str, *, right: bool) -> str:
    mark = "<span class='good'>✓ right</span>" if right else "<span class='bad'>✗ wrong</span>"
    return f"<div><h3>{_text(name)} {mark}</h3><p class='words'>{_text(text) or '(no text)'}</p></div>"


def _environment(report: Report) -> str:
    pairs = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in report.environment)
    facts = f"<dl>{pairs}</dl>" if pairs else ""
    command = f"<h2>How to make it again</h2><pre>{_text(report.reproduce)}</pre>" if report.reproduce else ""
    command += "".join(map(_attachment, report.attachments))
    made = f"<p class='soft'>Made by Gearbox, {units.moment(report.made_at)} UTC.</p>"
    return f"<section class='origin'><h2>What the figures hold for</h2>{facts}{command}{made}</section>"


def _attachment(attachment: Attachment) -> str:
    data = base64.b64encode(valid_text(attachment.text).encode()).decode()
    return (
        f"<p class='soft file'><a download='{_text(attachment.name)}' href='data:text/plain;base64,{data}'>"
        f"{_text(attachment.name)}</a></p>"
        f"{f'<pre class=file>{_text(attachment.text)}</pre>' if attachment.written else ''}"
    )


def _text(text: str) -> str:
    return escape(valid_text(text))
