"""The error tree: exit codes that scheduled jobs act on, and texts that survive a journey."""

import pickle

import pytest

from ordain import errors
from ordain.errors import ExitCode, OrdainError

CODES = {
    "OrdainError": 1,
    "NodeFailedError": 1,
    "ConfigError": 2,
    "DataBlockedError": 3,
    "NotBlessedError": 4,
    "InfrastructureError": 5,
}


def kinds() -> dict[str, type[OrdainError]]:
    found = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    return {n: v for n, v in found.items() if issubclass(v, OrdainError)}


def test_every_error_has_its_documented_exit_code():
    assert {name: int(kind.exit_code) for name, kind in kinds().items()} == CODES


def test_the_docstring_draws_the_whole_tree():
    for name, code in CODES.items():
        line = next(line for line in errors.__doc__.splitlines() if name in line)
        assert name == "OrdainError" or f" {code} " in line


def test_exit_codes_are_the_published_numbers():
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5]


def test_text_without_a_hint_is_the_message():
    assert str(OrdainError("disk is full")) == "disk is full"


def test_text_holds_message_and_hint_as_a_traceback_shows_them():
    error = errors.ConfigError("bad key", "correct it")
    assert str(error) == "bad key\n  next: correct it"
    message, mark, hint = str(error).partition(errors.HINT_MARK)
    assert (message, hint) == (error.message, error.hint)
    assert mark


@pytest.mark.parametrize("kind", kinds().values())
def test_an_error_made_anew_from_its_arguments_keeps_everything(kind):
    """Beam and pickle both rebuild an exception as `type(error)(*error.args)`."""
    error = kind("what", "next")
    for copy in (kind(*error.args), pickle.loads(pickle.dumps(error))):
        assert type(copy) is kind
        assert (copy.message, copy.hint, str(copy)) == ("what", "next", str(error))
