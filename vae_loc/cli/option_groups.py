"""Frozen dataclasses of options -> the flat signature that Typer reads."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

PANELS = {
    "Result": ("method", "contrast", "model", "polarity", "raw", "force"),
    "Mask": ("false_findings", "threshold", "fpr", "min_size"),
    "Files": ("output", "report", "percentile", "dicom_seg", "brain_mask", "volume", "series"),
    "Cohort": ("persons", "jobs", "skip_existing", "shard", "scheduler"),
    "Machine": ("device", "threads", "quiet", "as_json", "log_json"),
}  # of --help, in this order; what is in none stands first
CommandT = TypeVar("CommandT", bound=Callable[..., None])


def with_groups(command: CommandT) -> CommandT:
    """Spread each option group of a command, a parameter typed as a dataclass, into one parameter for each field.

    The command is called with the groups; Typer sees the fields, each in its panel of `PANELS`.

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

    parameters = sorted((_in_panel(parameter) for parameter in parameters), key=_rank)
    del flat.__wrapped__  # type: ignore[attr-defined,unused-ignore]  # else the command's own signature would count
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined,unused-ignore]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat  # type: ignore[return-value,unused-ignore]


def _in_panel(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter that --help shows in its panel; the option that other commands share stays as it is."""
    from typer.models import OptionInfo

    panel = next((panel for panel, names in PANELS.items() if parameter.name in names), None)
    kind, *extras = get_args(parameter.annotation) or (parameter.annotation,)
    if panel is None or not any(isinstance(extra, OptionInfo) for extra in extras):
        return parameter
    shown = [copy.copy(extra) for extra in extras]
    for extra in shown:
        if isinstance(extra, OptionInfo):
            extra.rich_help_panel = panel
            extra.metavar = "" if kind is bool else extra.metavar
    return parameter.replace(annotation=Annotated[(kind, *shown)])


def _rank(parameter: inspect.Parameter) -> tuple[int, int]:
    """Return what parameters are ordered by: their panel, and their rank in it."""
    for number, names in enumerate(PANELS.values()):
        if parameter.name in names:
            return number, names.index(parameter.name)
    return -1, 0


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
