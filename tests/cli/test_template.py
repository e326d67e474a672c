from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skep.cli.template import FIELDS, Item, Template
from skep.errors import BadInput

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
words = st.text(st.characters(exclude_characters="{}\0", exclude_categories=["Cs"]), min_size=1).filter(str.strip)
fields = st.sampled_from(FIELDS)


@given(st.lists(st.tuples(words, fields, words), min_size=1, max_size=6), texts)
def test_an_item_never_makes_more_words_or_fewer(parts: list[tuple[str, str, str]], text: str) -> None:
    item = Item(text, 7)
    given_words = [f"{before}{{{name}}}{after}" for before, name, after in parts]
    template = Template.of_line(" ".join(map(shlex.quote, given_words)))
    assert template.render(item) == tuple(before + item.field(name) + after for before, name, after in parts)


@given(texts)
def test_the_parts_of_an_item_give_the_item_again(text: str) -> None:
    item = Item(f"folder/{text.replace('/', '_')}x", 1)
    assert f"{item.field('dir')}/{item.field('stem')}{item.field('ext')}" == item.text
    assert item.field("name") == item.field("stem") + item.field("ext")


@given(st.lists(words, min_size=1, max_size=6))
def test_doubled_braces_are_braces(given_words: list[str]) -> None:
    line = " ".join(shlex.quote(f"{{{{{word}}}}}") for word in given_words)
    assert Template.of_line(line).render(Item("x", 1)) == tuple(f"{{{word}}}" for word in given_words)


def test_fields_of_a_path() -> None:
    item = Item("src/pkg/mod.tar.gz", 12)
    assert {name: item.field(name) for name in FIELDS} == {
        "item": "src/pkg/mod.tar.gz",
        "name": "mod.tar.gz",
        "stem": "mod.tar",
        "ext": ".gz",
        "dir": "src/pkg",
        "n": "12",
    }
    assert Item("mod", 1).field("dir") == "."


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("wc {itm}", "unknown field {itm} in column 4"),
        ("wc {}", "unknown field {} in column 4"),
        ("wc '{item'", "the brace in column 5 is never closed"),
        ("wc 'x", "cannot be split"),
        ("   ", "empty"),
        ("''", "empty"),
    ],
)
def test_a_template_that_makes_no_sense_is_refused(line: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        Template.of_line(line)
    assert said in caught.value.what
    assert caught.value.mend


@given(st.lists(texts.filter(lambda text: "\n" not in text), min_size=1, max_size=3).map("".join))
def test_a_shell_sees_each_item_as_one_word(text: str) -> None:
    (line,) = Template.of_shell("set -- a{item} {item}b; [ $# = 2 ]").render(Item(text, 1))
    assert shlex.split(line.split(";")[0] if ";" not in text else line)[2] == f"a{text}"


@pytest.mark.parametrize(
    "text", ["$(exit 3)", "`exit 3`", "a b", "it's", '"', "*", "; exit 3", "-n", "\\", "#x", "~"]
)
def test_a_real_shell_prints_the_item_as_it_is(text: str) -> None:
    (line,) = Template.of_shell('printf \'%s\' "<"{item}">" | cat').render(Item(text, 1))
    assert (
        subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True).stdout == f"<{text}>"
    )


@pytest.mark.parametrize(
    "line",
    [
        "echo '{item}'",
        'echo "{item}"',
        'echo "$(cat "{item}")"',
        "echo `cat {item}`",
        r"echo \{item}",
        "cat <<EOF\n{item}\nEOF",
        "echo x # it's\necho '{item}'",
        "echo x # {item}",
        'echo "${{x:-"{item}"}}"',
    ],
)
def test_a_place_where_quoting_does_not_hold_is_refused(line: str) -> None:
    with pytest.raises(BadInput, match="cannot take an item safely"):
        Template.of_shell(line)


@pytest.mark.parametrize(
    "line",
    [
        "cat {item}",
        "echo \"$HOME\"{item}'x'",
        "echo $(cat {item})",
        'echo "${{HOME}}"{item}',
        "a # it's\nb {item}",
    ],
)
def test_a_place_outside_of_quotes_is_taken(line: str) -> None:
    assert Template.of_shell(line).fields == {"item"}
