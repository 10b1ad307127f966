"""Facts about sentences, words and clean characters."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.text import clean, composed, iter_sentences, looks_english, normal, one_line, sentences, words


def _bare(text: str) -> str:
    return "".join(text.split())


_PROSE = st.lists(
    st.sampled_from(["Mr. ", "A", "i", ". ", "...", "? ", "!”", '" ', "\n", "\n\n", "(", ") ", "…", "e.g.", "é "])
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She ran. He stood! Why? Nobody knew…", ["She ran.", "He stood!", "Why?", "Nobody knew…"]),
        ("“Come in.” He sat down.", ["“Come in.”", "He sat down."]),
        ("He left (at last.) Rain fell.", ["He left (at last.)", "Rain fell."]),
        ('"Who is there?" asked the miller. "Me!"', ['"Who is there?" asked the miller.', '"Me!"']),
        ("Mr. Abara met Dr. Lindqvist near St. Ives.", ["Mr. Abara met Dr. Lindqvist near St. Ives."]),
        ("Bring fruit, e.g. a pear, i.e. something sweet.", ["Bring fruit, e.g. a pear, i.e. something sweet."]),
        ("J. R. Mbeki signed. So did I. We left.", ["J. R. Mbeki signed.", "So did I.", "We left."]),
        ("I. J. Costa signed.", ["I. J. Costa signed."]),
        ("She woke at 5 a.m. and swam.", ["She woke at 5 a.m. and swam."]),
        ("She woke at 5 a.m. The sea was flat.", ["She woke at 5 a.m.", "The sea was flat."]),
        ("Room No. 9 was free. No. It was not.", ["Room No. 9 was free.", "No.", "It was not."]),
        ("He paused... and went on. Well . . . perhaps.", ["He paused... and went on.", "Well . . . perhaps."]),
        ("It cost 3.50 at shop.example today.", ["It cost 3.50 at shop.example today."]),
        ("all small. letters here.", ["all small.", "letters here."]),
    ],
)
def test_a_sentence_ends_where_a_reader_would_end_it(text: str, expected: list[str]) -> None:
    """Closing marks belong to their sentence; abbreviations, initials and trailing dots do not end one."""
    assert sentences(text) == expected


def test_a_blank_line_ends_what_would_go_on() -> None:
    """Even after an abbreviation, or before a small letter."""
    assert sentences("Ask for Mr.\n\n“Who?”\n\nasked nobody.") == ["Ask for Mr.", "“Who?”", "asked nobody."]


def test_a_line_break_is_not_an_end_but_a_blank_line_is() -> None:
    """Hard-wrapped prose stays whole; a heading without a full stop stands alone."""
    assert sentences("The Well\n \nThe rope\nwas short.\nShe pulled.") == [
        "The Well",
        "The rope\nwas short.",
        "She pulled.",
    ]


@given(st.text() | _PROSE.map("".join))
def test_sentences_lose_nothing_but_white_space(text: str) -> None:
    """Joined pieces are the text; no piece is empty or has white space at its ends."""
    found = list(iter_sentences(text))
    assert _bare("".join(found)) == _bare(text)
    assert all(piece and piece == piece.strip() for piece in found)


@pytest.mark.parametrize("unit", ["word ", ".", "\n ", "x", '."', "A. ", "?)"])
def test_time_grows_with_length_only(unit: str) -> None:
    """Two megabytes without one end take no more than seconds: nothing is looked at again and again."""
    text = unit * (2_000_000 // len(unit))
    start = time.process_time()
    assert len(sentences(text)) <= 1
    assert time.process_time() - start < 5


def test_words_are_lower_case_letters_with_their_inner_marks() -> None:
    """Apostrophes and hyphens inside stay, typographic ones become plain, numbers and marks go."""
    assert words("“Don’t,” said Zoë-Ann, 'it's 5 o'clock!'") == ["don't", "said", "zoë-ann", "it's", "o'clock"]


def test_the_normal_form_ignores_what_does_not_make_a_difference() -> None:
    """Case, width, marks and spacing go; words and numbers stay."""
    assert normal("I  DON’T know…") == normal("ｉ don't know") == "i don't know"
    assert normal("I owe 5") != normal("I owe 6")
    assert normal("?!") != normal("...")


def test_one_line_has_single_spaces() -> None:
    """Every white space run becomes one space."""
    assert one_line(" a\n\tb  c ") == "a b c"


def test_clean_text_has_only_what_a_reader_sees() -> None:
    """Line ends are one character; hidden characters go, lone surrogates are marked, letters are composed."""
    assert clean("a\r\nb\rc\td\n") == "a\nb\nc\td\n"
    assert clean("\ufeffno\x00w\u200b \u202ego\u2066\x07\x9f\u00ad\U000e0041") == "now go"
    assert clean("one\x0ctwo\x85three") == "one\ntwo\nthree"
    assert clean("x\ud800y") == "x\ufffdy"
    assert clean("cafe\u0301") == "café"
    assert clean("<b>5 < 6</b> “so”") == "<b>5 < 6</b> “so”"


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    """A cleaned text is clean."""
    assert clean(clean(text)) == clean(text)


def test_long_text_is_cleaned_like_short_text() -> None:
    """The parts it is cleaned in leave no seam."""
    unit = "x\u200b\r\ne\u0301 "
    assert clean(unit * 400_000) == clean(unit) * 400_000


@pytest.mark.parametrize(
    "text",
    [
        "Der Bauer ging am Abend in den Stall, aber die Kuh war fort und der Hund schlief.",
        "De boer ging in de avond naar de stal, maar de koe was weg en de hond sliep.",
        "Le paysan alla le soir vers la grange, mais la vache avait disparu et le chien dormait.",
        "El campesino fue de noche al establo, pero la vaca no estaba y el perro dormía.",
        "Il contadino andò la sera nella stalla, ma la mucca non c'era e il cane dormiva.",
        "Вечером крестьянин пошёл в хлев, но коровы там уже не было, а собака спала.",
    ],
)
def test_other_languages_do_not_look_english(text: str) -> None:
    """Words that two languages share do not count."""
    assert not looks_english([text])


def test_english_looks_english() -> None:
    """A narrative, a chat line, and too few words to tell."""
    assert looks_english(["The farmer went to the barn in the evening, but the cow had gone."])
    assert looks_english(["honestly that's the best thing you could have said to my sister"])
    assert looks_english(["Kuala Lumpur"])
    assert looks_english([])


def test_a_thousand_marks_on_one_letter_are_read_at_once() -> None:
    """Putting them in order would take the square of their number; what people write keeps all its marks."""
    assert composed("a" + "\u0301\u0316" * 100_000, "NFC").startswith("\u00e1\u0316")
    many = "e\u0301 " * 2000
    assert composed(many, "NFC") == "\u00e9 " * 2000
    taken = []
    for length in (10_000, 100_000):
        began = time.process_time()
        normal("a" + "\u0301\u0316" * length), clean("a" + "\u0301\u0316" * length)
        taken.append(time.process_time() - began)
    assert taken[1] < 30 * max(taken[0], 0.01)  # a hundredfold where it is the square
