"""The networks of recognisers: waveforms to outputs (B, T, …), and how many frames those are of."""

from asr.models.ctc import CTCModel
from asr.models.transducer import TransducerModel

SpeechModel = CTCModel | TransducerModel
