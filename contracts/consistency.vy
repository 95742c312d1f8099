# pragma version 0.4.3
# pragma evm-version london
"""
@title Consistency proofs of RFC 9162 trees (SHA-256)
@notice The twin of `ledger.merkle.verify_consistency`; both run the same vectors.
"""

# A proof between sizes below 2**63 has at most 64 hashes: 63 levels and the node it starts from.
MAX_PROOF: constant(uint256) = 64
SIZE_LIMIT: constant(uint256) = 2**63


@internal
@pure
def _holds(
    size1: uint256, size2: uint256, root1: bytes32, root2: bytes32, proof: DynArray[bytes32, MAX_PROOF]
) -> bool:
    """
    @notice Whether the tree of `size1` leaves and `root1` is a prefix of the tree of `size2` leaves and `root2`.
    @dev RFC 9162, section 2.1.4.2. Equal sizes want equal roots and an empty proof. Nothing is consistent with
         the empty tree, because a proof from it would say nothing. Sizes from 2**63 on are refused.
    """
    if size1 == 0 or size1 > size2 or size2 >= SIZE_LIMIT:
        return False
    if size1 == size2:
        return root1 == root2 and len(proof) == 0
    if len(proof) == 0:
        return False

    first: uint256 = size1 - 1
    second: uint256 = size2 - 1
    for _: uint256 in range(MAX_PROOF):
        if first & 1 == 0:
            break
        first >>= 1
        second >>= 1

    # Where `size1` is a power of two, its root is itself the node the proof starts from and is left out of it.
    node1: bytes32 = root1
    start: uint256 = 0
    if first != 0:
        node1 = proof[0]
        start = 1
    node2: bytes32 = node1

    for i: uint256 in range(start, len(proof), bound=MAX_PROOF):
        if second == 0:
            return False
        sibling: bytes32 = proof[i]
        if first & 1 == 1 or first == second:
            node1 = sha256(concat(0x01, sibling, node1))
            node2 = sha256(concat(0x01, sibling, node2))
            for _: uint256 in range(MAX_PROOF):
                if first & 1 == 1 or first == 0:
                    break
                first >>= 1
                second >>= 1
        else:
            node2 = sha256(concat(0x01, node2, sibling))
        first >>= 1
        second >>= 1

    return second == 0 and node1 == root1 and node2 == root2
