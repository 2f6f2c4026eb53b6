"""TIMIT: 630 people of eight dialect regions of the United States read ten sentences each, 16 kHz.

Every sentence comes with its phones and their times. Texts here are these 61 phones, as they stand
in the .PHN file, silences at both ends included; that 39 are told apart, and some not counted, is a
matter of scoring (`[scoring]` of the recipes). The folders of the disc, by speaker:

    TIMIT/TRAIN/DR1/FCJF0/SI1027.WAV    NIST SPHERE; copies as RIFF or FLAC do as well
    TIMIT/TRAIN/DR1/FCJF0/SI1027.PHN    0 3050 h#
                                        3050 5723 sh

Found by content, whatever the case of the names, one or several folders further down, with the
version of ISO 9660 at the end of names (SI1027.WAV;1), or as SI1027.WAV.wav.

Train are the 462 speakers of the folder TRAIN. Of those in TEST, the 24 of the core test set are
the test, and 50 others the development set that the literature uses; the rest is left out. So are
the SA sentences, two that everybody reads: heard in training, they would be easy in the test.

Licence: of the Linguistic Data Consortium (LDC93S1), for money. So TIMIT is not downloaded.
(Garofolo, Lamel, Fisher, Fiscus, Pallett, Dahlgren and Zue, 1993.)
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.data.corpus.prepared import write_splits
from asr.data.corpus.published import check_counts
from asr.data.corpus.recordings import (
    FolderTree,
    Problem,
    Recording,
    counted,
    problems_error,
    utterances_of,
)
from asr.data.text import read_lines, words
from asr.errors import DataError, shown

COUNTS = {"train": 3696, "dev": 400, "test": 192}
DEV_SPEAKERS = frozenset(
    words(
        "faks0 fdac1 fjem0 mgwt0 mjar0 mmdb1 mmdm2 mpdf0 fcmh0 fkms0 mbdg0 mbwm0 mcsh0 fadg0 fdms0 "
        "fedw0 mgjf0 mglb0 mrtk0 mtaa0 mtdt0 mthc0 mwjg0 fnmr0 frew0 fsem0 mbns0 mmjr0 mdls0 mdlf0 "
        "mdvc0 mers0 fmah0 fdrw0 mrcs0 mrjm4 fcal1 mmwh0 fjsj0 majc0 mjsw0 mreb0 fgjd0 fjmg0 mroa0 "
        "mteb0 mjfc0 mrjr0 fmml0 mrws1"
    )
)
TEST_SPEAKERS = frozenset(
    words(
        "mdab0 mwbt0 felc0 mtas1 mwew0 fpas0 mjmp0 mlnt0 fpkt0 mlll0 mtls0 fjlm0 mbpm0 mklt0 fnlp0 "
        "mcmj0 mjdh0 fmgd0 mgrt0 mnjm0 fdhc0 mjln0 mpam0 fmld0"
    )
)
PHONES = frozenset(
    words(
        "aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# "
        "hh hv ih ix iy jh k kcl l m n ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh"
    )
)
LICENCE = (
    "TIMIT is not downloaded: it needs a licence (LDC93S1 of the Linguistic Data Consortium, "
    "catalog.ldc.upenn.edu/LDC93S1); give the folder of the unpacked disc with --corpus DIR, or "
    "put it at $ASR_CORPORA/timit"
)
SENTENCE = re.compile(r"(s[aix]\d+)(\.phn|(?:\.(?:wav|sph|flac))+)(?:\.?;\d+)?")
SEGMENT = re.compile(r"(\d+)[ \t]+(\d+)[ \t]+(\S+)[ \t]*")
ADVICE = "copy the disc again"


@dataclass(frozen=True)
class Sentence:
    """What lies in the folder of one sentence of one speaker.

    Attributes:
        phones: the .PHN file; none: there is no such file.
        audio: the sound file; none: there is no such file.
        in_train: whether it is below TRAIN, not TEST.
        speaker: such as "fcjf0".
        name: such as "si1027".
    """

    phones: Path | None
    audio: Path | None
    in_train: bool
    speaker: str
    name: str

    @property
    def place(self) -> Path:
        """One of its files."""
        return next(path for path in (self.phones, self.audio) if path is not None)


def prepare(
    corpus: list[Path],
    out: Path,
    *,
    counts: Mapping[str, int] = COUNTS,
    dev_speakers: Collection[str] = DEV_SPEAKERS,
    test_speakers: Collection[str] = TEST_SPEAKERS,
) -> None:
    """Write train.jsonl, dev.jsonl and test.jsonl.

    Args:
        corpus: folders that hold TIMIT.
        out: folder of the manifests.
        counts: utterances that each set must have.
        dev_speakers: of the development set, out of TEST.
        test_speakers: of the test set, likewise.

    Raises:
        DataError: no folder given, or one without TIMIT, incomplete or damaged.
    """
    if not corpus:
        raise DataError(LICENCE)
    sentences = find_sentences(corpus)
    sets = {
        "train": [one for one in sentences if one.in_train],
        "dev": of_speakers(sentences, dev_speakers),
        "test": of_speakers(sentences, test_speakers),
    }
    used = {name: [one for one in found if one.name[:2] != "sa"] for name, found in sets.items()}
    check_complete(corpus[0], used, {"dev": dev_speakers, "test": test_speakers}, counts)
    problems: list[Problem] = []
    recordings = {name: read_sentences(found, problems) for name, found in used.items()}
    if problems:
        raise problems_error(corpus[0], problems, ADVICE)
    splits = {name: utterances_of(found, corpus[0]) for name, found in recordings.items()}
    write_splits(out, splits, notes=left_out(sentences, sets, used))


def find_sentences(folders: Sequence[Path]) -> list[Sentence]:
    """All sentences below TRAIN and TEST folders, by speaker and name.

    Raises:
        DataError: there are none, or one is there twice.
    """
    files: dict[tuple[str, str, str], dict[Path, dict[str, Path]]] = {}
    for folder in folders:
        tree = FolderTree.of(folder)
        for path in (*tree.audio, *tree.others):
            match, side = SENTENCE.fullmatch(path.name.lower()), side_of(path, tree.folder)
            if match and side:
                places = files.setdefault((side, path.parent.name.lower(), match[1]), {})
                places.setdefault(path.parent, {})[match[2]] = path
    if not files:
        given = ", ".join(map(shown, folders))
        raise DataError(
            f"{given}: no TIMIT in it, such as TRAIN/DR1/FCJF0/SI1027.PHN beside SI1027.WAV; give "
            "the folder of the unpacked disc"
        )
    return [sentence_of(*key, found) for key, found in sorted(files.items())]


def side_of(path: Path, root: Path) -> str:
    """The nearest folder above a file's speaker that is called train or test; else empty."""
    above = path.relative_to(root.parent).parts[:-2]
    return next((part.lower() for part in above[::-1] if part.lower() in ("train", "test")), "")


