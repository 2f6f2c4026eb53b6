"""Which search a user asks for: checked, reported, and built for a recogniser.

Whatever is wrong or doubtful about a language model is said here, since a search with the wrong one
runs without complaint and only makes more errors: its order, size and case, the share of the
training text that it knows, and every option that would have no effect.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from asr.bundle import Bundle, Tuning
from asr.compiled import is_kept
from asr.data.labels import Labels, labels_of
from asr.decoding.batch import Decoder, best_path_decoder
from asr.decoding.beam import BeamLimits, BeamSearch
from asr.decoding.beam_results import outcome
from asr.decoding.confidence import Calibration
from asr.decoding.fused_search import FusedSearch
from asr.decoding.fusion import Fusion
from asr.decoding.hotwords import read_hotwords
from asr.decoding.lexicon import read_lexicon
from asr.decoding.lm_fit import describe_lm
from asr.decoding.pyctcdecode_decoder import PyctcdecodeDecoder
from asr.decoding.transducer import TransducerLimits, TransducerSearch
from asr.decoding.transducer_kernel import take_turn
from asr.decoding.transducer_networks import TransducerNetworks
from asr.errors import ConfigError, shown
from asr.lm.kenlm_binary import KenlmModel
from asr.lm.loading import load_lm
from asr.lm.ngram import NgramModel
from asr.lm.protocol import StepwiseModel
from asr.models.speech import SpeechModel
from asr.models.transducer import TransducerModel
from asr.storage import file_hash

Say = Callable[[str], None]
LimitsT = TypeVar("LimitsT", BeamLimits, TransducerLimits)
LanguageModel = NgramModel | StepwiseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How to decode; with nothing set the best path is taken.

    Attributes:
        lm: a language model: ARPA, plain or gzip, or the folder of a neural one.
        lexicon: a text file of the only words that may be said, one a line.
        hotwords: a text file of words and phrases, each with a weight after a tab.
        lm_weight: factor of the language model; None: as tuned for this recogniser, else 0.5.
        word_bonus: nats for every word; None: as tuned, else 0.
        unknown_penalty: nats, before the weight, for a word that the language model does not know;
            None: as when the weights were tuned, else 10.
        lm_unit: what the words of the language model are; None: words, of a neural one labels.
        fusion: how it counts; None: shallow.
        beam_size: prefixes kept after a frame; None: 100, and 16 of a transducer.
        beam_threshold, token_threshold: see `decoding.beam.BeamLimits`.
        max_symbols_per_frame: of a transducer, see `decoding.transducer.TransducerLimits`.
        engine: who searches: ours, or pyctcdecode for comparison.
    """

    lm: Path | None = None
    lexicon: Path | None = None
    hotwords: Path | None = None
    lm_weight: float | None = None
    word_bonus: float | None = None
    unknown_penalty: float | None = None
    lm_unit: Literal["word", "token"] | None = None
    fusion: Literal["shallow", "prior"] | None = None
    beam_size: int | None = None
    beam_threshold: float | None = None
    token_threshold: float | None = None
    max_symbols_per_frame: int | None = None
    engine: Literal["asr", "pyctcdecode"] = "asr"

    def is_greedy(self) -> bool:
        """Whether nothing asks for a search."""
        return self == Decoding()


def build_decoder(decoding: Decoding, bundle: Bundle, model: SpeechModel, say: Say) -> Decoder:
    """The decoder of a recogniser.

    Args:
        decoding: what was asked for.
        bundle: the recogniser.
        model: its network, in evaluation mode.
        say: is given lines about the language model.

    Raises:
        ConfigError: an option that would have no effect, or is out of range.
        DataError: a file that cannot be used, or a language model that does not fit.
    """
    if decoding.is_greedy():
        return best_path_decoder(model, bundle.tokenizer)
    return build_search(
        decoding,
        labels_of(bundle.tokenizer.pieces, bundle.tokenizer.symbols),
        say,
        vocabulary=bundle.vocabulary,
        tunings=bundle.tunings,
        networks=networks_of(model),
    )


