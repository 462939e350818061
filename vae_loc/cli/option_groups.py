"""Frozen dataclasses of options -> the flat signature that Typer reads."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

PANELS = {
    "Result": ("method", "contrast", "model", "polarity", "raw", "force"),
    "Mask": ("false_findings", "threshold", "fpr", "min_size"),
    "Files": ("output", "report", "percentile", "template_space", "dicom_seg", "brain_mask", "volume", "series"),
    "Cohort": ("no_persons", "jobs", "skip_existing", "shard", "scheduler"),
    "Machine": ("device", "threads", "quiet", "as_json", "log_json"),
}  # of --help, in this order; a parameter of no panel stands first
ORDER = [name for names in PANELS.values() for name in names]
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
    own = _parameters(command)
    groups = {of.name: of.annotation for of in own if isinstance(of.annotation, type) and is_dataclass(of.annotation)}
    spread = [_parameters(groups[of.name]) if of.name in groups else [of] for of in own]
    parameters = sorted(
        (_in_panel(parameter) for some in spread for parameter in some),
        key=lambda of: ORDER.index(of.name) if of.name in ORDER else -1,
    )

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


def _parameters(source: Callable[..., object]) -> list[inspect.Parameter]:
    """Return the parameters of a command, or the fields of a group, with types in place of their names."""
    hints = get_type_hints(source, include_extras=True)
    return [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(source).parameters.items()
    ]


def _in_panel(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter that --help shows in its panel; the option that other commands share stays as it is."""
    from typer.models import OptionInfo

    panel = next((panel for panel, names in PANELS.items() if parameter.name in names), None)
    kind, *extras = get_args(parameter.annotation) or (parameter.annotation,)
    if panel is None or not any(isinstance(extra, OptionInfo) for extra in extras):
        return parameter
    shown = [copy.copy(extra) for extra in extras]
    for extra in shown:
        extra.rich_help_panel = panel
        extra.metavar = "" if kind is bool else extra.metavar
    return parameter.replace(annotation=Annotated[(kind, *shown)])
