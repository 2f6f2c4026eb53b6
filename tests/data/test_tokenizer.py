"""Text to tokens and back, for every kind of tokenizer, and what a damaged folder is."""

import json
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.config import Config, parse
from asr.data.text import normalize_text, read_lines, words
from asr.data.tokenizer import (
    CharactersConfig,
    PhonesConfig,
    SentencePieceConfig,
    SymbolTokenizer,
    Tokenizer,
    TokenizerConfig,
    WordSpan,
    check_texts,
    load_tokenizer,
    train_tokenizer,
)
from asr.errors import ConfigError, DataError, ModelError

TEXTS = ["the cat sat on the mat", "a dog ate the cat", "x y z"]
SMALL: dict[str, Tokenizer] = {
    "characters": train_tokenizer(CharactersConfig(), TEXTS),
    "characters, replace": train_tokenizer(CharactersConfig(unknown="replace"), TEXTS),
    "phones": train_tokenizer(PhonesConfig(), TEXTS),
    "phones, replace": train_tokenizer(PhonesConfig(unknown="replace"), TEXTS),
    "unigram": train_tokenizer(SentencePieceConfig(vocabulary_size=20), TEXTS),
    "bpe": train_tokenizer(SentencePieceConfig(vocabulary_size=30, model_type="bpe"), TEXTS),
}
every_kind = pytest.mark.parametrize("tokenizer", SMALL.values(), ids=SMALL.keys())
any_text = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


@every_kind
def test_the_blank_is_symbol_zero(tokenizer: Tokenizer) -> None:
    assert tokenizer.symbols[0] == "<blank>"
    assert tokenizer.vocabulary_size == len(tokenizer.symbols) == len(set(tokenizer.symbols))
    assert all(0 not in tokenizer.encode(text) for text in TEXTS)


@every_kind
@settings(deadline=None)
@given(data=st.data())
def test_any_text_of_known_words_returns(tokenizer: Tokenizer, data: st.DataObject) -> None:
    vocabulary = sorted({word for text in TEXTS for word in words(text)})
    text = " ".join(data.draw(st.lists(st.sampled_from(vocabulary))))
    tokens = tokenizer.encode(f"\t{text} \N{NO-BREAK SPACE}")
    assert tokenizer.decode(tokens) == text
    assert all(0 < token < tokenizer.vocabulary_size for token in tokens)
    spelled = [tokenizer.decode(tokens[s.start : s.stop]) for s in tokenizer.word_spans(tokens)]
    assert spelled == words(text)


@every_kind
@settings(deadline=None)
@given(data=st.data())
def test_whatever_a_network_emits_is_decoded_to_its_words(
    tokenizer: Tokenizer, data: st.DataObject
) -> None:
    tokens = data.draw(st.lists(st.integers(1, tokenizer.vocabulary_size - 1)))
    text = tokenizer.decode(tokens)
    spans = tokenizer.word_spans(tokens)
    assert " ".join(span.word for span in spans) == text == normalize_text(text)
    assert words(text) == [span.word for span in spans]
    assert all(0 <= span.start < span.stop <= len(tokens) for span in spans)
    assert all(a.stop <= b.start for a, b in pairwise(spans))


@settings(deadline=None)
@given(st.lists(any_text, min_size=1).filter(lambda texts: any(map(normalize_text, texts))))
def test_characters_and_phones_learn_any_text(texts: list[str]) -> None:
    for config in (CharactersConfig(), PhonesConfig()):
        tokenizer = train_tokenizer(config, texts)
        for text in texts:
            assert tokenizer.decode(tokenizer.encode(text)) == normalize_text(text)
            assert not tokenizer.unknown_symbols(text)


@settings(max_examples=20, deadline=None)
@given(st.lists(any_text, min_size=1).filter(lambda texts: any(map(normalize_text, texts))))
def test_a_stored_vocabulary_of_any_characters_is_the_same(texts: list[str]) -> None:
    tokenizer = train_tokenizer(CharactersConfig(), texts)
    with TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        assert load_tokenizer(Path(folder)) == tokenizer


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("characters", [WordSpan("a", 0, 1), WordSpan("cat", 2, 5)]),
        ("phones", [WordSpan("a", 0, 1), WordSpan("cat", 1, 2)]),
        ("bpe", [WordSpan("a", 0, 1), WordSpan("cat", 1, 2)]),
    ],
)
def test_words_have_the_tokens_that_spell_them(name: str, expected: list[WordSpan]) -> None:
    assert SMALL[name].word_spans(SMALL[name].encode("a cat")) == expected


