"""Members who lie, against the contracts: a state machine that tries to shrink, fork, replay or take over a journal or a name.

The model keeps what was lawfully published. After every step the whole history on chain must be the model's, whatever was tried.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import boa
from contract_world import NOTHING, World, name_of, new_world, refused, word
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trees import consistency, leaf, root

from contracts.actions import Action, Role, admit, new_generation, replace_sealing_key, suspend

indexes = st.integers(0, 2**16)  # of something in the state, taken modulo its length
growth = st.integers(1, 9)


@dataclass
class Member:
    """An institution as the model knows it; `journals[g]` are the checkpoints of generation g, `leaves` the current one's."""

    id: int
    account: str
    hospital: bool
    active: bool = True
    approved: int = 0
    leaves: list[bytes] = field(default_factory=list)
    journals: list[list[tuple[int, bytes, int]]] = field(default_factory=lambda: [[]])

    @property
    def generation(self) -> int:
        return len(self.journals) - 1

    @property
    def size(self) -> int:
        return self.journals[-1][-1][0] if self.journals[-1] else 0


class LyingMembers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.anchor = boa.env.anchor()
        self.anchor.__enter__()
        self.world: World = new_world()
        self.consortium, self.journals = self.world.consortium, self.world.journals
        self.members: list[Member] = []
        self.retired: list[str] = []  # accounts that were somebody's sealing key
        self.founding = True
        self.fresh = 0

    def teardown(self) -> None:
        self.anchor.__exit__(None, None, None)

    # What the rules draw from

    def active(self) -> list[Member]:
        return [member for member in self.members if member.active]

    def hospital(self, index: int, *, begun: bool = False) -> Member:
        found = [member for member in self.active() if member.hospital and (member.size or not begun)]
        assume(found)
        return found[index % len(found)]

    def next_leaves(self, number: int) -> list[bytes]:
        self.fresh += number
        return [leaf(n.to_bytes(4, "big")) for n in range(self.fresh - number, self.fresh)]

    def block(self) -> int:
        return int(boa.env.evm.patch.block_number)

    def decide(self, action: Action) -> None:
        """A proposal and as many votes as it takes."""
        voters = [member.account for member in self.active()]
        proposal = self.world.propose(action, *voters[: len(voters) // 2 + 1])
        assert self.consortium.proposal(proposal)[2] == self.block()

    def add(self, account: str, roles: Role) -> None:
        self.members.append(Member(len(self.members) + 1, account, Role.HOSPITAL in roles))

    def retire(self, member: Member, account: str) -> None:
        self.retired.append(member.account)
        member.account = account

    # Lawful steps

    @initialize(others=st.integers(0, 3))
    def found(self, others: int) -> None:
        for _ in range(1 + others):
            self.add(self.world.join(), Role.HOSPITAL)

    @rule(roles=st.integers(1, 7).map(Role))
    def join(self, roles: Role) -> None:
        assume(len(self.members) < 8)
        account, name = self.world.account(), self.world.name()
        if self.founding:
            self.consortium.join(name, int(roles), sender=account)
        else:
            with refused(self.consortium, "founding closed"):
                self.consortium.join(name, int(roles), sender=account)
            self.decide(admit(name, roles, account))
        self.add(account, roles)

    @precondition(lambda self: self.founding)
    @rule()
    def close_founding(self) -> None:
        self.consortium.close_founding(sender=self.active()[-1].account)
        self.founding = False

    @rule(blocks=st.integers(1, 3))
    def pass_blocks(self, blocks: int) -> None:
        boa.env.time_travel(blocks=blocks)

    @rule(who=indexes, number=growth)
    def publish(self, who: int, number: int) -> None:
        member = self.hospital(who)
        grown = member.leaves + self.next_leaves(number)
        proof = consistency(member.size, grown) if member.size else []
        self.journals.publish(member.generation, member.size, len(grown), root(grown), proof, sender=member.account)
        member.journals[-1].append((len(grown), root(grown), self.block()))
        member.leaves = grown

    @rule(who=indexes)
    def rotate(self, who: int) -> None:
        member = self.active()[who % len(self.active())]
        account = self.world.account()
        self.consortium.rotate_key(1, word(account), sender=member.account)
        self.retire(member, account)

    @rule(who=indexes)
    def replace_lost_key(self, who: int) -> None:
        member = self.active()[who % len(self.active())]
        account = self.world.account()
        self.decide(replace_sealing_key(member.id, account))
        self.retire(member, account)

    @rule(who=indexes)
    def suspend(self, who: int) -> None:
        assume(len(self.active()) > 1)
        member = self.active()[who % len(self.active())]
        self.decide(suspend(member.id))
        member.active = False
        self.retired.append(member.account)

    @rule(who=indexes)
    def approve_generation(self, who: int) -> None:
        member = self.active()[who % len(self.active())]
        self.decide(new_generation(member.id, member.approved + 1, str(self.journals.address)))
        member.approved += 1

    @rule(who=indexes)
    def open_generation(self, who: int) -> None:
        member = self.hospital(who)
        arguments = (member.generation + 1,)
        if member.approved > member.generation:
            self.journals.open_generation(*arguments, sender=member.account)
            member.journals.append([])
            member.leaves = []
            with refused(self.journals, "wrong generation"):
                self.journals.open_generation(*arguments, sender=member.account)
        if member.approved == member.generation:
            with refused(self.journals, "generation not approved"):
                self.journals.open_generation(member.generation + 1, sender=member.account)

    # Attacks by a hospital on its own history

    @rule(who=indexes, cut=indexes)
    def shrink(self, who: int, cut: int) -> None:
        member = self.hospital(who, begun=True)
        kept = member.leaves[: cut % member.size]
        for from_size in (member.size, len(kept)):
            proof = consistency(len(kept), member.leaves) if kept else []
            with refused(self.journals, "size does not grow" if from_size == member.size else "stale from_size"):
                self.journals.publish(member.generation, from_size, len(kept), root(kept), proof, sender=member.account)

    @rule(who=indexes, at=indexes, number=growth, honest_proof=st.booleans())
    def fork(self, who: int, at: int, number: int, honest_proof: bool) -> None:
        member = self.hospital(who, begun=True)
        honest = member.leaves + self.next_leaves(number)
        forged = list(honest)
        forged[at % member.size] = leaf(b"another past")
        proof = consistency(member.size, honest if honest_proof else forged)
        with refused(self.journals, "history rewritten"):
            self.journals.publish(member.generation, member.size, len(forged), root(forged), proof, sender=member.account)

    @rule(who=indexes, at=indexes, number=growth)
    def fork_from_an_older_checkpoint(self, who: int, at: int, number: int) -> None:
        member = self.hospital(who, begun=True)
        checkpoints = member.journals[-1]
        size = checkpoints[at % len(checkpoints)][0]
        assume(size < member.size)
        branch = member.leaves[:size] + self.next_leaves(member.size - size + number)
        for from_size, reason in ((size, "stale from_size"), (member.size, "history rewritten")):
            with refused(self.journals, reason):
                self.journals.publish(
                    member.generation, from_size, len(branch), root(branch), consistency(size, branch), sender=member.account
                )

    @rule(who=indexes, which=indexes)
    def replay(self, who: int, which: int) -> None:
        member = self.hospital(who, begun=True)
        checkpoints = member.journals[-1]
        at = which % len(checkpoints)
        from_size = checkpoints[at - 1][0] if at else 0
        size, old_root, _ = checkpoints[at]
        proof = consistency(from_size, member.leaves[:size]) if from_size else []
        with refused(self.journals, "stale from_size"):
            self.journals.publish(member.generation, from_size, size, old_root, proof, sender=member.account)
        with refused(self.journals, "size does not grow"):
            self.journals.publish(member.generation, member.size, size, old_root, [], sender=member.account)

    @rule(who=indexes, number=growth)
    def start_over(self, who: int, number: int) -> None:
        member = self.hospital(who, begun=True)
        other = self.next_leaves(member.size + number)
        with refused(self.journals, "stale from_size"):
            self.journals.publish(member.generation, 0, len(other), root(other), [], sender=member.account)
        with refused(self.journals, "history rewritten"):
            self.journals.publish(member.generation, member.size, len(other), root(other), [], sender=member.account)

    @rule(who=indexes, generation=st.integers(0, 4), number=growth)
    def publish_in_another_generation(self, who: int, generation: int, number: int) -> None:
        member = self.hospital(who)
        assume(generation != member.generation)
        other = self.next_leaves(number)
        with refused(self.journals, "wrong generation"):
            self.journals.publish(generation, 0, number, root(other), [], sender=member.account)

    # Attacks by others

    @rule(who=indexes, number=growth, caller=st.sampled_from(["stranger", "retired", "auditor"]), which=indexes)
    def take_over(self, who: int, number: int, caller: str, which: int) -> None:
        """The victim's very next checkpoint, sent by somebody who may not act for it."""
        victim = self.hospital(who)
        auditors = [member.account for member in self.active() if not member.hospital]
        callers = {"stranger": [self.world.account()], "retired": self.retired, "auditor": auditors}[caller]
        assume(callers)
        account = callers[which % len(callers)]
        grown = victim.leaves + self.next_leaves(number)
        proof = consistency(victim.size, grown) if victim.size else []
        reason = "not a hospital" if caller == "auditor" else "not a member"
        with refused(self.journals, reason):
            self.journals.publish(victim.generation, victim.size, len(grown), root(grown), proof, sender=account)
        with refused(self.journals, reason):
            self.journals.open_generation(victim.generation + 1, sender=account)
        if caller != "auditor":
            with refused(self.consortium, "not a member"):
                self.consortium.rotate_key(1, word(self.world.account()), sender=account)
            with refused(self.consortium, "not a member"):
                self.world.propose(replace_sealing_key(victim.id, account), account)

    @rule(who=indexes, which=indexes)
    def claim_a_used_account(self, who: int, which: int) -> None:
        member = self.active()[who % len(self.active())]
        used = self.retired + [other.account for other in self.members]
        account = used[which % len(used)]
        with refused(self.consortium, "account already used"):
            self.consortium.rotate_key(1, word(account), sender=member.account)
        if self.founding:
            with refused(self.consortium, "account already used"):
                self.consortium.join(self.world.name(), 1, sender=account)

    @rule(which=indexes, roles=st.integers(1, 7))
    def claim_a_used_name(self, which: int, roles: int) -> None:
        """Of an active or a suspended institution, by joining and by every vote there is."""
        account, name = self.world.account(), name_of(which % len(self.members) + 1)
        with refused(self.consortium, "name already used" if self.founding else "founding closed"):
            self.consortium.join(name, roles, sender=account)
        with refused(self.consortium, "name already used"):
            self.decide(admit(name, Role(roles), account))

    @rule(who=indexes, which=indexes)
    def replace_a_key_without_the_majority(self, who: int, which: int) -> None:
        active = self.active()
        assume(len(active) > 2)
        thief, victim = active[who % len(active)], active[which % len(active)]
        account = self.world.account()
        proposal = self.world.propose(replace_sealing_key(victim.id, account), thief.account)
        with refused(self.consortium, "already voted"):
            self.consortium.vote(proposal, sender=thief.account)
        assert self.consortium.proposal(proposal)[2] == 0
        assert self.consortium.institution_of(account) == 0

    # After every step

    @invariant()
    def history_is_the_model(self) -> None:
        for member in self.members:
            assert self.journals.generation(member.id) == member.generation
            for generation, checkpoints in enumerate(member.journals):
                assert self.journals.count(member.id, generation) == len(checkpoints)
                stored = [tuple(self.journals.checkpoint(member.id, generation, n)) for n in range(len(checkpoints))]
                assert stored == checkpoints
            last = member.journals[-1][-1] if member.journals[-1] else (0, NOTHING, 0)
            assert tuple(self.journals.head(member.id)) == (member.generation, len(member.journals[-1]), *last)
            assert self.journals.count(member.id, member.generation + 1) == 0

    @invariant()
    def accounts_act_for_the_model(self) -> None:
        assert self.consortium.member_count() == len(self.active())
        assert self.consortium.institution_count() == len(self.members)
        for member in self.members:
            assert self.consortium.institution_of(member.account) == (member.id if member.active else 0)
        assert all(self.consortium.institution_of(account) == 0 for account in self.retired)

    @invariant()
    def names_are_the_model(self) -> None:
        for member in self.members:
            assert self.consortium.institution(member.id)[0] == name_of(member.id)
            assert self.consortium.named(name_of(member.id)) == member.id
        assert self.consortium.named(self.world.name()) == 0


UNHURRIED = [HealthCheck.filter_too_much, HealthCheck.too_slow]
LyingMembers.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=UNHURRIED)
TestLyingMembers = LyingMembers.TestCase
