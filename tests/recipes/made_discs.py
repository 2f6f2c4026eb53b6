"""Made discs of WSJ0 and WSJ1: the files that the preparation needs, in several layouts.

What they hold is a table of keys (paths from `wsj0` or `wsj1` on) and contents, `files`, which a
test may change before `lay_out` writes it as somebody would keep it.
"""

import functools
import gzip
import io
from collections.abc import Mapping
from pathlib import Path

import soundfile

from tests.data.audio.sounds import RATE, integers, shorten, sphere, voice

COUNTS = {"si84": 4, "si284": 6, "dev93": 2, "eval92": 2}
TRAIN_NDX = "wsj0/doc/indices/train/tr_s_wv1.ndx"
WSJ1_NDX = "wsj1/doc/indices/si_tr_s.ndx"
DEV_NDX = "wsj1/doc/indices/h1_p0.ndx"
TEST_NDX = "wsj0/doc/indices/test/nvp/si_et_20.ndx"
NP_DATA = "wsj1/doc/lng_modl/lm_train/np_data"
VOCAB = "wsj1/doc/lng_modl/vocab"

# Name without suffix → the disc by the lists, and what is said, as the .dot files have it.
SPEECH = {
    "wsj0/si_tr_s/01i/01ic0201": ("11_1_1", "The bank fell [loud_breath] ~"),
    "wsj0/si_tr_s/01i/01ic0202": ("11_1_1", "The bank rose ,COMMA Mr. Bell said .PERIOD"),
    "wsj0/si_tr_s/01j/01jc0201": ("11_1_1", "A *bond* <fell>"),
    "wsj0/si_tr_s/01j/01jc0202": ("11_2_1", "Mr. Bell sold a bond"),
    "wsj1/si_tr_s/46c/46cc0201": ("13_1_1", "The bond rose"),
    "wsj1/si_tr_s/46c/46cc0202": ("13_1_1", "A bank sold a bond"),
    "wsj1/si_dt_20/4k0/4k0c0301": ("13_32_1", "The bank sold"),  # the list names a wrong disc
    "wsj1/si_dt_20/4k0/4k0c0302": ("13_33_1", "Mr. Bell rose"),
    "wsj0/si_et_20/440/440c0201": ("11_14_1", "A bond fell"),
    "wsj0/si_et_20/440/440c0202": ("11_14_1", "The bank fell"),
}
DISC_OF_TEXT = {"wsj0/doc": "11_13_1", "wsj1/doc": "13_34_1", NP_DATA: "13_32_1"}

SENTENCES = """\
<s id="w7_001.1">
the bank fell and a bond rose. mr. bell
sold the bank
</s>
<s id="w7_001.2">
a bond fell
</s>
"""
INLINE = "<art>\n<p>\n<s> the bank rose </s>\n<s> mr. bell sold a bond </s>\n</p>\n"
LINES = "a bank sold\nzymurgy 12 and and\n"


def files() -> dict[str, bytes]:
    """Key → content of all made files."""
    made = {f"{name}.wv1": recording(i % 2 == 0) for i, name in enumerate(SPEECH)}
    made |= {f"{name}.wv2": b"another microphone" for name in SPEECH}
    made |= {key: text.encode() for key, text in {**_dots(), **_lists()}.items()}
    made[f"{VOCAB}/wlist20o.nvp"] = b"# the 20 000\nA\nTHE\nBANK\nBELL\nBOND\nMR.\nROSE\nUNSEEN\n"
    made[f"{VOCAB}/wfl_64.lst"] = b"; count and word\n12 THE\nCORP. 3\n"
    made[f"{NP_DATA}/87/w7_001.z"] = gzip.compress(SENTENCES.encode())
    made[f"{NP_DATA}/88/w8_001.z"] = compress(INLINE.encode())
    made[f"{NP_DATA}/89/w9_001.z"] = compress(LINES.encode())
    return made


