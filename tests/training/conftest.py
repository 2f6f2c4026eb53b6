"""The disk need not spin for a toy: `fsync` is tested in `tests/test_storage.py`."""

import pytest


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asr.storage.os.fsync", lambda descriptor: None)
