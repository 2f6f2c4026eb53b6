"""Manifests: what is read, what is written, and every fault named with its line, all at once."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.data.manifest import Utterance, missing_audio, read_manifest, write_manifest
from asr.data.text import normalize_text
from asr.errors import DataError

GOOD: dict[str, Any] = {"id": "a", "audio_filepath": "a.wav", "duration": 1.5, "text": "HELLO"}


def manifest(folder: Path, *lines: dict[str, Any] | str | bytes) -> Path:
    path = folder / "train.jsonl"
    encoded = [
        line if isinstance(line, bytes) else
        (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    ]  # fmt: skip
    path.write_bytes(b"".join(line + b"\n" for line in encoded))
    return path


def test_every_field_is_read(tmp_path: Path) -> None:
    full = GOOD | {"offset": 2, "speaker": "anna"}
    assert read_manifest(manifest(tmp_path, full)) == [
        Utterance(
            id="a",
            audio=tmp_path / "a.wav",
            duration=1.5,
            text="HELLO",
            offset=2.0,
            speaker="anna",
        )
    ]


def test_defaults_foreign_keys_and_order(tmp_path: Path) -> None:
    lines = [GOOD | {"id": name, "lang": "en", "pnc": None, "n": [1, {}]} for name in "cab"]
    utterances = read_manifest(manifest(tmp_path, *lines))
    assert [utterance.id for utterance in utterances] == ["c", "a", "b"]
    assert (utterances[0].offset, utterances[0].speaker) == (0.0, None)


def test_an_absolute_path_stays_absolute(tmp_path: Path) -> None:
    path = manifest(tmp_path, GOOD | {"audio_filepath": "/corpus/a.wav"})
    assert read_manifest(path)[0].audio == Path("/corpus/a.wav")


def test_without_an_id_the_path_is_one(tmp_path: Path) -> None:
    entry = {key: value for key, value in GOOD.items() if key != "id"}
    lines = [
        entry | {"audio_filepath": "x/a.wav"},
        entry | {"audio_filepath": "y/a.wav"},
        entry | {"audio_filepath": "y/a.wav", "offset": 12.5},
        entry | {"audio_filepath": "y/a.wav", "offset": 20},
        entry | {"audio_filepath": "odd\nname.wav"},
    ]
    names = [utterance.id for utterance in read_manifest(manifest(tmp_path, *lines))]
    assert names == ["x/a.wav", "y/a.wav", "y/a.wav@12.5", "y/a.wav@20.0", "odd\\nname.wav"]


def test_text_is_normalized_and_may_be_empty(tmp_path: Path) -> None:
    lines = [GOOD | {"text": "  cafe\u0301\u2028au  lait\ufeff "}, GOOD | {"id": "b", "text": ""}]
    texts = [utterance.text for utterance in read_manifest(manifest(tmp_path, *lines))]
    assert texts == ["café au lait", ""]


def test_line_ends_marks_and_separators_inside_text(tmp_path: Path) -> None:
    line = json.dumps(GOOD | {"text": "a\u2028b\x85c"}, ensure_ascii=False).encode()
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\n  \r\n" + line.replace(b'"a"', b'"b"', 1))
    assert [utterance.text for utterance in read_manifest(path)] == ["a b c", "a b c"]


def test_an_empty_manifest_holds_nothing(tmp_path: Path) -> None:
    assert read_manifest(manifest(tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ""}, "'id' is empty or holds control characters"),
        ({"id": "a\tb"}, "'id' is empty or holds control characters"),
        ({"id": 7}, "'id' must be text, got 7"),
        ({"id": None}, "'id' must be text, got null"),
        ({"audio_filepath": ""}, "'audio_filepath' is empty or no file name"),
        ({"audio_filepath": "a\0b"}, "'audio_filepath' is empty or no file name"),
        ({"audio_filepath": "\ud800"}, "'audio_filepath' is empty or no file name"),
        ({"audio_filepath": ["a.wav"]}, r"'audio_filepath' must be text, got \[\"a.wav\"\]"),
        ({"duration": "1.5"}, "'duration' must be a number of seconds, got \"1.5\""),
        ({"duration": True}, "'duration' must be a number of seconds, got true"),
        ({"duration": None}, "'duration' must be a number of seconds, got null"),
        ({"duration": -0.1}, "'duration' must be 0 or more seconds, got -0.1"),
        ({"duration": 10**400}, "'duration' must be 0 or more seconds, got 1000"),
        ({"offset": -3}, "'offset' must be 0 or more seconds, got -3"),
        ({"offset": "0"}, "'offset' must be a number of seconds"),
        ({"text": None}, "'text' must be text, got null"),
        ({"text": 5}, "'text' must be text, got 5"),
        ({"text": "half \ud83d"}, "'text' holds half a surrogate pair"),
        ({"speaker": 3}, "'speaker' must be text, got 3"),
        ({"speaker": "x" * 3, "text": {"a": "b" * 99}}, "'text' must be text, got .{57}\\.\\.\\."),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"train\.jsonl:2: {message}"):
        read_manifest(manifest(tmp_path, GOOD | {"id": "first"}, GOOD | change))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON: .* at character 2"),
        ("plain text", "not JSON: Expecting value at character 1"),
        ("[1, 2]", r"must be an object with keys, got \[1, 2\]"),
        ('"text"', 'must be an object with keys, got "text"'),
        ('{"duration": NaN}', "NaN is not a number that JSON has"),
        ('{"duration": -Infinity}', "-Infinity is not a number that JSON has"),
        ('{"text": "a", "text": "b"}', "'text' is given twice"),
        ('{"a": {"b": 1, "b": 2}}', "'b' is given twice"),
        (b'{"text": "caf\xe9"}', r"byte 14 of the line \(0xe9\) is not UTF-8"),
        ('{"duration": ' + "9" * 5000 + "}", "a number or a nesting that is too long"),
        ('{"a": ' + "[" * 30_000 + "]" * 30_000 + "}", "a number or a nesting that is too long"),
        ('{"duration": 1e999}', "'duration' must be 0 or more seconds, got Infinity"),
        ("{}", "'audio_filepath' is missing; 'duration' is missing; 'text' is missing$"),
        ('{"a": "' + "x" * 65_600 + '"}', "65609 bytes; an utterance has at most 65536"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=rf"train\.jsonl:1: .*{message}"):
        read_manifest(manifest(tmp_path, line, GOOD))


def test_all_problems_of_all_lines_are_listed(tmp_path: Path) -> None:
    path = manifest(
        tmp_path,
        GOOD,
        "no json",
        GOOD,
        GOOD | {"id": "b", "duration": -1, "text": 3},
        GOOD | {"id": "c"},
        b"\xff",
    )
    with pytest.raises(DataError) as caught:
        read_manifest(path)
    assert str(caught.value).split("\n") == [
        f"{path}:2: not JSON: Expecting value at character 1",
        f"{path}:3: the id 'a' is already used in line 1",
        f"{path}:4: 'duration' must be 0 or more seconds, got -1; 'text' must be text, got 3",
        f"{path}:6: byte 1 of the line (0xff) is not UTF-8; save the file as UTF-8",
    ]


def test_very_many_problems_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_manifest(manifest(tmp_path, *["x"] * 57))
    lines = str(caught.value).split("\n")
    assert len(lines) == 21
    assert lines[-1] == "and 37 more"
    with pytest.raises(DataError) as caught:
        read_manifest(manifest(tmp_path, *["x"] * 20))
    assert len(str(caught.value).split("\n")) == 20


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: cannot be read: No such file"):
        read_manifest(tmp_path / "absent.jsonl")


def utterance(name: str, audio: Path, **more: Any) -> Utterance:
    return Utterance(id=name, audio=audio, **({"duration": 1.0, "text": "x"} | more))


def test_what_is_written_is_moved_with_its_folder(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    inside, outside = old / "wav" / "a.wav", tmp_path / "elsewhere" / "b.wav"
    write_manifest(old / "m.jsonl", [utterance("a", inside), utterance("b", outside)])
    lines = [json.loads(line) for line in (old / "m.jsonl").read_text("utf-8").splitlines()]
    assert [line["audio_filepath"] for line in lines] == ["wav/a.wav", str(outside)]
    old.rename(new)
    assert [entry.audio for entry in read_manifest(new / "m.jsonl")] == [
        new / "wav" / "a.wav",
        outside,
    ]


def test_relative_paths_are_relative_to_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest(Path("data/m.jsonl"), [utterance("a", Path("data/a.wav"))])
    assert read_manifest(Path("data/m.jsonl"))[0].audio == Path("data/a.wav")
    write_manifest(Path("data/m.jsonl"), [utterance("a", Path("corpus/a.wav"))])
    assert read_manifest(Path("data/m.jsonl"))[0].audio == tmp_path / "corpus" / "a.wav"


def test_only_what_is_known_is_written(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_manifest(path, [utterance("é", tmp_path / "é.wav", text="ÄÖ")])
    expected = '{"id": "é", "audio_filepath": "é.wav", "duration": 1.0, "text": "ÄÖ"}\n'
    assert path.read_text("utf-8") == expected


def test_names_that_are_not_utf8_come_back(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    audio = tmp_path / os.fsdecode(b"caf\xe9.wav")
    write_manifest(path, [utterance("a", audio)])
    assert read_manifest(path)[0].audio == audio
    assert path.read_bytes().isascii()


texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(categories=["L", "N", "P"]), min_size=1)
seconds = st.floats(min_value=0, max_value=1e9)


@given(
    entries=st.lists(
        st.tuples(names, names.filter(lambda name: name.strip(".")), seconds, texts, seconds,
                  st.none() | names),
        unique_by=lambda entry: entry[0],
    )
)  # fmt: skip
def test_whatever_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[Any, ...]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "written"
    utterances = [
        Utterance(
            id=name,
            audio=folder / audio.replace("/", "_"),
            duration=duration,
            text=normalize_text(text),
            offset=offset,
            speaker=speaker,
        )
        for name, audio, duration, text, offset, speaker in entries
    ]
    write_manifest(folder / "m.jsonl", utterances)
    assert read_manifest(folder / "m.jsonl") == utterances


def test_what_cannot_be_read_again_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with pytest.raises(ValueError, match=r"ids must be unique, got twice: a$"):
        write_manifest(path, [utterance("a", tmp_path), utterance("a", tmp_path)])
    for change, message in [
        ({"duration": math.nan}, "utterance 'a': 'duration' must be 0 or more seconds, got NaN"),
        ({"offset": math.inf}, "utterance 'a': 'offset' must be 0 or more seconds, got Infinity"),
        ({"text": "\ud800"}, "utterance 'a': 'text' holds half a surrogate pair"),
        ({"speaker": ""}, "utterance 'a': 'speaker' is empty or holds control characters"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_manifest(path, [utterance("a", tmp_path, **change)])
    with pytest.raises(ValueError, match="utterance '': 'id' is empty"):
        write_manifest(path, [utterance("", tmp_path)])
    assert not path.exists()


def test_missing_sound_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "there.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "dangling.wav").symlink_to("nowhere.wav")
    utterances = [
        utterance(str(number), tmp_path / name)
        for number, name in enumerate(
            ["there.wav", "gone.wav", "there.wav", "gone.wav", "folder.wav", "dangling.wav",
             "n" * 300, "absent/x.wav"]
        )
    ]  # fmt: skip
    missing = [entry.id for entry in missing_audio(utterances)]
    assert missing == ["1", "3", "4", "5", "6", "7"]