def lay_out(root: Path, layout: str, made: Mapping[str, bytes] | None = None) -> list[Path]:
    """Write the files as somebody keeps them; the folders to give to --corpus."""
    for key, content in (files() if made is None else made).items():
        path = root / _place(layout, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {
        "published": [root / "csr_1", root / "csr_2_comp"],
        "underscores": [root],
        "merged": [root / "wsj0", root / "wsj1"],
        "mounted": [root / "CDROM"],
    }[layout]


@functools.cache
def recording(packed: bool, seconds: float = 0.6) -> bytes:
    """A SPHERE file: packed by shorten, as the discs have them, or plain."""
    samples = integers(voice(seconds))
    if packed:
        return sphere(samples, "pcm,embedded-shorten-v1.09", shorten(samples))
    return sphere(samples, "pcm", samples.astype("<i2").tobytes())


def converted(suffix: str) -> bytes:
    """The same sound as FLAC or WAV."""
    buffer = io.BytesIO()
    soundfile.write(buffer, integers(voice(0.6)), RATE, format=suffix[1:].upper())
    return buffer.getvalue()


def compress(data: bytes, max_width: int = 16) -> bytes:
    """`data` as Unix `compress` writes it: LZW, codes of 9 to `max_width` bits, low bits first."""
    codes = {bytes([byte]): byte for byte in range(256)}
    packed = bytearray([0x1F, 0x9D, 0x80 | max_width])
    width, next_code = 9, 257  # 256 clears the table, which is never needed here
    bits = num_bits = in_group = 0

    def put(code: int) -> None:
        nonlocal bits, num_bits, in_group
        bits |= code << num_bits
        num_bits += width
        in_group = (in_group + 1) % 8
        while num_bits >= 8:
            packed.append(bits & 255)
            bits >>= 8
            num_bits -= 8

    word = b""
    for byte in data:
        longer = word + bytes([byte])
        if longer in codes:
            word = longer
            continue
        put(codes[word])
        if next_code < 1 << max_width:
            codes[longer] = next_code
            next_code += 1
            if next_code > 1 << width and width < max_width:
                while in_group:  # codes of one width come in groups of eight
                    put(0)
                width += 1
        word = bytes([byte])
    put(codes[word])
    if num_bits:
        packed.append(bits & 255)
    return bytes(packed)


def _dots() -> dict[str, str]:
    """A .dot file for each speaker and session, in a folder of transcripts."""
    dots: dict[str, str] = {}
    for name, (_, text) in SPEECH.items():
        root, of_set, speaker, identifier = name.split("/")
        key = f"{root}/transcrp/dots/{of_set}/{speaker}/{identifier[:6]}00.dot"
        dots[key] = dots.get(key, "") + f"{text} ({identifier})\n"
    return dots


def _lists() -> dict[str, str]:
    def lines(place: str, *, suffix: str = ".wv1", space: str = "") -> str:
        return "".join(
            f"{disc}:{space}{name}{suffix}\n"
            for name, (disc, _) in SPEECH.items()
            if name.startswith(place)
        )

    of_401 = "".join(f"11_2_1:wsj0/si_tr_s/401/401c020{i}.wv1\n" for i in (1, 2))
    return {
        TRAIN_NDX: f"; si84\n;\n{lines('wsj0/si_tr_s')}{of_401}",
        WSJ1_NDX: lines("wsj1/si_tr_s", space=" /").upper(),
        DEV_NDX: "; hub 1\n" + lines("wsj1/si_dt_20", space=" /"),
        TEST_NDX: lines("wsj0/si_et_20", suffix=""),
    }


def _place(layout: str, key: str) -> str:
    if layout == "merged":
        return key
    if layout == "mounted":
        return f"CDROM/{key.upper()};1"
    name = key.rpartition(".")[0]
    disc = SPEECH[name][0] if name in SPEECH else _disc_of(key)
    first, middle, last = disc.replace("13_32_1", "13_33_1" if name in SPEECH else disc).split("_")
    if layout == "underscores":
        return f"{first}_{middle}.{last}/{key}"
    part = "csr_1" if first == "11" else "csr_2_comp"
    return f"{part}/{first}-{middle}.{last}/{key}"


def _disc_of(key: str) -> str:
    places = [place for place in DISC_OF_TEXT if key.startswith(place)]
    return DISC_OF_TEXT[max(places, key=len)] if places else "11_4_1" if "wsj0" in key else "13_2_1"
