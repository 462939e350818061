"""Option groups are spread into the flat signature that typer reads, and gathered again when the command runs."""

import inspect
from dataclasses import FrozenInstanceError, dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from vae_loc.cli.app import app as vae_loc
from vae_loc.cli.option_groups import PANELS, with_groups

Loud = Annotated[bool, typer.Option("--loud", help="Say it loudly.")]


@dataclass(frozen=True)
class Speech:
    """How something is said."""

    words: Annotated[str, typer.Option(help="What is said.")]
    loud: Loud = False
    times: Annotated[int, typer.Option(min=1)] = 2

    def said(self):
        return " ".join([self.words.upper() if self.loud else self.words] * self.times)


@dataclass(frozen=True)
class Place:
    """Where it is said."""

    city: str = "Ulm"


@pytest.fixture
def calls():
    return []


@pytest.fixture
def command(calls):
    def speak(name: Annotated[str, typer.Argument()], speech: Speech, place: Place, quiet: bool = False) -> None:
        """Speak to somebody."""
        calls.append((name, speech, place, quiet))

    return with_groups(speak)


def test_each_field_of_a_group_is_a_parameter_in_the_group_s_place(command):
    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["name", "words", "loud", "times", "city", "quiet"]
    assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_defaults_are_those_of_the_fields_and_a_field_without_one_is_required(command):
    empty = inspect.Parameter.empty
    defaults = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    assert defaults == {"name": empty, "words": empty, "loud": False, "times": 2, "city": "Ulm", "quiet": False}


def test_annotations_keep_what_typer_reads(command):
    parameters = inspect.signature(command).parameters
    assert parameters["loud"].annotation == Loud
    assert parameters["city"].annotation is str
    assert command.__annotations__ == {name: parameter.annotation for name, parameter in parameters.items()}


def test_name_and_help_are_the_command_s(command):
    assert (command.__name__, command.__doc__) == ("speak", "Speak to somebody.")


def test_the_command_receives_the_groups(command, calls):
    command(name="Ann", words="hello", loud=True, times=1, city="Bonn", quiet=True)
    assert calls == [("Ann", Speech("hello", loud=True, times=1), Place("Bonn"), True)]


def test_the_groups_stay_frozen(command, calls):
    command(name="Ann", words="hello", loud=False, times=1, city="Bonn", quiet=False)
    with pytest.raises(FrozenInstanceError):
        calls[0][1].words = "changed"


@pytest.fixture
def app(command):
    app = typer.Typer()
    app.command()(command)
    return app


def test_typer_parses_the_fields(app, calls):
    assert CliRunner().invoke(app, ["Ann", "--words", "hi", "--loud", "--city", "Bonn"]).exit_code == 0
    ((name, speech, place, quiet),) = calls
    assert (name, speech.said(), place.city, quiet) == ("Ann", "HI HI", "Bonn", False)


@pytest.mark.parametrize("arguments", [["Ann"], ["--words", "hi"], ["Ann", "--words", "hi", "--times", "0"]])
def test_typer_refuses_what_is_missing_or_out_of_range(app, calls, arguments):
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert not calls


def test_a_command_without_groups_keeps_its_parameters():
    def plain(number: int, flag: bool = True) -> None: ...

    assert str(inspect.signature(with_groups(plain))) == "(*, number: int, flag: bool = True)"


def test_a_signature_of_strings_is_understood():
    """Modules with `from __future__ import annotations` have their annotations as strings."""

    def speak(place: "Place", count: "int" = 1) -> None: ...

    parameters = inspect.signature(with_groups(speak)).parameters
    assert list(parameters) == ["city", "count"]
    assert parameters["count"].annotation is int


def test_every_option_of_segment_is_in_a_panel_and_its_help_fits(monkeypatch):
    """Before there were panels it had 132 lines of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    command = typer.main.get_command(vae_loc).commands["segment"]
    outside = {of.name for of in command.params if of.param_type_name == "option" and of.rich_help_panel is None}
    assert outside == set()
    said = CliRunner().invoke(vae_loc, ["segment", "--help"]).output
    titles = [line.split()[1] for line in said.splitlines() if line.startswith("╭")]
    assert titles == ["Arguments", "Options", *PANELS]
    assert len(said.splitlines()) <= 95


def test_a_panel_of_one_command_leaves_the_option_of_others_alone():
    command = typer.main.get_command(vae_loc).commands["evaluate"]
    assert {of.rich_help_panel for of in command.params if of.param_type_name == "option"} == {None}
