"""A chain in a fresh directory, with a clock that nobody has to wait for."""

from __future__ import annotations

import pytest
from assembled import CHAIN_ID, SEALER_KEY, STORE, Clock, Sender

from node.embedded import EmbeddedChain


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sender():
    return Sender()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "chain"


@pytest.fixture
def chain(directory, clock):
    with EmbeddedChain.create(directory, CHAIN_ID, SEALER_KEY, clock, sleep=clock.sleep) as chain:
        yield chain


@pytest.fixture
def contract(chain, sender):
    """The address of a deployed STORE contract, in block 1."""
    raw, address = sender.deploy(STORE)
    chain.submit(raw)
    assert chain.seal().number == 1
    return address
