"""Keys from variables and from a file of one's own."""

from __future__ import annotations

import os
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.errors import BadInput
from skep.keys import keys_of, variable_names

CANARY = "sk-canary-4f9d1c77"


def shown(keys):
    return [(key.label, key.secret.reveal()) for key in keys]


def keys_file(folder, text, mode=0o600):
    file = folder / "keys.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_variables_are_read_in_the_order_of_their_numbers():
    env = {"KEY_10": "j", "KEY_2": "b", "KEY": "a", "KEY_99": "z", "KEY_100": "no", "KEY_0": "no", "KEYS": "no"}
    assert shown(keys_of("sim", "KEY", "", env)) == [
        ("sim-1", "a"),
        ("sim-2", "b"),
        ("sim-3", "j"),
        ("sim-4", "z"),
    ]


def test_blanks_empties_and_second_copies_are_dropped_and_the_labels_have_no_gap():
    env = {"KEY": "  ", "KEY_1": " a\n", "KEY_2": "", "KEY_3": "a", "KEY_4": "\tb"}
    assert shown(keys_of("simulator", "KEY", "sim", env)) == [("sim-1", "a"), ("sim-2", "b")]


def test_keys_differ_in_their_fingerprints():
    keys = keys_of("sim", "KEY", "", {"KEY": "a", "KEY_1": "b"})
    assert len({key.fingerprint for key in keys}) == 2
    assert all(len(key.fingerprint) == 8 for key in keys)


def test_a_provider_without_keys_has_one_key_without_a_secret():
    (only,) = keys_of("ollama", "", "", {"": "x", "_1": "y"})
    assert (only.label, only.secret) == ("ollama", None)


def test_no_key_at_all_names_the_variables():
    with pytest.raises(BadInput) as error:
        keys_of("openai", "OPENAI_API_KEY", "", {"OPENAI_API_KEY": " "})
    assert "OPENAI_API_KEY_1 … OPENAI_API_KEY_99" in str(error.value)
    assert "openai" in error.value.what
    assert "OPENAI_API_KEY" in error.value.mend


def test_no_key_in_the_file_either_names_the_file(tmp_path):
    file = keys_file(tmp_path, '[other]\nkeys = ["a"]\n')
    with pytest.raises(BadInput, match=str(file)):
        keys_of("sim", "KEY", "", {}, file)
    with pytest.raises(BadInput, match="KEY_99"):
        keys_of("sim", "KEY", "", {}, tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("inside", "fault"),
    [(" ", "blank"), ("\t", "blank"), ("\n", "control"), ("\x00", "control"), ("\x7f", "control"), ("é", "ASCII"),
     ("\xa0", "ASCII"), ("\udcff", "ASCII")],
)  # fmt: skip
def test_a_key_that_cannot_stand_in_a_header_is_refused_by_the_name_of_its_variable(inside, fault):
    with pytest.raises(BadInput, match=fault) as error:
        keys_of("sim", "KEY", "", {"KEY": "fine", "KEY_7": f"{CANARY}{inside}x"})
    assert error.value.where == "KEY_7"
    assert "canary" not in str(error.value)


def frames_of(error):
    """Every variable of every frame below the test, of the error and of what it came from."""
    while error is not None:
        for frame, _ in list(traceback.walk_tb(error.__traceback__))[1:]:
            # The environment is the caller's, and holds more than keys.
            yield from (repr(value) for name, value in frame.f_locals.items() if name != "env")
        yield repr(error.args)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "text",
    [
        f'[sim]\nkeys = ["{CANARY} x"]\n',
        f'[sim]\nkeys = "{CANARY}"\n',
        f'[sim]\nkeys = ["{CANARY}", 5]\n',
        f'[sim]\n"{CANARY}" = 1\n',
        f'sim = "{CANARY}"\n',
        f"[sim]\nkeys = [{CANARY}]\n",
        f'[sim]\nkeys = ["{CANARY}\n',
        f"{CANARY}",
        f'[sim]\nkeys = ["{CANARY}\x01"]\n',
        f'x = {{"{CANARY}" = 1, "{CANARY}" = 2}}',
        f'a = "{CANARY}"\nb = ' + "[" * 5_000,
    ],
)
def test_no_fault_of_a_file_shows_a_key_not_even_in_the_variables_of_its_traceback(tmp_path, text):
    file = keys_file(tmp_path, text)
    with pytest.raises(BadInput) as error:
        keys_of("sim", "KEY", "", {"KEY_1": CANARY[::-1]}, file)
    assert str(file) in str(error.value)
    assert error.value.mend
    shown = list(frames_of(error.value))
    assert len(shown) > 3
    assert not any("canary" in value or CANARY[::-1] in value for value in shown)


