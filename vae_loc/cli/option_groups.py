"""Frozen dataclasses of options -> the flat signature that Typer reads."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

CommandT = TypeVar("CommandT", bound=Callable[..., None])


def with_groups(command: CommandT) -> CommandT:
    """Spread each option group of a command, a parameter typed as a dataclass, into one parameter for each field.

    The command is called with the groups; Typer sees the fields, in the order of the groups.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Talk:
    ...     quiet: bool = False
    >>> def greet(name: str, talk: Talk) -> None:
    ...     pass
    >>> greet.__annotations__ = {"name": str, "talk": Talk, "return": None}
    >>> print(inspect.signature(with_groups(greet)))
    (*, name: str, quiet: bool = False)
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _parameters(groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def flat(**given: Any) -> None:
        gathered = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **gathered)

    del flat.__wrapped__  # type: ignore[attr-defined,unused-ignore]  # else the command's own signature would count
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined,unused-ignore]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat  # type: ignore[return-value,unused-ignore]


def _parameters(group: type) -> list[inspect.Parameter]:
    """Return a parameter for each field of a group, with its default."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