def test_a_vocabulary_is_learnt_in_order_of_code_points() -> None:
    assert train_tokenizer(CharactersConfig(), ["b é", "a b"]).symbols == (
        "<blank>",
        *" abé",
    )
    phones = train_tokenizer(PhonesConfig(unknown="replace"), ["T AH", "AH  K"])
    assert phones.symbols == ("<blank>", "<unknown>", "AH", "K", "T")


def test_a_given_vocabulary_is_kept_as_it_is() -> None:
    assert train_tokenizer(CharactersConfig(symbols="ba "), []).symbols == ("<blank>", *"ba ")
    given_phones = PhonesConfig(symbols=["T", "AH"], unknown="replace")
    assert train_tokenizer(given_phones, ["K"]).symbols == ("<blank>", "<unknown>", "T", "AH")


def test_texts_of_different_unicode_forms_have_the_same_tokens() -> None:
    tokenizer = train_tokenizer(CharactersConfig(), ["caf\N{LATIN SMALL LETTER E WITH ACUTE}"])
    decomposed = "cafe\N{COMBINING ACUTE ACCENT}"
    assert tokenizer.decode(tokenizer.encode(decomposed)) == "café"


def test_unknown_characters_are_an_error_that_counts_them() -> None:
    with pytest.raises(DataError, match=r"'q' U\+0071 2 times, 'é' U\+00E9 1 times.*= .drop."):
        SMALL["characters"].encode("qéq a")


def test_dropping_leaves_a_text_of_the_vocabulary() -> None:
    tokenizer = train_tokenizer(CharactersConfig(symbols=" ab", unknown="drop"), [])
    assert tokenizer.decode(tokenizer.encode("qa q bq a q")) == "a b a"
    assert tokenizer.encode("qa q bq") == tokenizer.encode("a b")
    assert tokenizer.encode("q q") == []
    without_space = train_tokenizer(CharactersConfig(symbols="ab", unknown="drop"), [])
    assert without_space.decode(without_space.encode("a b")) == "ab"
    phones = train_tokenizer(PhonesConfig(symbols=["A", "B"], unknown="drop"), [])
    assert phones.decode(phones.encode("Q A Q B")) == "A B"


@settings(deadline=None)
@given(any_text)
def test_dropping_never_yields_tokens_that_training_would_not_have(text: str) -> None:
    tokenizer = train_tokenizer(
        CharactersConfig(symbols=" eab\N{COMBINING ACUTE ACCENT}", unknown="drop"), []
    )
    tokens = tokenizer.encode(text)
    spaces = [index for index, token in enumerate(tokens) if tokenizer.symbols[token] == " "]
    assert all(0 < index < len(tokens) - 1 for index in spaces)
    assert all(after - before > 1 for before, after in pairwise(spaces))


def test_replacing_is_visible_in_the_text() -> None:
    tokenizer = SMALL["characters, replace"]
    assert tokenizer.encode("q") == [1]
    assert tokenizer.decode(tokenizer.encode("a qat")) == "a \N{REPLACEMENT CHARACTER}at"
    phones = SMALL["phones, replace"]
    assert phones.decode(phones.encode("<unknown> cat")) == "\N{REPLACEMENT CHARACTER} cat"


@every_kind
@pytest.mark.parametrize("token", [0, -1, 1000])
def test_blanks_and_foreign_tokens_are_no_text(tokenizer: Tokenizer, token: int) -> None:
    with pytest.raises(ValueError, match=f"got {token}"):
        tokenizer.decode([2, token])


@every_kind
@given(any_text)
def test_any_text_has_tokens_whatever_the_policy(tokenizer: Tokenizer, text: str) -> None:
    """Known texts the same as `encode`; of others what is unknown, and nothing else, is marked."""
    tokens = tokenizer.encode_any(text, -7)
    unknown = tokenizer.unknown_symbols(text)
    if not unknown:
        assert tokens == tokenizer.encode(text)
    elif not set(text) & {"▁", "▅", "\0"}:  # of which sentencepiece has its own opinion
        assert -7 in tokens
    assert all(token == -7 or 1 <= token < tokenizer.vocabulary_size for token in tokens)


def test_a_corpus_is_checked_at_once() -> None:
    texts = [(f"u{n}", "a café" if n else "a cat") for n in range(8)]
    expected = (
        r"^2 symbols \('f' U\+0066 7 times, 'é' U\+00E9 7 times\) outside the vocabulary, "
        r"in utterances 'u1', 'u2', 'u3', 'u4', 'u5' and 2 more; mend the text, or"
    )
    with pytest.raises(DataError, match=expected):
        check_texts(SMALL["characters"], texts)
    assert check_texts(SMALL["characters, replace"], texts) == {"f": 7, "é": 7}
    assert not check_texts(SMALL["phones"], [("u", "a cat")])


