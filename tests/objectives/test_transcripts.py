import sys
import unicodedata

import numpy as np
import pytest

from asr.data.labels import read_labels
from asr.objectives import transcripts
from asr.objectives.transcripts import Spelling, check_words, spelling_of
from tests.objectives.sampling_reference import ALPHABETS, COMPOSING


def is_plain(*names: str) -> bool:
    return Spelling(read_labels(["<blank>", *names])).is_plain


def test_where_a_text_is_its_labels_texts() -> None:
    assert all(Spelling(labels).is_plain for labels in ALPHABETS.values())
    assert is_plain("é", "e", "가", "ß")  # composed already
    assert is_plain("क", "ि", "र", " ")  # a mark that becomes one with nothing


def test_where_it_is_not() -> None:
    assert not any(Spelling(labels).is_plain for labels in COMPOSING.values())
    assert not is_plain("\u0301", "\u0323")  # marks whose order is fixed
    assert not is_plain("a\u200bb")  # invisible
    assert not is_plain("\u212b")  # the unit, which is a letter


def test_every_pair_of_characters_that_compose_is_known() -> None:
    """All of Unicode; of Korean, one syllable of each kind is enough."""
    pairs = []
    for character in map(chr, range(sys.maxunicode + 1)):
        parts = unicodedata.decomposition(character).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            one, two = (chr(int(part, 16)) for part in parts)
            if unicodedata.normalize("NFC", one + two) == character:
                pairs.append((one, two))
    pairs += [("\u1100", chr(vowel)) for vowel in range(0x1161, 0x1176)]
    pairs += [("\uac00", chr(final)) for final in range(0x11A8, 0x11C3)]
    assert len(pairs) > 900
    assert [pair for pair in pairs if is_plain(*pair)] == []


def test_the_spelling_of_labels_is_kept() -> None:
    labels = read_labels(["-", "a", " "])
    assert spelling_of(labels) is spelling_of(read_labels(["-", "a", " "]))
    assert spelling_of(labels) is not spelling_of(read_labels(["-", "a", "b"]))


def test_few_words_of_references_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that meets ever new words does not grow."""
    labels, texts = read_labels(["-", "a", "b", "ab", " "]), ["ab b", "aba a", "ab ba", "b"]
    spelling = Spelling(labels)
    expected = [spelling.reference_words(text) for text in texts]
    monkeypatch.setattr(transcripts, "KEPT_WORDS", 2)
    small = Spelling(labels)
    for text, words in zip(texts, expected, strict=True):
        for found, right in zip(small.reference_words(text), words, strict=True):
            np.testing.assert_array_equal(found, right)
    assert small._labels_at.cache_info().currsize == 2


@pytest.mark.parametrize("name", [" ", "|", "▁", "▁a", "<space>"])
def test_labels_that_begin_words_allow_references_of_several(name: str) -> None:
    check_words(Spelling(read_labels(["-", "b", name])), ["b b", ""])


def test_without_one_a_reference_is_one_word() -> None:
    spelling = Spelling(read_labels(["-", "a", "b", "<s>"]))
    check_words(spelling, ["ab", "", " a "])
    message = "the reference 'a b ab' has 3 words, but no label begins a word; name a label ' '"
    with pytest.raises(ValueError, match=message):
        check_words(spelling, ["ab", "a b ab"])
