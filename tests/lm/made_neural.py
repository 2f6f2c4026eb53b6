"""Neural language models that nobody trained, but whose opinions are strong."""

from pathlib import Path

import torch

from asr.data.tokenizer import CharactersConfig, Tokenizer, train_tokenizer
from asr.lm.neural import NeuralConfig, NeuralNetwork, build_network
from asr.lm.neural_bundle import write_neural_bundle
from asr.lm.neural_model import NeuralModel
from asr.storage import folder_writer

CELLS = ["lstm", "peephole", "gru", "tanh", "leaky"]
CONFIG = NeuralConfig(num_layers=2, hidden_size=5, embedding_size=3)


def characters(text: str = "AB ", **options) -> Tokenizer:
    return train_tokenizer(CharactersConfig(symbols=text, **options), [])


def opinionated(vocabulary_size: int, config: NeuralConfig = CONFIG, seed: int = 0):
    """A network in float32 and evaluation mode with weights of deviation 1."""
    torch.manual_seed(seed)
    if config.cell == "leaky" and not config.leak:
        config = config.model_copy(update={"leak": 0.3})
    network = build_network(config, vocabulary_size)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    return network.eval().requires_grad_(False)


def made_neural(tokenizer: Tokenizer | None = None, **config) -> NeuralModel:
    tokenizer = tokenizer or characters()
    network = opinionated(tokenizer.vocabulary_size, CONFIG.model_copy(update=config))
    return NeuralModel(network, tokenizer, Path("nowhere"))


def write_neural(
    folder: Path,
    tokenizer: Tokenizer | None = None,
    network: NeuralNetwork | None = None,
    config: NeuralConfig = CONFIG,
) -> Path:
    """A bundle in `folder`; the folder."""
    tokenizer = tokenizer or characters()
    network = network or opinionated(tokenizer.vocabulary_size, config)
    facts = {"finished": True, "dev": {"perplexity": 3.0, "bits_per_character": 1.5}}
    recipe = {"seed": 1, "data": {"train": "train.txt", "dev": "dev.txt"}}
    with folder_writer(folder) as temporary:
        write_neural_bundle(temporary, network, tokenizer, config, recipe=recipe, facts=facts)
    return folder
