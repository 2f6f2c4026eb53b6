"""The tokens of a trained model for another one."""

from pathlib import Path

import pytest

from asr.data.bundle_tokenizer import BundleTokenizerConfig, load_bundle_tokenizer
from asr.data.tokenizer import CharactersConfig, SentencePieceConfig, Tokenizer, train_tokenizer
from asr.errors import ConfigError, ModelError
from asr.storage import folder_writer

TEXTS = ["ABAB BA", "BABA AB"] * 5


def bundle(folder: Path, config: CharactersConfig | SentencePieceConfig) -> Tokenizer:
    tokenizer = train_tokenizer(config, TEXTS)
    with folder_writer(folder) as temporary:
        tokenizer.save(temporary)
    return tokenizer


def loaded(folder: Path, **options: str) -> Tokenizer:
    return load_bundle_tokenizer(
        BundleTokenizerConfig(name="bundle", folder=str(folder), **options)
    )


@pytest.mark.parametrize("config", [CharactersConfig(), SentencePieceConfig(vocabulary_size=8)])
def test_it_is_the_same(tmp_path: Path, config: CharactersConfig | SentencePieceConfig) -> None:
    tokenizer = bundle(tmp_path / "best", config)
    again = loaded(tmp_path / "best")
    assert again.fingerprint() == tokenizer.fingerprint()
    assert again.encode("AB BA") == tokenizer.encode("AB BA")
    assert loaded(tmp_path / "best", unknown="drop").encode("AxB") == tokenizer.encode("AB")
    assert loaded(tmp_path / "best", unknown="error").unknown == "error"


def test_one_that_replaces_stays(tmp_path: Path) -> None:
    bundle(tmp_path / "best", CharactersConfig(unknown="replace"))
    assert loaded(tmp_path / "best", unknown="drop").unknown == "replace"


def test_no_bundle_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.folder: .*best: no such bundle; name the"):
        loaded(tmp_path / "best")
    bundle(tmp_path / "best", CharactersConfig())
    (tmp_path / "best" / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"tokenizer\.json: checksum differs"):
        loaded(tmp_path / "best")


def test_a_foreign_kind_of_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign:
        unknown = "error"

    bundle(tmp_path / "best", CharactersConfig())
    monkeypatch.setattr("asr.data.bundle_tokenizer.load_tokenizer", lambda folder: Foreign())
    with pytest.raises(TypeError, match="a tokenizer of no known kind: Foreign"):
        loaded(tmp_path / "best", unknown="drop")
