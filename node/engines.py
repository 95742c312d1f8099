"""The consensus engines that chains are verified by, under the names that network files give them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from node import clique, qbft
from node.confirmation import Engine

ENGINES: Mapping[str, Engine] = MappingProxyType({"clique": clique, "qbft": qbft})