def networks_of(model: SpeechModel) -> TransducerNetworks | None:
    """What a search has to ask of a model; None: its outputs say it all."""
    return model if isinstance(model, TransducerModel) else None


def build_search(
    decoding: Decoding,
    labels: Labels,
    say: Say,
    *,
    vocabulary: Mapping[str, int],
    tunings: Sequence[Tuning] | None = None,
    networks: TransducerNetworks | None = None,
) -> FusedSearch | PyctcdecodeDecoder:
    """The search over any labels; errors as for `build_decoder`.

    Args:
        decoding: what was asked for.
        labels: of the model.
        say: is given lines about the language model.
        vocabulary: how often each word occurs in the training text; empty: not known.
        tunings: weights that were tuned for these labels' recogniser, so that it is said which
            count; None: there is no recogniser, or they are being tuned.
        networks: of a transducer; None: the search is of what CTC models put out.
    """
    check_effects(decoding)
    _check_kind(decoding, networks)
    lm = _load(decoding.lm) if decoding.lm is not None else None
    if lm is not None and not isinstance(lm, NgramModel):
        decoding = _of_labels(decoding, lm)
    lexicon = read_lexicon(decoding.lexicon) if decoding.lexicon is not None else None
    hotwords = read_hotwords(decoding.hotwords) if decoding.hotwords is not None else []
    tuned = _tuned(decoding, lm, tunings or ())
    try:
        fusion = _fusion(decoding, tuned)
        of_ctc = _limits(decoding, BeamLimits)
        of_transducer = _limits(decoding, TransducerLimits)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if lm is not None:
        for line in describe_lm(lm, fusion.unit, vocabulary):
            say(line)
        if tunings is not None:
            others = [other for other in tunings if other.lm_sha256 == lm.sha256()]
            say(_tuned_line(fusion, tuned, others))
    if decoding.engine == "pyctcdecode":
        return PyctcdecodeDecoder(labels, decoding.lm, fusion, of_ctc)
    if not is_kept(outcome if networks is None else take_turn):
        say("compiling the search for this machine, once: 20 seconds to two minutes")
    known: dict[str, Any] = {"lm": lm, "lexicon": lexicon, "hotwords": hotwords, "fusion": fusion}
    search: FusedSearch = (
        BeamSearch(labels, limits=of_ctc, **known)
        if networks is None
        else TransducerSearch(networks, labels, limits=of_transducer, **known)
    )
    if tuned is not None:
        search.calibration = Calibration(tuned.confidence_scale, tuned.confidence_offset)
    return search


def _check_kind(decoding: Decoding, networks: TransducerNetworks | None) -> None:
    """Return when what was asked for is something to ask of this kind of model.

    Raises:
        ConfigError: it is not.
    """
    if networks is None and decoding.max_symbols_per_frame is not None:
        raise ConfigError("max_symbols_per_frame has no effect on a CTC model")
    if networks is not None and decoding.engine == "pyctcdecode":
        raise ConfigError("--decoder pyctcdecode searches what CTC models put out, no transducer")


def check_effects(decoding: Decoding) -> None:
    """Return when every option has an effect.

    Raises:
        ConfigError: one has none.
    """
    if decoding.lm is None:
        for name in ("lm_weight", "unknown_penalty", "lm_unit", "fusion"):
            if getattr(decoding, name) is not None:
                raise ConfigError(f"{_flag(name)} has no effect without --lm")
    if decoding.engine == "pyctcdecode" and (decoding.lexicon or decoding.hotwords):
        raise ConfigError("--decoder pyctcdecode has neither --lexicon nor --hotwords here")
    if decoding.engine == "pyctcdecode" and decoding.lm is None and decoding.word_bonus is not None:
        raise ConfigError("--word-bonus has no effect with --decoder pyctcdecode without --lm")
    if decoding.fusion == "prior" and decoding.lexicon is None:
        raise ConfigError("--fusion prior needs --lexicon: it shares out the words of a dictionary")
    if decoding.fusion == "prior" and decoding.lm_unit == "token":
        raise ConfigError(
            "--fusion prior turns words into labels; it has no use for --lm-unit token"
        )
    if decoding.lm_unit == "token" and decoding.unknown_penalty is not None:
        raise ConfigError("--unknown-penalty has no effect with --lm-unit token")


