# pragma version 0.4.3
# pragma evm-version london
"""
@title Journals
@notice Every checkpoint of every institution's journal, per generation, append-only.
        A checkpoint is kept only with an RFC 9162 proof that it continues the one before it:
        history cannot be rewritten, whoever signs.
@license Apache-2.0
"""

import consistency


interface IConsortium:
    def acting(account: address) -> (uint256, uint256): view
    def approved_generation(journals: address, institution: uint256) -> uint256: view


struct Entry:
    meta: uint256  # size in bits 0 to 63, block number in bits 64 to 127
    root: bytes32


struct Checkpoint:
    size: uint256
    root: bytes32
    block_number: uint256


struct Head:
    generation: uint256
    count: uint256  # checkpoints in this generation; 0 leaves the fields below at zero
    size: uint256
    root: bytes32
    block_number: uint256


event CheckpointPublished:
    institution: indexed(uint256)
    generation: indexed(uint256)
    size: uint256
    root: bytes32
    index: uint256


event GenerationOpened:
    institution: indexed(uint256)
    generation: indexed(uint256)


HOSPITAL: constant(uint256) = 1
LOW_64: constant(uint256) = 2**64 - 1

# In storage and not an immutable, so that the code hash is the same on every chain.
consortium: public(address)
generation: public(HashMap[uint256, uint256])
count: public(HashMap[uint256, HashMap[uint256, uint256]])
entries: HashMap[uint256, HashMap[uint256, HashMap[uint256, Entry]]]


@deploy
def __init__(consortium: address):
    assert consortium.is_contract, "no consortium"
    self.consortium = consortium


@internal
@view
def _hospital() -> uint256:
    institution: uint256 = 0
    roles: uint256 = 0
    institution, roles = staticcall IConsortium(self.consortium).acting(msg.sender)
    assert institution != 0, "not a member"
    assert roles & HOSPITAL != 0, "not a hospital"
    return institution


@internal
@pure
def _checkpoint(entry: Entry) -> Checkpoint:
    return Checkpoint(size=entry.meta & LOW_64, root=entry.root, block_number=entry.meta >> 64)


@external
def publish(
    generation: uint256,
    from_size: uint256,
    size: uint256,
    root: bytes32,
    proof: DynArray[bytes32, consistency.MAX_PROOF],
):
    """
    @notice Append the checkpoint (`size`, `root`) to the caller's journal.
    @param generation The caller's current generation.
    @param from_size The size of the head, 0 in an empty generation: two publishers cannot both be right.
    @param size Entries in the journal, more than `from_size` and below 2**63.
    @param proof The consistency proof from the head, RFC 9162, section 2.1.4; empty when `from_size` is 0.
    """
    institution: uint256 = self._hospital()
    assert generation == self.generation[institution], "wrong generation"
    index: uint256 = self.count[institution][generation]
    head: Entry = empty(Entry)
    if index != 0:
        head = self.entries[institution][generation][index - 1]
    assert from_size == head.meta & LOW_64, "stale from_size"
    assert size > from_size, "size does not grow"
    assert size < consistency.SIZE_LIMIT, "size too large"
    if from_size == 0:
        assert len(proof) == 0, "first proof not empty"
    else:
        assert consistency._holds(from_size, size, head.root, root, proof), "history rewritten"

    self.entries[institution][generation][index] = Entry(meta=size | (block.number << 64), root=root)
    self.count[institution][generation] = index + 1
    log CheckpointPublished(institution=institution, generation=generation, size=size, root=root, index=index)


@external
def open_generation(generation: uint256):
    """
    @notice Begin the caller's next generation, empty, once the members have voted for it. The old one stays.
    @param generation The number of the new generation, one more than the current: a repeated call is refused.
    """
    institution: uint256 = self._hospital()
    assert generation == self.generation[institution] + 1, "wrong generation"
    approved: uint256 = staticcall IConsortium(self.consortium).approved_generation(self, institution)
    assert generation <= approved, "generation not approved"
    self.generation[institution] = generation
    log GenerationOpened(institution=institution, generation=generation)


@external
@view
def checkpoint(institution: uint256, generation: uint256, index: uint256) -> Checkpoint:
    assert index < self.count[institution][generation], "no such checkpoint"
    return self._checkpoint(self.entries[institution][generation][index])


@external
@view
def head(institution: uint256) -> Head:
    generation: uint256 = self.generation[institution]
    count: uint256 = self.count[institution][generation]
    last: Checkpoint = empty(Checkpoint)
    if count != 0:
        last = self._checkpoint(self.entries[institution][generation][count - 1])
    return Head(
        generation=generation, count=count, size=last.size, root=last.root, block_number=last.block_number
    )


@external
@pure
def verify_consistency(
    size1: uint256,
    size2: uint256,
    root1: bytes32,
    root2: bytes32,
    proof: DynArray[bytes32, consistency.MAX_PROOF],
):
    """
    @notice Revert unless the proof shows that tree 1 is a prefix of tree 2.
    @dev RFC 9162, section 2.1.4.2; sizes below 2**63. Refuses size 0; equal sizes want equal roots and no proof.
    """
    assert consistency._holds(size1, size2, root1, root2, proof), "inconsistent"
