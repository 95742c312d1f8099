"""Every test of the contracts runs under London rules, in a world of its own."""

from __future__ import annotations

from collections.abc import Iterator

import boa
import boa.vm.py_evm as boa_evm
import pytest
from contract_world import World, london, new_world


@pytest.fixture(scope="session", autouse=True)
def _london_rules() -> Iterator[None]:
    newest, boa_evm._make_chain = boa_evm._make_chain, london
    try:
        with boa.set_env(boa.Env()):
            yield
    finally:
        boa_evm._make_chain = newest


@pytest.fixture
def world() -> Iterator[World]:
    with boa.env.anchor():
        yield new_world()


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    """One world for a module's calls that change nothing."""
    with boa.env.anchor():
        yield new_world()
