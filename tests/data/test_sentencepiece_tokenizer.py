"""Sub-word tokens: training is reproducible, loses nothing, and its model is checked on loading."""

import hashlib
import json
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.data.sentencepiece_tokenizer import (
    RESERVED,
    SentencePieceConfig,
    SentencePieceTokenizer,
    train_sentencepiece,
)
from asr.data.text import normalize_text
from asr.data.tokenizer import load_tokenizer
from asr.errors import ConfigError, DataError, ModelError

TEXTS = ["the cat sat on the mat", "a dog ate the cat", "x y z"]
UNIGRAM = SentencePieceConfig(vocabulary_size=20)
BPE = SentencePieceConfig(vocabulary_size=30, model_type="bpe")
both_types = pytest.mark.parametrize("config", [UNIGRAM, BPE], ids=["unigram", "bpe"])


@both_types
def test_the_vocabulary_has_the_size_asked_for(config: SentencePieceConfig) -> None:
    tokenizer = train_sentencepiece(config, TEXTS)
    assert tokenizer.vocabulary_size == config.vocabulary_size
    assert tokenizer.symbols[:2] == ("<blank>", "<unknown>")
    assert "▁" in tokenizer.symbols


@both_types
def test_the_same_texts_give_the_same_model_to_the_byte(config: SentencePieceConfig) -> None:
    first, second = train_sentencepiece(config, TEXTS), train_sentencepiece(config, iter(TEXTS))
    assert first.model == second.model
    assert first.fingerprint() == second.fingerprint()


def test_tokens_are_the_pieces_of_sentencepiece_plus_one() -> None:
    tokenizer = train_sentencepiece(BPE, TEXTS)
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model)
    pieces = processor.encode("the dog sat", out_type=str)
    assert [tokenizer.symbols[token] for token in tokenizer.encode("the dog sat")] == pieces


def test_frequent_words_become_single_tokens() -> None:
    assert len(train_sentencepiece(BPE, TEXTS).encode("the cat")) == 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters=RESERVED), max_size=30),
        min_size=1,
        max_size=4,
    ).filter(lambda texts: any(map(normalize_text, texts)))
)
def test_any_training_text_returns(texts: list[str]) -> None:
    """No normalisation, no skipped line, no lost character: whatever the script."""
    characters = {character for text in texts for character in normalize_text(text)}
    config = SentencePieceConfig(vocabulary_size=max(len(characters | {" "}) + 2, 4))
    tokenizer = train_sentencepiece(config, texts)
    for text in texts:
        tokens = tokenizer.encode(text)
        assert 1 not in tokens
        assert tokenizer.decode(tokens) == normalize_text(text)


def test_a_very_long_line_is_not_skipped() -> None:
    tokenizer = train_sentencepiece(UNIGRAM, [*TEXTS, "q " * 5_000])
    assert tokenizer.decode(tokenizer.encode("q cat")) == "q cat"


@pytest.mark.parametrize("character", RESERVED)
def test_characters_with_a_meaning_of_their_own_are_refused(character: str) -> None:
    tokenizer = train_sentencepiece(UNIGRAM, TEXTS)
    assert tokenizer.unknown_symbols(f"a {character}") == {character: 1}
    with pytest.raises(DataError, match=rf"U\+{ord(character):04X} 1 times\), which sentencepiece"):
        train_sentencepiece(UNIGRAM, [*TEXTS, f"a{character}b"])


def test_the_texts_are_named_when_they_are_no_text() -> None:
    with pytest.raises(DataError, match="which are no text"):
        train_sentencepiece(UNIGRAM, [*TEXTS, "\ud800"])


def test_unknown_characters() -> None:
    with pytest.raises(DataError, match=r"'é' U\+00E9 1 times\) outside the vocabulary"):
        train_sentencepiece(UNIGRAM, TEXTS).encode("caté")
    drop = train_sentencepiece(UNIGRAM.model_copy(update={"unknown": "drop"}), TEXTS)
    assert drop.decode(drop.encode("é ca\0té é ▁ sat")) == "cat sat"
    replace = train_sentencepiece(UNIGRAM.model_copy(update={"unknown": "replace"}), TEXTS)
    assert replace.decode(replace.encode("caté")) == "cat\N{REPLACEMENT CHARACTER}"


def test_a_vocabulary_smaller_than_the_alphabet_is_refused() -> None:
    message = "is 5, but the text has 15 characters; with <blank> and <unknown> it must .* 17"
    with pytest.raises(ConfigError, match=message):
        train_sentencepiece(SentencePieceConfig(vocabulary_size=5), TEXTS)
    assert train_sentencepiece(SentencePieceConfig(vocabulary_size=17), TEXTS)


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_a_vocabulary_larger_than_the_text_supports_names_the_most(model_type: str) -> None:
    config = {"name": "sentencepiece", "model_type": model_type}
    with pytest.raises(
        ConfigError, match=r"size 1000 is too large for this text: the most is \d"
    ) as caught:
        train_sentencepiece(
            SentencePieceConfig.model_validate({**config, "vocabulary_size": 1000}), TEXTS
        )
    most = int(str(caught.value).rpartition(" ")[2])
    best = SentencePieceConfig.model_validate({**config, "vocabulary_size": most})
    assert train_sentencepiece(best, TEXTS).vocabulary_size == most


def stored(folder: Path) -> SentencePieceTokenizer:
    tokenizer = train_sentencepiece(UNIGRAM, TEXTS)
    tokenizer.save(folder)
    return tokenizer


def rewrite(folder: Path, model: bytes) -> None:
    """Put another model in, with a description that fits it."""
    (folder / "tokenizer.model").write_bytes(model)
    digest = hashlib.sha256(model).hexdigest()
    content = {"name": "sentencepiece", "unknown": "error", "model_sha256": digest}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    model = bytearray(stored(tmp_path).model)
    model[len(model) // 2] ^= 1
    (tmp_path / "tokenizer.model").write_bytes(model)
    with pytest.raises(ModelError, match=r"tokenizer\.model: not the model of tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_missing_or_giant_model_is_refused(tmp_path: Path) -> None:
    stored(tmp_path)
    with (tmp_path / "tokenizer.model").open("wb") as file:
        file.truncate(10 * 1024 * 1024 + 1)
    with pytest.raises(ModelError, match=r"tokenizer\.model: larger than 10485760 bytes"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.model: cannot be read: No such file"):
        load_tokenizer(tmp_path)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    rewrite(tmp_path, b"not a model")
    with pytest.raises(ModelError, match=r"tokenizer\.model: must be a sentencepiece model$"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("options", [{"unk_id": 2, "bos_id": 0, "eos_id": 1}, {"unk_id": 0}])
def test_a_model_made_elsewhere_is_refused(tmp_path: Path, options: dict[str, int]) -> None:
    """Its own normalisation, and pieces that no text becomes, are not what we promise."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat " * 3]),
        model_prefix=str(tmp_path / "other"),
        vocab_size=12,
        minloglevel=2,
        **options,
    )
    rewrite(tmp_path, (tmp_path / "other.model").read_bytes())
    with pytest.raises(ModelError, match="must be a sentencepiece model that this toolkit made"):
        load_tokenizer(tmp_path)