def _load(path: Path) -> LanguageModel:
    lm = load_lm(path)
    if isinstance(lm, KenlmModel):
        raise ConfigError(
            f"{shown(path)}: a KenLM binary cannot list its n-grams, which the search needs; give "
            "the ARPA file that it was made from"
        )
    return lm


def _of_labels(decoding: Decoding, lm: StepwiseModel) -> Decoding:
    """What was asked for with a neural language model, whose words are labels.

    Raises:
        ConfigError: an option that does not go with one.
    """
    name = f"{shown(lm.source)}: is a neural language model"
    if decoding.engine == "pyctcdecode":
        raise ConfigError(f"{name}, which pyctcdecode cannot search with; give an ARPA file")
    if decoding.lm_unit == "word":
        raise ConfigError(f"{name} of labels; leave out --lm-unit word")
    if decoding.fusion == "prior":
        raise ConfigError(f"{name} of labels; --fusion prior needs an n-gram model of words")
    if decoding.unknown_penalty is not None:
        raise ConfigError(f"{name} of labels; --unknown-penalty has no effect with it")
    return replace(decoding, lm_unit="token")


def _tuned(
    decoding: Decoding, lm: LanguageModel | None, tunings: Sequence[Tuning]
) -> Tuning | None:
    """The weights that were tuned for this model, lexicon, hot words and way of fusion."""
    if lm is None:
        return None
    lexicon, hotwords = hash_or_none(decoding.lexicon), hash_or_none(decoding.hotwords)
    unit, fusion = decoding.lm_unit or "word", decoding.fusion or "shallow"
    wanted = (lm.sha256(), lexicon, hotwords, unit, fusion)
    return next((tuning for tuning in reversed(tunings) if tuning.key == wanted), None)


def hash_or_none(path: Path | None) -> str:
    """The SHA-256 of a file in a `Tuning`; empty: there is none."""
    return "" if path is None else file_hash(path)


def _fusion(decoding: Decoding, tuned: Tuning | None) -> Fusion:
    default = tuned or Fusion()
    weight, bonus, penalty = decoding.lm_weight, decoding.word_bonus, decoding.unknown_penalty
    return Fusion(
        lm_weight=default.lm_weight if weight is None else weight,
        word_bonus=default.word_bonus if bonus is None else bonus,
        unknown_penalty=default.unknown_penalty if penalty is None else penalty,
        unit=decoding.lm_unit or "word",
        kind=decoding.fusion or "shallow",
        by_length=decoding.fusion == "prior",
    )


def _limits(decoding: Decoding, kind: type[LimitsT]) -> LimitsT:
    """The limits of a kind of search, as far as they were asked for."""
    named = [one.name for one in fields(kind) if hasattr(decoding, one.name)]
    given = {name: getattr(decoding, name) for name in named}
    return kind(**{name: value for name, value in given.items() if value is not None})


def weights_line(weights: Fusion | Tuning) -> str:
    """How much a language model counts, for people."""
    line = f"weight {weights.lm_weight:g}, word bonus {weights.word_bonus:g}"
    if weights.unknown_penalty == Fusion().unknown_penalty:
        return line
    return f"{line}, unknown penalty {weights.unknown_penalty:g}"


def _tuned_line(fusion: Fusion, tuned: Tuning | None, others: Sequence[Tuning]) -> str:
    """Which weights count, and whether they are those that were tuned; `others`: for this model."""
    numbers = weights_line(fusion)
    if tuned is not None and weights_line(tuned) == numbers:
        return f"{numbers}, tuned on {shown(tuned.dev)}"
    if tuned is not None:
        return f"{numbers} (tuned: {weights_line(tuned)})"
    if not others:
        return f"{numbers} (not tuned for this model: see asr tune)"
    return (
        f"{numbers} (tuned only with another lexicon, hot words, --lm-unit or --fusion, as "
        f"{weights_line(others[-1])}: see asr tune)"
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
