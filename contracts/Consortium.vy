# pragma version 0.4.3
# pragma evm-version london
"""
@title Consortium
@notice Who belongs to the consortium, with which roles and keys, what its members voted, and which contracts are in use.
        Everything is kept with the blocks it held from and until; nothing is removed.
@dev A term holds for blocks `from_block <= b < until_block`; `until_block` 0 is open. It describes the end of a block:
     within the block of a change, transactions before the change ran under the old state and those after it under the new.
@license Apache-2.0
"""

# Roles, a bit mask: hospital 1, auditor 2, regulator 4.
ALL_ROLES: constant(uint256) = 7

# Kinds of key. A sealing key is an account (an address as a number); the others are 32-byte commitments.
SEALING: constant(uint256) = 1
ENCRYPTION: constant(uint256) = 3  # 2 is signing

# Kinds of action.
ADMIT: constant(uint256) = 1
SUSPEND: constant(uint256) = 2
REPLACE_SEALING_KEY: constant(uint256) = 3
SET_CONTRACT: constant(uint256) = 4
NEW_GENERATION: constant(uint256) = 5

# Counting votes visits every voter, and this keeps it well below a block's gas.
MAX_INSTITUTIONS: constant(uint256) = 1000


struct Institution:
    name: bytes32  # a commitment
    roles: uint256
    from_block: uint256
    until_block: uint256


struct Key:
    value: bytes32
    from_block: uint256
    until_block: uint256


struct ContractTerm:
    account: address
    from_block: uint256
    until_block: uint256


struct Action:
    kind: uint256
    institution: uint256  # suspend, replace_sealing_key, new_generation
    account: address  # admit, replace_sealing_key: sealing account; set_contract, new_generation: the contract
    word: bytes32  # admit: name commitment; set_contract: the contract's name
    number: uint256  # admit: roles; new_generation: its number


struct Proposal:
    action: Action
    from_block: uint256
    until_block: uint256  # the block it was executed in; 0 while it is open
    votes: uint256  # cast, including those of members suspended since


event Admitted:
    institution: indexed(uint256)
    name: bytes32
    roles: uint256


event Suspended:
    institution: indexed(uint256)


event KeyAdded:
    institution: indexed(uint256)
    kind: indexed(uint256)
    index: uint256
    value: bytes32


event ContractSet:
    name: indexed(bytes32)
    account: address


event GenerationApproved:
    institution: indexed(uint256)
    generation: indexed(uint256)
    journals: address


event FoundingClosed:
    institution: indexed(uint256)


event Proposed:
    proposal: indexed(uint256)
    institution: indexed(uint256)


event Voted:
    proposal: indexed(uint256)
    institution: indexed(uint256)


event Executed:
    proposal: indexed(uint256)


founding: public(bool)
institution_count: public(uint256)
member_count: public(uint256)  # active institutions
proposal_count: public(uint256)

# Ids, proposals: from 1. Indexes of keys, contracts: from 0.
institution: public(HashMap[uint256, Institution])
key_count: public(HashMap[uint256, HashMap[uint256, uint256]])
key_at: public(HashMap[uint256, HashMap[uint256, HashMap[uint256, Key]]])
contract_count: public(HashMap[bytes32, uint256])
contract_term: public(HashMap[bytes32, HashMap[uint256, ContractTerm]])
approved_generation: public(HashMap[address, HashMap[uint256, uint256]])
proposal: public(HashMap[uint256, Proposal])
voted: public(HashMap[uint256, HashMap[uint256, bool]])

claimed_by: HashMap[address, uint256]  # every account that ever was a sealing key
voters: HashMap[uint256, HashMap[uint256, uint256]]

# A name stands for one id for ever, also after a suspension: evidence shows the name. There is no renaming; an institution
# that is admitted again gets a new id, and a new name with it.
named: public(HashMap[bytes32, uint256])


@deploy
def __init__():
    self.founding = True


@internal
@view
def _is_active(institution: uint256) -> bool:
    return self.institution[institution].from_block != 0 and self.institution[institution].until_block == 0


@internal
@view
def _institution_of(account: address) -> uint256:
    institution: uint256 = self.claimed_by[account]
    if institution == 0 or self.institution[institution].until_block != 0:
        return 0
    last: uint256 = self.key_count[institution][SEALING] - 1
    if self.key_at[institution][SEALING][last].value != convert(account, bytes32):
        return 0
    return institution


@internal
@view
def _member() -> uint256:
    institution: uint256 = self._institution_of(msg.sender)
    assert institution != 0, "not a member"
    return institution


@internal
def _add_key(institution: uint256, kind: uint256, key: bytes32):
    assert key != empty(bytes32), "key missing"
    if kind == SEALING:
        number: uint256 = convert(key, uint256)
        assert number < 2**160, "not an account"
        account: address = convert(convert(number, uint160), address)
        assert self.claimed_by[account] == 0, "account already used"
        self.claimed_by[account] = institution
    index: uint256 = self.key_count[institution][kind]
    if index != 0:
        self.key_at[institution][kind][index - 1].until_block = block.number
    self.key_at[institution][kind][index] = Key(value=key, from_block=block.number, until_block=0)
    self.key_count[institution][kind] = index + 1
    log KeyAdded(institution=institution, kind=kind, index=index, value=key)


