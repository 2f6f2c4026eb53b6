"""What a recogniser says of given texts: the log-probability of each, over all of its alignments.

A search finds texts and sums over the alignments that stay in its beam. Here the texts are given,
such as the candidates of another system, and the sum is over all alignments: the CTC or transducer
loss of their tokens with the sign turned. The tokens are those that the tokenizer makes of a text,
as in training; other spellings of it, such as with two spaces, are not counted.

The network runs once for each utterance. The work of the sums is candidates x frames x tokens.

Reference: Graves & Jaitly, "Towards End-to-End Speech Recognition with Recurrent Neural Networks",
ICML 2014, section 5, where a network rescores the lists of another system.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from asr.data.batching import AudioReader, group_by_length
from asr.data.manifest import Utterance
from asr.data.text import Case, normalize_text
from asr.data.tokenizer import Tokenizer
from asr.decoding.batch import score_utterances
from asr.decoding.nbest import NEVER, NbestList, check_same_utterances
from asr.decoding.rescoring import MIN_KNOWN, check_new_scores, with_added
from asr.errors import DataError, shown
from asr.models.ctc import CTCModel
from asr.models.speech import SpeechModel
from asr.models.transducer import TransducerModel
from asr.objectives.ctc import ctc_loss, frames_needed
from asr.objectives.transducer import joint_transducer_loss

BATCH_SECONDS = 120.0  # of audio, padding included
MAX_CELLS = 1 << 22  # nodes of the lattices that are summed at once

Tokens = Sequence[int]


@dataclass(slots=True)
class Unwritten:
    """Candidates that a recogniser cannot write, which thus have the score `NEVER`.

    Attributes:
        symbols: how often each symbol outside the vocabulary is in them.
        lacking: how many have such symbols.
        too_long: how many others have more tokens than the frames of the audio can carry.
        example: the text of one, and its utterance.
    """

    symbols: Counter[str] = field(default_factory=Counter)
    lacking: int = 0
    too_long: int = 0
    example: tuple[str, str] = ("", "")

    def line(self) -> str:
        """All of it for a person; empty where there are none."""
        if not self.lacking + self.too_long:
            return ""
        text, utterance = self.example
        reasons = []
        if self.lacking:
            often = ", ".join(f"'{shown(one)}' ({n})" for one, n in self.symbols.most_common(5))
            reasons.append(f"{self.lacking} with symbols that it lacks: {often}")
        if self.too_long:
            reasons.append(f"{self.too_long} with more tokens than the audio has frames for")
        return (
            f"{self.lacking + self.too_long} candidates cannot be written by it and are ranked "
            f"last ({'; '.join(reasons)}), such as '{shown(text)}' of '{shown(utterance)}'"
        )


@dataclass(frozen=True)
class TextScorer:
    """A recogniser that says how probable texts are.

    Attributes:
        model: in evaluation mode, on `device`.
        tokenizer: of its labels.
        device: where to compute.
        case: of its training texts, into which candidates are put.
        source: what messages call it.
    """

    model: SpeechModel
    tokenizer: Tokenizer
    device: torch.device
    case: Case = "keep"
    source: str = "the recogniser"

    def with_scores(
        self,
        lists: Sequence[NbestList],
        utterances: Sequence[Utterance],
        *,
        name: str = "recognizer",
        advance: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[list[NbestList], Unwritten]:
        """The lists with a further score, the log-probability of the text; and what has none.

        Args:
            lists: with any scores.
            utterances: the same ones, with their audio.
            name: of the new score.
            advance: called with (done, total) utterances.

        Raises:
            DataError: other utterances, audio that cannot be read, hardly any candidate that the
                recogniser can write, or scores that are not numbers.
            ConfigError: a name that is taken or cannot be one.
        """
        check_new_scores(lists, [name])
        by_id = {one.id: one for one in lists}
        check_same_utterances("the manifest", {u.id for u in utterances}, "the n-best lists", by_id)
        unwritten = Unwritten()
        tokens = self._encoded(lists, unwritten)
        wanted = [u for u in utterances if by_id[u.id].candidates]
        scores: dict[str, list[float]] = {}
        for batch in score_utterances(
            self.model,
            wanted,
            reader=AudioReader(self.model.frontend.sample_rate, cache_bytes=0),
            device=self.device,
            batch_seconds=BATCH_SECONDS,
        ):
            for utterance, error in batch.failures:
                raise DataError(
                    f"utterance '{shown(utterance.id)}' has candidates but no audio to score them "
                    f"by: {error}; mend it, or leave the utterance out of the lists and manifests"
                )
            for utterance, outputs, length in zip(
                batch.utterances, batch.outputs, batch.lengths.tolist(), strict=True
            ):
                one = by_id[utterance.id]
                scores[one.id] = self._scores(one, outputs[:length], tokens, unwritten)
            advance(len(scores), len(wanted))
        return with_added(lists, name, scores), unwritten

    def _encoded(
        self, lists: Sequence[NbestList], unwritten: Unwritten
    ) -> dict[str, list[int] | None]:
        """The tokens of each text; None where it has symbols that the model lacks."""
        tokens: dict[str, list[int] | None] = {}
        lacks: dict[str, Counter[str]] = {}
        for text in dict.fromkeys(each.text for one in lists for each in one.candidates):
            spelled = normalize_text(text, self.case)
            lacks[text] = self.tokenizer.unknown_symbols(spelled)
            tokens[text] = None if lacks[text] else self.tokenizer.encode(spelled)
        for one in lists:
            for candidate in one.candidates:
                if tokens[candidate.text] is None:
                    unwritten.symbols.update(lacks[candidate.text])
                    unwritten.lacking += 1
                    unwritten.example = (candidate.text, one.id)
        total = sum(len(one.candidates) for one in lists)
        if total - unwritten.lacking < MIN_KNOWN * total:
            often = ", ".join(shown(symbol) for symbol, _ in unwritten.symbols.most_common(5))
            raise DataError(
                f"{self.source}: can write {total - unwritten.lacking} of {total} candidates of "
                f"the n-best lists, since it lacks symbols such as {often}; are they of another "
                "case or language?"
            )
        return tokens

    def _scores(
        self,
        one: NbestList,
        outputs: Tensor,
        tokens: Mapping[str, list[int] | None],
        unwritten: Unwritten,
    ) -> list[float]:
        """The score of each candidate of a list, from the outputs (T, …) of its utterance."""
        spelled = [tokens[candidate.text] for candidate in one.candidates]
        try:
            found = iter(
                token_log_probs(self.model, outputs, [t for t in spelled if t is not None])
            )
        except DataError as error:
            raise DataError(f"utterance '{shown(one.id)}': {error}") from error
        scores = []
        for candidate, each in zip(one.candidates, spelled, strict=True):
            scores.append(NEVER if each is None else next(found))
            if each is not None and scores[-1] == NEVER:
                unwritten.too_long += 1
                unwritten.example = (candidate.text, one.id)
        return scores


def token_log_probs(
    model: SpeechModel, outputs: Tensor, candidates: Sequence[Tokens]
) -> list[float]:
    """The natural log-probability of each of K token sequences, given the audio.

    It is `NEVER` where the frames are too few for the tokens, or a needed label has probability 0.
    Of no frames the empty sequence is certain.

    Args:
        model: whose outputs these are; a transducer's other networks are asked as well.
        outputs: (T, …) for each frame of one utterance.
        candidates: tokens without blanks.

    Raises:
        DataError: the outputs make scores that are not numbers.
    """
    frames = len(outputs)
    scores = [NEVER] * len(candidates)
    if frames == 0:
        return [NEVER if tokens else 0.0 for tokens in candidates]
    needed = frames_needed if isinstance(model, CTCModel) else lambda tokens: 1
    fitting = [i for i, tokens in enumerate(candidates) if needed(tokens) <= frames]
    cells = [float(frames * _columns(model, candidates[i])) for i in fitting]
    for group in group_by_length(cells, batch_seconds=MAX_CELLS):
        rows = [fitting[index] for index in group]
        costs = _costs(model, outputs, [candidates[row] for row in rows])
        if costs.isnan().any():
            raise DataError("the network's scores are not numbers; is the model damaged?")
        for row, cost in zip(rows, costs.tolist(), strict=True):
            scores[row] = max(NEVER, -cost)
    return scores


def _columns(model: SpeechModel, tokens: Tokens) -> int:
    """Nodes of a lattice for each frame: CTC has blanks around all tokens."""
    return (2 if isinstance(model, CTCModel) else 1) * len(tokens) + 1


@torch.inference_mode()
def _costs(model: SpeechModel, outputs: Tensor, candidates: Sequence[Tokens]) -> Tensor:
    """(K,) minus the log-probabilities."""
    count, longest = len(candidates), max(map(len, candidates))
    targets = torch.zeros(count, longest, dtype=torch.int64)
    for row, tokens in enumerate(candidates):
        targets[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
    sizes = torch.tensor([len(tokens) for tokens in candidates])
    lengths = torch.full((count,), len(outputs))
    if isinstance(model, TransducerModel):
        predicted = model.predict(targets.to(outputs.device), sizes)
        encoded = outputs.expand(count, *outputs.shape)
        return joint_transducer_loss(model.joint, encoded, predicted, targets, lengths, sizes)
    log_probs = outputs.double()  # rounding adds up over the frames, and texts are compared
    return ctc_loss(log_probs.expand(count, *outputs.shape), lengths, targets, sizes)
