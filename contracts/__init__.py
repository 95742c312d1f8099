"""The consortium's contracts: Vyper sources, compiled artifacts with their storage layouts, typed calls."""