def sentence_of(
    side: str, speaker: str, name: str, places: Mapping[Path, Mapping[str, Path]]
) -> Sentence:
    """A sentence of its files, by folder and suffix; of several sound files the original.

    Raises:
        DataError: they lie in several folders.
    """
    first, *more = sorted(places)
    if more:
        raise DataError(
            f"{shown(first)}: {speaker}_{name} is in {shown(more[0])} too; give the folder of one "
            "copy of TIMIT"
        )
    files = dict(places[first])
    phones = files.pop(".phn", None)
    # A copy beside the original is called SI1027.WAV.wav or SI1027.flac.
    audio = files[min(files, key=lambda suffix: (suffix != ".wav", suffix))] if files else None
    return Sentence(phones, audio, side == "train", speaker, name)


def of_speakers(sentences: Sequence[Sentence], speakers: Collection[str]) -> list[Sentence]:
    """The sentences of TEST that these speakers say."""
    return [one for one in sentences if not one.in_train and one.speaker in speakers]


def check_complete(
    corpus: Path,
    used: Mapping[str, Sequence[Sentence]],
    speakers: Mapping[str, Collection[str]],
    counts: Mapping[str, int],
) -> None:
    """Return when every set has its speakers and sentences.

    Raises:
        DataError: speakers that are missing, or sets of another size.
    """
    for name, wanted in speakers.items():
        missing = sorted(set(wanted) - {one.speaker for one in used[name]})
        if missing:
            raise DataError(
                f"{shown(corpus)}: {name} lacks {counted(len(missing), 'speaker')} in TEST: "
                f"{', '.join(missing)}; {ADVICE}"
            )
    found_counts = {name: len(found) for name, found in used.items()}
    check_counts(corpus, found_counts, counts, remedy="copy the disc again")


def read_sentences(sentences: Sequence[Sentence], problems: list[Problem]) -> list[Recording]:
    """The recordings of sentences with their phones; what is wrong with the others is listed."""
    recordings = []
    for one in sentences:
        if one.phones is None or one.audio is None:
            lacking = "phones (.PHN)" if one.phones is None else "recording (.WAV)"
            problems.append(Problem(str(one.place), f"has no {lacking} beside it"))
            continue
        recordings.append(
            Recording(
                id=f"{one.speaker}_{one.name}",
                audio=one.audio,
                text=" ".join(read_phones(one.phones, problems)),
                speaker=one.speaker,
                source=str(one.phones),
            )
        )
    return recordings


def read_phones(path: Path, problems: list[Problem]) -> list[str]:
    """The phones of a .PHN file in order; lines of another form and other phones are listed."""
    phones = []
    for number, line in read_lines(path):
        match = SEGMENT.fullmatch(line)
        if match is None or int(match[1]) > int(match[2]):
            problems.append(Problem(f"{path}:{number}", "needs: BEGIN END PHONE"))
        elif match[3] not in PHONES:
            reason = f"'{shown(match[3])}' is none of TIMIT's 61 phones"
            problems.append(Problem(f"{path}:{number}", reason))
        else:
            phones.append(match[3])
    return phones


def left_out(
    sentences: Sequence[Sentence],
    sets: Mapping[str, Sequence[Sentence]],
    used: Mapping[str, Sequence[Sentence]],
) -> list[str]:
    """What is there and in no set, for the notes of the manifests."""
    chosen = [one for found in sets.values() for one in found]
    others = {one.speaker for one in sentences} - {one.speaker for one in chosen}
    sa = len(chosen) - sum(map(len, used.values()))
    rest = len(sentences) - len(chosen)
    return [
        f"left out as usual: {sa} SA sentences, which everybody reads, and "
        f"{counted(rest, 'sentence')} of {counted(len(others), 'speaker')} of TEST in neither dev "
        "nor test"
    ]
