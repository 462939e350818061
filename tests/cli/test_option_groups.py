"""Option groups are spread into the options that typer reads, and gathered again when the command runs."""

from dataclasses import FrozenInstanceError, dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from vae_loc.cli.app import app as vae_loc
from vae_loc.cli.option_groups import PANELS, with_groups


@dataclass(frozen=True)
class Speech:
    """How something is said."""

    words: Annotated[str, typer.Option(help="What is said.")]
    loud: Annotated[bool, typer.Option("--loud", help="Say it loudly.")] = False
    times: Annotated[int, typer.Option(min=1)] = 2


@dataclass(frozen=True)
class Place:
    """Where it is said."""

    city: str = "Ulm"


@pytest.fixture
def calls():
    return []


@pytest.fixture
def app(calls):
    def speak(name: Annotated[str, typer.Argument()], speech: "Speech", place: Place, quiet: bool = False) -> None:
        """Speak to somebody."""
        calls.append((name, speech, place, quiet))

    app = typer.Typer()
    app.command()(with_groups(speak))
    return app


def test_the_command_receives_its_groups_and_they_stay_frozen(app, calls):
    assert CliRunner().invoke(app, ["Ann", "--words", "hi", "--loud", "--city", "Bonn", "--quiet"]).exit_code == 0
    assert calls == [("Ann", Speech("hi", loud=True, times=2), Place("Bonn"), True)]
    with pytest.raises(FrozenInstanceError):
        calls[0][1].words = "changed"


def test_defaults_are_those_of_the_fields(app, calls):
    assert CliRunner().invoke(app, ["Ann", "--words", "hi"]).exit_code == 0
    assert calls == [("Ann", Speech("hi"), Place(), False)]


@pytest.mark.parametrize("arguments", [["Ann"], ["--words", "hi"], ["Ann", "--words", "hi", "--times", "0"]])
def test_what_is_missing_or_out_of_range_is_refused(app, calls, arguments):
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert not calls


def test_the_help_is_the_command_s_with_the_fields_in_their_order(app):
    said = CliRunner().invoke(app, ["--help"]).output
    assert "Speak to somebody." in said
    places = [said.index(name) for name in ("--words", "--loud", "--times", "--city", "--quiet")]
    assert places[:4] == sorted(places[:4])


def test_every_option_of_segment_is_in_a_panel_and_its_help_fits(monkeypatch):
    """It is read on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    command = typer.main.get_command(vae_loc).commands["segment"]
    outside = {of.name for of in command.params if of.param_type_name == "option" and of.rich_help_panel is None}
    assert outside == set()
    said = CliRunner().invoke(vae_loc, ["segment", "--help"]).output
    titles = [line.split()[1] for line in said.splitlines() if line.startswith("╭")]
    assert titles == ["Arguments", "Options", *PANELS]
    assert len(said.splitlines()) <= 90
    assert "Default: 0.1" in " ".join(said.replace("│", " ").split())


def test_a_panel_of_one_command_leaves_the_option_of_others_alone():
    command = typer.main.get_command(vae_loc).commands["evaluate"]
    assert {of.rich_help_panel for of in command.params if of.param_type_name == "option"} == {None}
