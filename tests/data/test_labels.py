from collections.abc import Sequence

import pytest

from asr.data.labels import labels_of, read_labels
from asr.data.tokenizer import CharactersConfig, SentencePieceConfig, train_tokenizer

WAV2VEC = ["<pad>", "<s>", "</s>", "<unk>", "|", "E", "T"]


@pytest.mark.parametrize(
    ("names", "tokens", "text"),
    [
        (["_", " ", "A", "B"], [2, 3, 1, 2], "AB A"),
        (["_", " ", "A", "B"], [1, 1, 2, 1, 1, 3, 1], "A B"),
        (WAV2VEC, [5, 6, 4, 6], "ET T"),
        (["_", "▁HE", "LLO", "▁", "X"], [1, 2, 1, 3, 4], "HELLO HE X"),
        (["_", "<space>", "A"], [2, 1, 2], "A A"),
    ],
)
def test_names_say_how_labels_join(names: list[str], tokens: Sequence[int], text: str) -> None:
    assert read_labels(names).decode(tokens) == text


def test_special_labels_are_never_emitted() -> None:
    assert read_labels(WAV2VEC).arrays.emitted.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert read_labels(["A", " ", "x"], blank=2).arrays.emitted.tolist() == [1, 1, 0]


def test_the_name_of_the_blank_does_not_matter() -> None:
    assert read_labels(["A", "_", "A"], blank=2).decode([0, 1]) == "A_"


def test_a_letter_and_its_accent_are_one_word_however_they_come() -> None:
    labels = read_labels(["_", "e", "\u0301", "\u00e9"])
    assert labels.decode([1, 2]) == labels.decode([3]) == "\u00e9"


@pytest.mark.parametrize(
    "config", [CharactersConfig(), SentencePieceConfig(name="sentencepiece", vocabulary_size=20)]
)
def test_labels_of_our_tokenizers_spell_as_they_do(config: CharactersConfig) -> None:
    texts = ["THE CAT SAT ON THE MAT", "A DOG AND A CAT SAW THE FOG"] * 20
    tokenizer = train_tokenizer(config, texts)
    labels = labels_of(tokenizer.pieces, tokenizer.symbols)
    for text in texts[:2]:
        tokens = tokenizer.encode(text)
        assert labels.decode(tokens) == tokenizer.decode(tokens) == text
        assert labels.word_spans(tokens) == tokenizer.word_spans(tokens)


@pytest.mark.parametrize(
    ("names", "blank", "message"),
    [
        (["_", "A", "A"], 0, "labels must differ, but 'A' stands twice"),
        (["_", "A", ""], 0, "label 2 is empty; write a space as"),
        (["_", "A"], 2, "blank must be 0 to 1, got 2"),
        (["_", "A"], -1, "blank must be 0 to 1, got -1"),
    ],
)
def test_names_that_cannot_be_labels(names: list[str], blank: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_labels(names, blank=blank)
