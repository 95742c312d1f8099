# pragma version 0.4.3
# pragma evm-version london
"""
@title Succession
@notice What a consortium followed, on this chain or another: a commitment to its network file and to its last block that counts.
        The members make it theirs by a vote for this contract, under the name "succession".
@license Apache-2.0
"""

# In storage and not an immutable, so that the code hash is the same on every chain.
predecessor: public(bytes32)


@deploy
def __init__(predecessor: bytes32):
    assert predecessor != empty(bytes32), "no predecessor"
    self.predecessor = predecessor
