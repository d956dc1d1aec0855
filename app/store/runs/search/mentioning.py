"""Whether a run's note or texts have a text in them, in SQL."""

from __future__ import annotations

from sqlalchemy import ColumnElement, literal_column, or_, select, union_all

from app.store.runs.schema import Run, RunContent
from app.store.runs.search.needles import match_query
from app.store.runs.search.sqlite import may_mention

_TEXTS = (RunContent.prompt, RunContent.text, RunContent.error)


def mentions(needle: str, *, narrowed: bool) -> ColumnElement[bool]:
    """That the needle stands anywhere in a run's note, prompt, answer or error, ASCII letters in either case.

    Args:
        needle: what is looked for, not blank.
        narrowed: whether the index is asked first. Otherwise the runs are read one by one, in the order of the list:
            for what many have in them, that is sooner.
    """
    in_note = Run.note.icontains(needle, autoescape=True)
    in_texts = or_(*(column.icontains(needle, autoescape=True) for column in _TEXTS))
    if not narrowed:
        # a value of each row, not EXISTS, for which PostgreSQL would read all texts first
        return or_(in_note, select(in_texts).where(RunContent.run_id == Run.id).scalar_subquery())
    # written out, so that the index of the runs with a note is used
    noted = select(Run.id).where(Run.note != literal_column("''"), in_note)
    found = select(RunContent.run_id).where(may_mention(match_query(needle)), in_texts)
    return Run.id.in_(union_all(noted, found))