@internal
def _admit(name: bytes32, roles: uint256, account: address):
    assert name != empty(bytes32), "name missing"
    assert self.named[name] == 0, "name already used"
    assert roles != 0 and roles <= ALL_ROLES, "unknown role"
    assert self.institution_count < MAX_INSTITUTIONS, "consortium full"
    institution: uint256 = self.institution_count + 1
    self.institution_count = institution
    self.member_count += 1
    self.named[name] = institution
    self.institution[institution] = Institution(name=name, roles=roles, from_block=block.number, until_block=0)
    log Admitted(institution=institution, name=name, roles=roles)
    self._add_key(institution, SEALING, convert(account, bytes32))


@internal
def _execute(action: Action):
    if action.kind == ADMIT:
        self._admit(action.word, action.number, action.account)
    elif action.kind == SET_CONTRACT:
        index: uint256 = self.contract_count[action.word]
        if index != 0:
            self.contract_term[action.word][index - 1].until_block = block.number
        self.contract_term[action.word][index] = ContractTerm(
            account=action.account, from_block=block.number, until_block=0
        )
        self.contract_count[action.word] = index + 1
        log ContractSet(name=action.word, account=action.account)
    else:
        assert self._is_active(action.institution), "institution not active"
        if action.kind == SUSPEND:
            assert self.member_count > 1, "last member"
            self.institution[action.institution].until_block = block.number
            self.member_count -= 1
            log Suspended(institution=action.institution)
        elif action.kind == REPLACE_SEALING_KEY:
            self._add_key(action.institution, SEALING, convert(action.account, bytes32))
        else:
            approved: uint256 = self.approved_generation[action.account][action.institution]
            assert action.number == approved + 1, "generation out of turn"
            self.approved_generation[action.account][action.institution] = action.number
            log GenerationApproved(
                institution=action.institution, generation=action.number, journals=action.account
            )


@internal
def _vote(proposal: uint256, institution: uint256):
    assert not self.voted[proposal][institution], "already voted"
    self.voted[proposal][institution] = True
    cast: uint256 = self.proposal[proposal].votes + 1
    self.voters[proposal][cast - 1] = institution
    self.proposal[proposal].votes = cast
    log Voted(proposal=proposal, institution=institution)
    standing: uint256 = 0
    for i: uint256 in range(cast, bound=MAX_INSTITUTIONS):
        if self.institution[self.voters[proposal][i]].until_block == 0:
            standing += 1
    if standing * 2 > self.member_count:
        self.proposal[proposal].until_block = block.number
        log Executed(proposal=proposal)
        self._execute(self.proposal[proposal].action)


@external
def join(name: bytes32, roles: uint256):
    """
    @notice Become a member with the calling account as sealing key; only while the consortium is being founded.
    @param name A commitment to the institution's name, not zero, and never that of an institution admitted before.
    @param roles Bit mask: hospital 1, auditor 2, regulator 4; at least one.
    """
    assert self.founding, "founding closed"
    self._admit(name, roles, msg.sender)


@external
def close_founding():
    """
    @notice End the founding, for good: from now on members are admitted by vote.
    """
    institution: uint256 = self._member()
    assert self.founding, "founding closed"
    self.founding = False
    log FoundingClosed(institution=institution)


@external
def rotate_key(kind: uint256, key: bytes32):
    """
    @notice Replace the caller's own key of this kind. An old sealing key is refused from the next transaction on.
    @param kind 1 sealing, 2 signing, 3 encryption.
    @param key The account as a number below 2**160, never used by anybody before; or a commitment, not zero.
    """
    institution: uint256 = self._member()
    assert kind >= SEALING and kind <= ENCRYPTION, "unknown kind of key"
    self._add_key(institution, kind, key)


@external
def propose(action: Action) -> uint256:
    """
    @notice Put an action to the vote and vote for it.
    @param action Fields that its kind does not use are zero and those that it uses are not.
    @return The proposal's number.
    """
    institution: uint256 = self._member()
    kind: uint256 = action.kind
    assert kind >= ADMIT and kind <= NEW_GENERATION, "unknown kind of action"
    assert (action.institution == 0) == (kind == ADMIT or kind == SET_CONTRACT), "malformed action"
    assert (action.account == empty(address)) == (kind == SUSPEND), "malformed action"
    assert (action.word != empty(bytes32)) == (kind == ADMIT or kind == SET_CONTRACT), "malformed action"
    assert (action.number != 0) == (kind == ADMIT or kind == NEW_GENERATION), "malformed action"
    proposal: uint256 = self.proposal_count + 1
    self.proposal_count = proposal
    self.proposal[proposal] = Proposal(action=action, from_block=block.number, until_block=0, votes=0)
    log Proposed(proposal=proposal, institution=institution)
    self._vote(proposal, institution)
    return proposal


@external
def vote(proposal: uint256):
    """
    @notice Vote for an open proposal. More than half of the members active in this call execute it at once.
    """
    institution: uint256 = self._member()
    assert self.proposal[proposal].from_block != 0, "no such proposal"
    assert self.proposal[proposal].until_block == 0, "already executed"
    self._vote(proposal, institution)


@external
@view
def institution_of(account: address) -> uint256:
    """
    @return The active institution whose current sealing key is this account, or 0.
    """
    return self._institution_of(account)


@external
@view
def acting(account: address) -> (uint256, uint256):
    """
    @return The institution for which this account acts and its roles, or 0 and 0.
    """
    institution: uint256 = self._institution_of(account)
    return institution, self.institution[institution].roles


@external
@view
def contract_at(name: bytes32) -> address:
    """
    @return The contract now in use under this name, or zero.
    """
    count: uint256 = self.contract_count[name]
    if count == 0:
        return empty(address)
    return self.contract_term[name][count - 1].account
