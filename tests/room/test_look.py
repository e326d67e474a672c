"""Glyphs, columns, colours: what a row is drawn with, at every width and in every theme."""

from __future__ import annotations

import unicodedata

import pytest
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from skep.model.agent import FACES
from skep.room.look import (
    ASCII,
    FACE_ROLES,
    FACE_WORDS,
    NAME_AT,
    NUMBER_WIDTHS,
    UNICODE,
    Look,
    Number,
    Role,
    choose_look,
    columns_for,
    role_css,
)
from skep.room.themes import SKEP_DARK, SKEP_LIGHT, THEMES

EMOJI = set("⏸⏹▶⚠✔✖▪ℹ⏳")
"""Signs that some terminals draw as a picture two cells wide."""


def glyphs_of(look: Look) -> set[str]:
    single = (look.starting, look.opened, look.closed, look.mark, look.cursor, look.guide, look.held_guide)
    return {*look.faces.values(), *single, look.corner, look.rule, look.heavy_rule, look.dashed_rule}


def test_every_face_has_a_glyph_a_role_and_a_word():
    for look in (UNICODE, ASCII):
        assert set(look.faces) == set(FACES)
        assert len(set(look.faces.values())) == len(FACES)
    assert set(FACE_ROLES) == set(FACES) == set(FACE_WORDS)


def test_every_glyph_takes_one_cell_and_has_no_picture_form():
    for glyph in glyphs_of(UNICODE) | glyphs_of(ASCII):
        assert len(glyph) == 1
        assert unicodedata.east_asian_width(glyph) not in {"W", "F"}
        assert glyph not in EMOJI


def test_the_ascii_set_is_ascii_and_so_are_the_signs_that_skep_puts_into_text():
    assert all(glyph.isascii() for glyph in glyphs_of(ASCII))
    assert ASCII.own("a…b – ≥3").isascii()
    assert UNICODE.own("a…b – ≥3") == "a…b – ≥3"


def test_ascii_is_taken_on_a_linux_console_and_where_it_is_asked_for():
    assert choose_look({"TERM": "linux"}) is ASCII
    assert choose_look({"TERM": "xterm"}, ascii_only=True) is ASCII
    assert choose_look({"TERM": "linux"}, ascii_only=False) is UNICODE


@pytest.mark.parametrize(
    ("width", "name", "in_at", "doing_at", "numbers"),
    [
        (120, 28, 32, 39, "TRY LINES OUTPUT EXIT AGE"),
        (119, 22, 26, 33, "TRY LINES OUTPUT EXIT"),
        (88, 22, 26, 33, "TRY LINES OUTPUT EXIT"),
        (87, 20, 24, 31, "OUTPUT EXIT"),
        (72, 20, 24, 31, "OUTPUT EXIT"),
        (71, 18, 22, 29, "EXIT"),
        (56, 18, 22, 29, "EXIT"),
        (55, 16, 20, 27, ""),
    ],
)
def test_columns_give_way_from_the_right_and_exit_goes_last(width, name, in_at, doing_at, numbers):
    columns = columns_for(width)
    assert (columns.name, columns.in_at, columns.doing_at) == (name, in_at, doing_at)
    assert [number.value for number in columns.numbers] == numbers.split()


@pytest.mark.parametrize("width", range(40, 220))
def test_columns_fill_the_width_but_for_one_blank_at_the_edge(width):
    columns = columns_for(width)
    numbers = sum(NUMBER_WIDTHS[number] + 1 for number in columns.numbers)
    assert columns.doing_at + columns.doing + numbers + 1 == width
    assert columns.in_at == NAME_AT + columns.name + 1


def test_doing_is_as_wide_as_in_the_drawing():
    assert columns_for(120).doing == 47
    assert columns_for(92).doing == 31
    assert columns_for(80).doing == 33


def test_number_heads_fit_into_their_columns():
    assert all(len(number.value) <= NUMBER_WIDTHS[number] for number in Number)


def test_the_css_of_a_widget_names_every_role_and_no_variable_that_is_not_concrete():
    css = role_css("Thing")
    assert all(f".role--{role.value} " in css for role in Role)
    assert "$text-muted" not in css
    assert "$accent;" not in css


def contrast(one: Color, other: Color) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: Color) -> float:
    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(part) for part in colour.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_states_and_grey_can_be_read_in_our_own_themes(theme: Theme):
    colours = theme.to_color_system().generate()
    ground = Color.parse(colours["background"])
    for variable in ("text-success", "text-warning", "text-error", "text-primary"):
        assert contrast(Color.parse(colours[variable]), ground) >= 7.0
    assert contrast(ground + Color.parse(colours["foreground-muted"]), ground) >= 3.9


def test_our_themes_take_no_name_of_a_built_in_one():
    assert {SKEP_DARK.name, SKEP_LIGHT.name}.isdisjoint(BUILTIN_THEMES)
    assert SKEP_DARK.dark
    assert not SKEP_LIGHT.dark