def test_texts_without_symbols_are_no_training_text() -> None:
    for config in (CharactersConfig(), PhonesConfig(), SentencePieceConfig()):
        with pytest.raises(DataError, match="training text is empty"):
            train_tokenizer(config, ["", " \t"])


@every_kind
def test_saving_and_loading_gives_an_equal_tokenizer(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded == tokenizer
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert [loaded.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]


def test_fingerprints_differ_where_tokenizers_do() -> None:
    texts = ["a b"]
    tokenizers = [
        train_tokenizer(CharactersConfig(), texts),
        train_tokenizer(CharactersConfig(unknown="drop"), texts),
        train_tokenizer(CharactersConfig(symbols="ba "), texts),
        train_tokenizer(PhonesConfig(), texts),
        *SMALL.values(),
    ]
    assert len({tokenizer.fingerprint() for tokenizer in tokenizers}) == len(tokenizers)


class _Recipe(Config):
    tokenizer: TokenizerConfig = CharactersConfig()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "letters"}, "'tokenizer.name' must be one of 'characters', 'phones', 'senten"),
        ({"name": "characters", "symbols": "aa"}, "'a' U\\+0061 stands twice"),
        ({"name": "characters", "symbols": ""}, "at least one symbol"),
        ({"name": "characters", "symbols": ["a"]}, "must be a valid string"),
        ({"name": "characters", "unknown": "ignore"}, "must be 'error', 'drop' or 'replace'"),
        ({"name": "phones", "symbols": ["A B"]}, "not 'A B'"),
        ({"name": "phones", "symbol": []}, "did you mean 'symbols'"),
        ({"name": "sentencepiece", "vocabulary_size": 3}, "greater than or equal to 4"),
        ({"name": "sentencepiece", "model_type": "word"}, "must be 'unigram' or 'bpe'"),
    ],
)
def test_bad_configs_are_named(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(_Recipe, {"tokenizer": section}, "recipe.toml")


def test_configs_choose_the_kind() -> None:
    for name, kind in (("characters", CharactersConfig), ("phones", PhonesConfig)):
        section = {"name": name, "symbols": "a" if name == "characters" else ["a"]}
        assert isinstance(parse(_Recipe, {"tokenizer": section}, "r").tokenizer, kind)


def test_a_vocabulary_must_begin_with_the_special_symbols() -> None:
    with pytest.raises(ValueError, match=r"must begin with <blank>, <unknown>"):
        SymbolTokenizer("characters", ("<blank>", "a"), "replace")


GOOD = {"name": "characters", "unknown": "error", "symbols": ["<blank>", "a"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must be a JSON object"),
        ({**GOOD, "name": "words"}, "'name' must be"),
        ({**GOOD, "symbols": ["a"]}, "'symbols' must be symbols must begin|must begin with <blank"),
        ({**GOOD, "symbols": ["<blank>", "a", "a"]}, "stands twice"),
        ({**GOOD, "symbols": ["<blank>"]}, "at least one"),
        ({**GOOD, "symbols": ["<blank>", 1]}, "'symbols.1' must be a valid string"),
        ({**GOOD, "unknown": "replace"}, "must begin with <blank>, <unknown>"),
        ({**GOOD, "more": 1}, "unknown key 'more'"),
        ({"name": "phones", "unknown": "error"}, "'symbols' is missing"),
        ({"name": "sentencepiece", "unknown": "error"}, "'model_sha256' is missing"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert str(path) in str(caught.value)


def test_a_missing_or_giant_description_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(ModelError, match=r"tokenizer\.json: cannot be read: No such file"):
        load_tokenizer(tmp_path)
    with path.open("wb") as file:
        file.truncate(10 * 1024 * 1024 + 1)
    with pytest.raises(ModelError, match="larger than 10485760 bytes"):
        load_tokenizer(tmp_path)


@pytest.mark.data
def test_real_transcripts_return(corpora: Path, tmp_path: Path) -> None:
    """Every transcript of AN4 survives every kind of tokenizer, stored and loaded again."""
    files = sorted(corpora.glob("an4/**/*.transcription"))
    assert files
    lines = [line.rpartition("(")[0] for file in files for _, line in read_lines(file)]
    for config in (
        CharactersConfig(),
        PhonesConfig(),
        SentencePieceConfig(vocabulary_size=100),
        SentencePieceConfig(vocabulary_size=100, model_type="bpe"),
    ):
        train_tokenizer(config, lines).save(tmp_path)
        tokenizer = load_tokenizer(tmp_path)
        for line in lines:
            assert tokenizer.decode(tokenizer.encode(line)) == normalize_text(line)
