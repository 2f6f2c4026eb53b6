"""Made speech in the place of the Wall Street Journal: sentences of a text, spoken by espeak-ng.

    asr prepare recipes/made_wsj --corpus novels.txt.gz     # 5 hours of training speech, or --hours

The text (a sentence a line, English, any case, plain or gzip) gives the sentences, the text for
language models and the dictionary, as the Journal's does. Half of the utterances are put into a
room, all get noise. Sentences and voices of dev and test do not occur in training; their sentences
come from blocks of the text that the language models do not see either. The same text and settings
give the same corpus.

Synthetic: no real voice is in it, and its error rates say nothing about people's speech.
"""

from dataclasses import dataclass
from pathlib import Path

from asr.data.corpus.lm_text import extended_dictionary, write_dictionary, write_lm_text
from asr.data.corpus.prepared import write_splits
from asr.data.corpus.text_blocks import text_files
from asr.data.synthesis import Voice
from asr.data.voices import DEV_VARIANTS, TEST_VARIANTS, TRAIN_VARIANTS, voices
from asr.errors import ConfigError
from asr.lm.text_lines import read_text_lines
from asr.made_speech import (
    PlannedUtterance,
    Report,
    Sound,
    assigned,
    check_ours,
    log_progress,
    mark_complete,
    settings_as_read,
    spoken_splits,
)
from asr.storage import text_hash

from .sentences import RECIPE, Sentences, draw_sentences

CORPUS_FOLDER = "text"
TAKES_FILES = True
HOURS = 5.0
ROUNDS = 3  # in which each throat of the training voices gets another accent, pitch and pace


@dataclass(frozen=True, kw_only=True)
class CorpusSettings(Sound):
    """What the corpus is made from; another value makes another corpus."""

    num_dev: int = 300
    num_test: int = 500
    seed: int = 1


SETTINGS = CorpusSettings()


def prepare(
    corpus: list[Path],
    out: Path,
    *,
    hours: float = HOURS,
    settings: CorpusSettings = SETTINGS,
    report: Report = log_progress,
) -> None:
    """Make wav/, train.jsonl, dev.jsonl, test.jsonl, lm.txt.gz and dictionary.txt in `out`.

    A complete corpus of the same text and settings is kept, one that was interrupted is completed;
    anything else that this recipe made there is made again. No other process may use `out`.

    Args:
        corpus: text files, and folders of them.
        out: folder of the corpus; 115 MB an hour, and the text.
        hours: of training speech, about.
        settings: sizes of dev and test, and sound.
        report: told after each utterance how many of how many are done.

    Raises:
        ConfigError: hours that are none.
        DataError: no text, too little of it, `out` holds other files, or no voices are installed.
        ResourceError: the disk is full or not writable.
    """
    if not 0 < hours < float("inf"):
        raise ConfigError(f"--hours {hours:g}: must be above 0")
    check_ours(out, RECIPE)
    text = read_text_lines(text_files(corpus, RECIPE), "upper")
    sentences = draw_sentences(
        text,
        hours=hours,
        num_dev=settings.num_dev,
        num_test=settings.num_test,
        seed=settings.seed,
    )
    planned = plan(sentences, settings)
    identity = _identity(planned, settings)
    splits = spoken_splits(out, planned, settings, identity, report)
    counts = write_lm_text(out, sentences.lm_lines())
    dictionary = extended_dictionary(counts)
    write_dictionary(out, dictionary)
    notes = [
        "synthetic: speech made by espeak-ng, no real voice is in it",
        f"lm.txt.gz: {counts.total():,} words for language models; dictionary.txt: "
        f"{len(dictionary):,} words",
    ]
    if sentences.unusable:
        notes.append(
            f"{sentences.unusable:,} lines of the text left out: digits, or letters outside A to Z"
        )
    write_splits(out, splits, notes=notes)
    mark_complete(out, identity)


def plan(sentences: Sentences, settings: CorpusSettings) -> dict[str, list[PlannedUtterance]]:
    """Who says what in each of train, dev and test."""
    said = {"train": sentences.train, "dev": sentences.dev, "test": sentences.test}
    return {
        name: assigned(said[name], speakers, name=name, draws=(settings.seed, number))
        for number, (name, speakers) in enumerate(speakers_of_sets().items())
    }


def speakers_of_sets() -> dict[str, list[Voice]]:
    """The voices of each set; no throat is in two of them."""
    return {
        "train": voices(TRAIN_VARIANTS * ROUNDS),
        "dev": voices(DEV_VARIANTS),
        "test": voices(TEST_VARIANTS),
    }


def _identity(
    planned: dict[str, list[PlannedUtterance]], settings: CorpusSettings
) -> dict[str, object]:
    """What must be the same for a corpus to be the same; as JSON gives it back."""
    return {"settings": settings_as_read(settings), "plan": text_hash(repr(planned))}