def test_no_fault_of_a_variable_shows_a_key_in_the_variables_of_its_traceback():
    with pytest.raises(BadInput) as error:
        keys_of("sim", "KEY", "", {"KEY": CANARY, "KEY_1": f"{CANARY} x"})
    assert not any("canary" in value for value in frames_of(error.value))


def test_the_file_adds_to_the_variables(tmp_path):
    file = keys_file(tmp_path, '[sim]\nkeys = ["b", " a ", "", "c"]\n[other]\nkeys = ["d"]\n')
    assert shown(keys_of("sim", "KEY", "", {"KEY": "a"}, file)) == [("sim-1", "a"), ("sim-2", "b"), ("sim-3", "c")]


def test_an_absent_file_is_fine(tmp_path):
    assert shown(keys_of("sim", "KEY", "", {"KEY": "a"}, tmp_path / "keys.toml")) == [("sim-1", "a")]


@pytest.mark.parametrize(
    "mode", [bit | base for base in (0o600, 0o400) for bit in (0, *(1 << n for n in range(6)))]
)
def test_a_file_is_used_only_if_nobody_else_may_use_it(tmp_path, mode):
    file = keys_file(tmp_path, '[sim]\nkeys = ["a"]\n', mode)
    if mode & 0o077 == 0:
        assert shown(keys_of("sim", "KEY", "", {}, file)) == [("sim-1", "a")]
        return
    with pytest.raises(BadInput) as error:
        keys_of("sim", "KEY", "", {"KEY": "b"}, file)
    assert f"{mode:04o}" in error.value.why
    assert f"chmod 600 {file}" in error.value.mend


def test_a_link_in_the_file_s_place_is_refused_wherever_it_leads(tmp_path):
    real = keys_file(tmp_path, '[sim]\nkeys = ["a"]\n')
    link, dangling = tmp_path / "link.toml", tmp_path / "dangling.toml"
    link.symlink_to(real)
    dangling.symlink_to(tmp_path / "nowhere")
    for file in (link, dangling):
        with pytest.raises(BadInput, match="symbolic link"):
            keys_of("sim", "KEY", "", {"KEY": "b"}, file)


def test_a_pipe_or_folder_in_the_file_s_place_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    for name in ("pipe", "folder"):
        with pytest.raises(BadInput, match="plain file"):
            keys_of("sim", "KEY", "", {"KEY": "b"}, tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path):
    file = keys_file(tmp_path, '[sim]\nkeys = ["a"]\n')
    os.chown(file, 4242, -1)
    with pytest.raises(BadInput, match=r"another user.*4242"):
        keys_of("sim", "KEY", "", {"KEY": "b"}, file)


def test_a_huge_file_is_refused(tmp_path):
    file = keys_file(tmp_path, "#" * (256 * 1024 + 1))
    with pytest.raises(BadInput, match="too big"):
        keys_of("sim", "KEY", "", {"KEY": "b"}, file)


def test_a_file_that_is_no_text_is_refused_with_its_line(tmp_path):
    file = keys_file(tmp_path, "")
    file.write_bytes(b'[sim]\nkeys = ["\xff"]\n')
    with pytest.raises(BadInput, match=r"keys\.toml:2"):
        keys_of("sim", "KEY", "", {"KEY": "b"}, file)


def test_every_variable_that_may_hold_a_key_is_named():
    env = {"KEY": "a", "KEY_1": "", "KEY_100": "c", "KEY_X": "d", "KEY_1_2": "e", "MY_KEY": "f", "key": "g"}
    assert variable_names("KEY", env) == ("KEY", "KEY_1", "KEY_100")
    assert variable_names("", env) == ()


@given(
    st.dictionaries(st.integers(1, 99), st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=3))
)
def test_every_key_is_there_once_and_every_variable_that_holds_one_is_named(values):
    env = {f"KEY_{number}": value for number, value in values.items()}
    in_order = [values[number] for number in sorted(values) if values[number]]
    if not in_order:
        with pytest.raises(BadInput):
            keys_of("sim", "KEY", "", env)
        return
    keys = keys_of("sim", "KEY", "", env)
    assert [key.secret.reveal() for key in keys] == list(dict.fromkeys(in_order))
    assert [key.label for key in keys] == [f"sim-{number}" for number in range(1, len(keys) + 1)]
    assert set(variable_names("KEY", env)) == set(env)
