"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest
import torch

# Tests run in several processes: one thread each is faster, and sums come out the same everywhere.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real corpora, `$ASR_CORPORA`; tests that ask for it are skipped without it."""
    folder = os.environ.get("ASR_CORPORA")
    if not folder:
        pytest.skip("set ASR_CORPORA to the folder that holds an4/, fsdd/ … to run this test")
    return Path(folder).resolve()
