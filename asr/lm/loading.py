"""A language model from its file, whatever kind of file it is."""

from pathlib import Path
from typing import TYPE_CHECKING

from asr.errors import DataError, ModelError, shown
from asr.lm.arpa import read_arpa
from asr.lm.cache import keep, load_cached
from asr.lm.kenlm_binary import MAGIC, KenlmModel, open_kenlm
from asr.lm.ngram import NgramModel

if TYPE_CHECKING:
    from asr.lm.neural_model import NeuralModel


def load_lm(path: Path, *, verify: bool = False) -> "NgramModel | KenlmModel | NeuralModel":
    """The model in an ARPA file, plain or gzip, a KenLM binary, or the folder of a neural one.

    Of what kind a file is shows in its content. What was read from an ARPA file is kept in the
    user's cache, see `asr.lm.cache`. A neural model is always verified.

    Args:
        path: the file or folder.
        verify: trust the cache only if the SHA-256 of the file is that of when it was read.

    Raises:
        DataError: not a model, or a broken one; or it changed while it was read.
        ModelError: a KenLM binary that cannot be used; a folder that is no neural language model,
            or a damaged one.
        ResourceError: the model does not fit into memory.
    """
    before = _version(path)
    if before is None:
        try:
            return read_arpa(path)  # which says what is wrong
        except DataError as error:
            raise DataError(f"{error}; asr lm train makes such a model of a text") from error
    if path.is_dir():
        from asr.lm.neural_bundle import read_neural_bundle  # and torch with it

        return read_neural_bundle(path)
    if _is_kenlm(path):
        return open_kenlm(path)
    model = load_cached(path, verify=verify)
    if model is None:
        model = read_arpa(path)
        if _version(path) != before:
            raise DataError(f"{shown(path)}: changed while it was read; try again when it is whole")
        keep(model)
    return model


def model_name(path: Path) -> str:
    """What to call a model: its file; of a folder, such as `charlm/default/best`, three parts."""
    if path.is_dir():
        return "/".join(path.resolve().parts[-3:])
    return path.name


def listed_words(model: "NgramModel | KenlmModel | NeuralModel") -> tuple[str, ...]:
    """The words of a model, for a search through a lexicon of them.

    Raises:
        ModelError: a KenLM binary, which cannot list its words.
    """
    if model.words is None:
        raise ModelError(
            f"{shown(model.source)}: a KenLM binary cannot be searched with a lexicon of its own "
            "words, which it does not list; give --lexicon, or the ARPA file"
        )
    return model.words


def _version(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; none if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _is_kenlm(path: Path) -> bool:
    """Whether it is a KenLM binary; what cannot be read is no such file."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False
