"""The transcripts of WSJ: `*.dot` files, lines `WORDS (UTTERANCE)`, made into what is learnt.

They are detailed: noises in brackets, words that the prompt does not have, wrong pronunciations.
What becomes of it is what the field does. Verbalised punctuation (`,COMMA`, `"DOUBLE-QUOTE`) is
spoken, and stays as it is written, with its mark.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr.data.text import normalize_text, read_byte_lines, words
from asr.errors import DataError, shown

from .discs import Discs, Entry

CHARACTERS = frozenset(" ABCDEFGHIJKLMNOPQRSTUVWXYZ'-.,\"&()/:;?!%{}")  # 43: README.md says why
MAX_NAMED = 5  # utterances in a message

_LINE = re.compile(r"(.*?)\s*\(\s*([^\s()]+)\s*\)")
_NOISE = re.compile(r"\[[^][ ]*\]")  # [DOOR_SLAM], [<DOOR_SLAM], [DOOR_SLAM>], [PHONE_RING/]
_MISPRONOUNCED = re.compile(r"\*([^* ]+)\*")
_DELETED = re.compile(r"<([^<> ]+)>")  # struck out of the prompt, but spoken
_SPELT = {"%PERCENT": "PERCENT", ".POINT": "POINT", "--DASH": "-DASH", "~": "", ".": ""}


@dataclass(frozen=True, slots=True)
class DotLine:
    """A transcript as it stands in a `.dot` file.

    Attributes:
        key: the file, by its path from `wsj0` or `wsj1` on.
        source: the file and the line, for messages.
        text: the words, not normalised.
    """

    key: str
    source: str
    text: str


@dataclass
class DotFiles:
    """What the `.dot` files say of the utterances that were asked for.

    Attributes:
        lines: utterance → its lines, in the order of the files.
        foreign: places of lines of another form.
    """

    lines: dict[str, list[DotLine]] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Transcripts:
    """Texts that can be learnt, and what a person should know of them.

    Attributes:
        texts: utterance → words in the 43 characters; none of an utterance without words.
        notes: what was taken out, and what was doubtful.
    """

    texts: Mapping[str, str]
    notes: tuple[str, ...]


def spoken(transcript: str) -> str:
    """A transcript as it is spoken, in upper case, before characters outside the 43 are taken out.

    Backslashes (quoting), noises, `~` (the utterance is cut off) and a lone `.` (a pause) go;
    `<word>` (struck out of the prompt, but spoken) and `*word*` (mispronounced) lose their marks;
    `%PERCENT`, `.POINT` and `--DASH` become PERCENT, POINT and -DASH.
    """
    text = _NOISE.sub(" ", normalize_text(transcript.replace("\\", ""), "upper"))
    text = _DELETED.sub(r"\1", _MISPRONOUNCED.sub(r"\1", text))
    plain = (_SPELT.get(word, word) for word in words(text))
    return " ".join(word for word in plain if word)


def read_transcripts(discs: Discs, entries: Sequence[Entry]) -> Transcripts:
    """The text of every entry but those in which nothing is said; a note names these.

    Raises:
        DataError: entries without a transcript.
    """
    found = read_dot_files(discs.matching(r"wsj[01]/.*\.dot"), {entry.id for entry in entries})
    missing = [entry for entry in entries if entry.id not in found.lines]
    if missing:
        raise DataError(_missing(discs, missing, found.foreign))
    taken_out: Counter[str] = Counter()
    texts, doubtful, empty = {}, [], []
    for entry in entries:
        line = nearest(found.lines[entry.id], entry)
        if len({spoken(other.text) for other in found.lines[entry.id]}) > 1:
            doubtful.append(f"{entry.id} ({shown(line.source)} was taken)")
        text, outside = _within(spoken(line.text))
        taken_out += outside
        if text:
            texts[entry.id] = text
        else:
            empty.append(f"{entry.id} ({shown(line.source)})")
    notes = (*_empty_note(empty), *_outside_note(taken_out), *_doubtful_note(doubtful))
    return Transcripts(texts, notes)


def read_dot_files(files: Iterable[tuple[str, Path]], wanted: set[str]) -> DotFiles:
    """The lines of `.dot` files that belong to `wanted` utterances.

    Raises:
        DataError: a file that cannot be read.
    """
    found = DotFiles()
    for key, path in files:
        for number, line in read_byte_lines(path):
            text = line.decode("latin-1").strip(" \t\x1a")  # some discs end files as DOS does
            match = _LINE.fullmatch(text)
            if match is None:
                found.foreign += [f"{path}:{number}"] if text else []
            elif (identifier := match[2].lower()) in wanted:
                line_found = DotLine(key, f"{path}:{number}", match[1])
                found.lines.setdefault(identifier, []).append(line_found)
    return found


def nearest(lines: Sequence[DotLine], entry: Entry) -> DotLine:
    """Of several transcripts of an utterance, the one for its set (`si_tr_s`), or the first."""
    of_set = "/".join(entry.name.split("/")[1:2])
    return next((line for line in lines if f"/{of_set}/" in line.key), lines[0])


def _within(text: str) -> tuple[str, Counter[str]]:
    """`text` in the 43 characters, and how often each other one was taken out."""
    if CHARACTERS.issuperset(text):
        return text, Counter()
    kept = "".join(character for character in text if character in CHARACTERS)
    outside = Counter(character for character in text if character not in CHARACTERS)
    return normalize_text(kept), outside


def _missing(discs: Discs, missing: Sequence[Entry], foreign: Sequence[str]) -> str:
    names = _named([f"{entry.id} ({shown(entry.source)})" for entry in missing])
    unread = f"; {len(foreign)} lines are not WORDS (UTTERANCE), such as " if foreign else ""
    return (
        f"{discs.place}: {len(missing)} utterances have no transcript in a .dot file: {names}"
        f"{unread}{shown(''.join(foreign[:1]))}; give the folders of all discs with --corpus"
    )


def _named(utterances: Sequence[str]) -> str:
    more = len(utterances) - MAX_NAMED
    return ", ".join(utterances[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _empty_note(empty: Sequence[str]) -> list[str]:
    if not empty:
        return []
    return [f"left out, since nothing but noises is in their transcripts: {', '.join(empty)}"]


def _outside_note(taken_out: Counter[str]) -> list[str]:
    if not taken_out:
        return []
    kinds = ", ".join(f"{count} × '{shown(kind)}'" for kind, count in taken_out.most_common())
    return [f"taken out of the transcripts, since outside the 43 characters: {kinds}"]


def _doubtful_note(doubtful: Sequence[str]) -> list[str]:
    if not doubtful:
        return []
    return [f"{len(doubtful)} utterances have several different transcripts: {_named(doubtful)}"]
