"""What stands on one side for an object or an exception of the other."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeGuard


class Opaque:
    """An object of the other side: nothing but a thing to hand back. Whatever else is done with it is refused."""

    __slots__ = ("_name", "_refuse")
    _name: str
    _refuse: Callable[[str], NoReturn]

    def __init__(self, name: str, refuse: Callable[[str], NoReturn]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_refuse", refuse)

    def __repr__(self) -> str:
        return f"<{self._name}>"

    def _no(self, *_: object) -> Any:
        self._refuse(
            f"it gave a value of type {self._name}, which cannot be compared outside of its program: "
            "functions, exceptions and plain data can"
        )

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _no
    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __getattr__ = __setattr__ = _no
    __hash__ = object.__hash__


Lineage = tuple[tuple[tuple[str, str], ...], str]
"""The classes of an exception, each as module and name, as far as a built-in one; and that one's name."""


def lineage(kind: type[BaseException]) -> Lineage:
    """What tells an exception's class to the other side."""
    own: list[tuple[str, str]] = []
    for ancestor in kind.__mro__:
        if is_built_in(ancestor):
            return tuple(own), ancestor.__name__
        own.append((ancestor.__module__, ancestor.__name__))
    return (), "Exception"


def is_built_in(kind: type) -> bool:
    """Whether it is one of Python's built-in types, which are the same on both sides."""
    return vars(builtins).get(kind.__name__) is kind


class Exceptions:
    """The classes here of the other side's exceptions; the same one for the same lineage."""

    def __init__(self) -> None:
        self._made: dict[Lineage, type[BaseException]] = {}

    def kind(self, own: Any, base: Any) -> type[BaseException]:
        """A built-in exception; one of a standard module that is loaded here; or a class of that name and lineage.

        Raises:
            ValueError, TypeError: these are no lineage.
        """
        if not own:
            found = getattr(builtins, base, None)
            if not _is_exception(found):
                raise ValueError("no exception")
            return found
        if (own, base) not in self._made:
            (module, name), *ancestors = own
            standard = str(module).partition(".")[0] in sys.stdlib_module_names
            found = getattr(sys.modules.get(str(module)), name, None) if standard else None
            self._made[own, base] = (
                found if _is_exception(found) else type(name, (self.kind(tuple(ancestors), base),), {})
            )
        return self._made[own, base]

    def exception(self, own: Any, base: Any, arguments: Any) -> BaseException:
        """An exception of that class with these arguments.

        Raises:
            ValueError, TypeError: these are no lineage, or no arguments.
        """
        kind = self.kind(own, base)
        try:
            return kind(*arguments)
        except Exception:  # noqa: BLE001 what it holds as its arguments need not be what it is made of
            return kind.__new__(kind, *arguments)


def _is_exception(found: object) -> TypeGuard[type[BaseException]]:
    return isinstance(found, type) and issubclass(found, BaseException)
