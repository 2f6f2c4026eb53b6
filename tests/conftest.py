"""Fixtures that every test may use."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

# Tests run in several processes: one thread each is faster, and sums come out the same everywhere.
torch.set_num_threads(1)
# A busy machine is slow now and then: no test is about time.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora, `$ASR_CORPORA`; tests that ask for it are skipped without it."""
    folder = os.environ.get("ASR_CORPORA")
    if not folder:
        pytest.skip("set ASR_CORPORA to the folder that holds an4/, fsdd/ … to run this test")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made-up corpus `data/`, a recipe `beeps/` and a finished run `run/`."""
    from asr.experiment import train_recipe
    from tests.made import write_corpus, write_recipe

    folder = tmp_path_factory.mktemp("trained")
    recipe = write_recipe(folder / "beeps", write_corpus(folder / "data"))
    train_recipe(recipe, out=folder / "run", say=lambda line: None)
    return folder
