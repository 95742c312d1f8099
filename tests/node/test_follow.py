"""A follower among peers that are honest, that lie, lag, hang, fork, reorganise, and that are no nodes."""

from __future__ import annotations

import gzip
import json
import socket
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import forked
import pytest
from shown_chains import Branch, Final, Shown, garbage, serving

import node.follow
from anchoring.network import Network, encode_network
from node import qbft
from node.confirmation import Trust
from node.errors import ChainCorrupt, ChainMissing, ExportInvalid, PeerFailed
from node.follow import BATCH, Followed, Follower, opened
from node.followed import FollowedChain
from node.header import from_rpc
from node.peer import Peer
from node.proof_files import ProofFiles
from node.rpc import ReadRpc

CHAIN = json.loads(gzip.decompress((Path(__file__).parents[1] / "vectors" / "qbft" / "chain-votes.json.gz").read_bytes()))
BLOCKS = CHAIN["blocks"]
LATE = 2e9


def trust_of(block: int) -> Trust:
    own = from_rpc(BLOCKS[block])
    settings = CHAIN["genesis"]["config"]["qbft"]
    return Trust(block, qbft.block_hash(own), qbft.parse_extra(own).validators, settings["blockPeriodSeconds"], settings["epochLength"])


class Following:
    """A follower in a folder, with the events that it told of."""

    def __init__(self, folder, urls, *, clock=lambda: LATE, seconds=5.0, branch=None, trust=None) -> None:
        peers = [Peer(url, seconds) for url in urls]
        if branch is None:
            self.trust = trust or trust_of(0)
            self.chain = opened(folder, "qbft", CHAIN["genesis"]["config"]["chainId"], self.trust, peers, CHAIN["genesis"])
        else:
            self.trust = trust or branch.trust()
            self.chain = opened(folder, "qbft" if isinstance(branch, Final) else "clique", 77, self.trust, peers, None)
        self.events = []
        self.peers = [Followed(peer) for peer in peers]
        self.follower = Follower(self.chain, self.trust, self.peers, ProofFiles(folder / "proofs"), clock, self.events.append)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.chain.close()

    def all(self) -> int:
        """Rounds until nothing comes any more; the number of the head."""
        while self.follower.round():
            pass
        return self.chain.head.number

    def kinds(self):
        return [event.kind for event in self.events]

    def proof(self, place: int = 0) -> dict:
        return json.loads(self.follower.proofs.paths()[place].read_bytes())


def test_a_real_chain_is_followed_stored_resumed_and_served(tmp_path):
    shown = Shown(BLOCKS[:20])
    with serving(shown) as urls:
        with Following(tmp_path / "f", urls, trust=trust_of(17)) as following:
            assert following.all() == 19
        shown.blocks = BLOCKS
        with Following(tmp_path / "f", urls, trust=trust_of(17)) as following:
            asked = shown.asked
            assert following.all() == len(BLOCKS) - 1 and following.events == []
            assert shown.asked - asked <= 3 * (2 + len(BLOCKS) // BATCH)
            assert following.chain.walk_at(len(BLOCKS) - 1).sealers.current == set(qbft.parse_extra(from_rpc(BLOCKS[-1])).validators)
            rpc = ReadRpc(following.chain)

            def ask(method, *params):
                return rpc.handle({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).get("result")

            for number in (0, 1, 17, len(BLOCKS) - 1):
                theirs = {key: value for key, value in BLOCKS[number].items() if key not in ("totalDifficulty", "size", "transactions")}
                ours = ask("eth_getBlockByNumber", hex(number), True)
                assert {key: ours[key] for key in theirs} == theirs
                assert [one["hash"] for one in ours["transactions"]] == [one["hash"] for one in BLOCKS[number]["transactions"]]
            for proof in CHAIN["proofs"]:
                assert ask("eth_getProof", proof["address"], [one["key"] for one in proof["storageProof"]]) == proof
            assert rpc.handle({"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x"]})["error"]["code"] == -32601


def lie_about(number: int, changes: dict):
    return lambda method, given, answer: answer | changes if method == "eth_getBlockByNumber" and given == number else answer


LIES = {
    "state": {"stateRoot": "0x" + "11" * 32}, "gas": {"gasUsed": "0x1"}, "seals": {"extraData": BLOCKS[3]["extraData"]},
    "time": {"timestamp": BLOCKS[12]["timestamp"]}, "bloom": {"logsBloom": "0x" + "00" * 255 + "01"}, "transactions": {"transactions": []},
    "hash": {"hash": "0x" + "22" * 32}, "number": {"number": "0x1"}, "garbage": {"stateRoot": "no hash"}, "no hash": {"hash": None},
    "uncles": {"uncles": ["0x" + "22" * 32]}, "nothing": {"transactions": [None]}, "difficulty": {"difficulty": "0x" + "f" * 70},
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("honest", [True, False])
def test_a_peer_that_lies_is_told_kept_and_asked_no_more(tmp_path, lie, honest):
    liar, good = Shown(BLOCKS), Shown(BLOCKS)
    liar.lie = lie_about(13, lie)
    with serving(liar, good) as urls, Following(tmp_path / "f", urls if honest else urls[:1]) as following:
        assert following.all() == (len(BLOCKS) - 1 if honest else 12)
        assert following.kinds() == ["lied"] and (following.events[0].peer, following.events[0].block) == (urls[0], 13)
        asked = liar.asked
        following.all()
        assert liar.asked == asked and following.peers[0].out
        kept = following.proof()
        assert (kept["kind"], kept["peer"], kept["block"], kept["given"]) == ("lie", urls[0], 13, deepcopy(BLOCKS[13]) | lie)
        assert (kept["ours"] or {}).get("hash") == (BLOCKS[13]["hash"] if honest else None)
    if not honest:
        with serving(good) as urls, Following(tmp_path / "f", urls) as following:
            assert following.all() == len(BLOCKS) - 1 and following.proof()["ours"]["hash"] == BLOCKS[13]["hash"]


@pytest.mark.parametrize("kind", ["empty", "html", "nested", "null", "list", "cut", "oversized", "other"])
def test_a_peer_that_answers_garbage_is_passed_over(tmp_path, kind):
    bad, good = Shown(BLOCKS), Shown(BLOCKS)
    with serving(bad, good) as urls, Following(tmp_path / "f", urls) as following:
        bad.body = garbage(kind)
        assert following.all() == len(BLOCKS) - 1
        assert following.kinds() == ["failed"] and following.peers[0].failures == 1 and following.follower.proofs.paths() == []


def test_a_peer_that_hangs_lags_or_claims_blocks_that_it_has_not_is_passed_over(tmp_path):
    hanging, lagging, claiming, good = Shown(BLOCKS), Shown(BLOCKS[:5]), Shown(BLOCKS[:9]), Shown(BLOCKS)
    claiming.lie = lambda method, given, answer: "0xffffffff" if method == "eth_blockNumber" else answer
    with serving(hanging, lagging, claiming, good) as urls, Following(tmp_path / "f", urls, seconds=0.3) as following:
        hanging.seconds = 1.0
        assert following.all() == len(BLOCKS) - 1
        states = [one.state for one in following.peers]
        assert "no answer within" in states[0] and "which it says it has" in states[2]
        assert (states[1], states[3]) == ("lags", "agrees")
        assert not following.follower.behind


def test_a_node_of_another_chain_is_told_as_such(tmp_path):
    other = Branch([bytes([7]) * 32], 1_700_000_000)
    with serving(Shown(BLOCKS), other.node()) as urls, Following(tmp_path / "f", urls) as following:
        assert following.all() == len(BLOCKS) - 1 and following.peers[1].state == "it is of another chain"
    with serving(other.node()) as urls, pytest.raises(PeerFailed, match="of another chain than the network file"):
        Following(tmp_path / "g", urls)
    with pytest.raises(PeerFailed, match="no peer leads from"):
        Following(tmp_path / "g", ["http://127.0.0.1:1"])
    assert not (tmp_path / "g" / "chain.db").exists()
    for name, value in (("epoch", 7), ("period", 9)):
        wrong = Trust(**{"block": 0, "block_hash": trust_of(0).block_hash, "sealers": (), "period": 1, "epoch": 30000} | {name: value})
        with serving(Shown(BLOCKS)) as urls, pytest.raises(ExportInvalid, match="other rules"):
            Following(tmp_path / "f", urls, trust=wrong)
    foreign = Trust(3, bytes(32), (), trust_of(0).period, trust_of(0).epoch)
    with serving(Shown(BLOCKS)) as urls, pytest.raises(ExportInvalid, match="another chain"):
        Following(tmp_path / "f", urls, trust=foreign)


@pytest.fixture
def three():
    made = Branch([bytes([number]) * 32 for number in (1, 2, 3)], 1_700_000_000)
    for _ in range(6):
        made.seal()
    return made


def lead_on(branch: Branch, blocks: int, **how) -> Branch:
    for _ in range(blocks):
        branch.seal(**how)
    return branch


def test_the_heavier_branch_of_clique_is_gone_over_to_however_late(tmp_path, three):
    light, heavy = lead_on(three.copy(4), 3, out_of_turn=1), lead_on(three.copy(4), 3)
    first, other = light.node(), heavy.node()
    with serving(first, other) as urls, Following(tmp_path / "f", urls, branch=three) as following:
        assert following.all() == 7 and following.kinds() == ["reorganised"] and following.events[0].block == 5
        assert following.chain.head == heavy.headers[-1] and following.peers[0].state == "branch"
        kept = following.proof()
        assert (len(kept["ours"]), len(kept["given"])) == (3, 2) and kept["kind"] == "reorganised"
        # A longer one that weighs no more changes nothing; one that does is gone over to.
        first.blocks = lead_on(three.copy(4), 6, out_of_turn=1).node().blocks
        assert following.all() == 7
        first.blocks = lead_on(three.copy(4), 7, out_of_turn=1).node().blocks
        assert following.all() == 11 and following.kinds() == ["reorganised"] * 2
        number = following.chain.head.number
    with serving(first) as urls, Following(tmp_path / "f", urls, branch=three) as following:
        assert following.all() == number


def test_branches_are_checked_before_they_count(tmp_path, three):
    heavy = lead_on(three.copy(4), 20, seconds=2)
    heavy.headers[6] = three.headers[5]
    unsealed, early = heavy.node(), lead_on(three.copy(4), 5, seconds=0).node()
    foreign = Branch([bytes([number]) * 32 for number in (1, 2, 3, 9)], 1_700_000_000)
    foreign.headers = three.headers[:5]
    stolen = lead_on(foreign, 9, signers=None).node()
    with serving(three.node(), unsealed, early, stolen) as urls, Following(tmp_path / "f", urls, branch=three) as following:
        assert following.all() == 6 and following.kinds() == ["lied"] * 3
        assert following.chain.head == three.headers[-1]


def test_a_peer_that_says_now_this_and_now_that_holds_nobody_up(tmp_path, three):
    """It has another block 0 from the second question on; it gives another branch than it showed; it gives parts of what is asked."""
    answers = iter(["0x" + "22" * 32, None, *["0x" + "22" * 32] * 1000])
    turning, switching = three.copy(6).node(), lead_on(three.copy(4), 5, seconds=2).node()
    partial = lead_on(three.copy(4), 9, seconds=3).node()
    turning.lie = lambda method, given, answer: (
        answer | {"hash": next(answers) or answer["hash"]} if method == "eth_getBlockByNumber" and answer else answer
    )
    light = lead_on(three.copy(4), 5, out_of_turn=1).node().blocks
    heavy, asked = switching.blocks, [0]

    def switch(method, given, answer):
        asked[0] += 1
        switching.blocks = heavy if asked[0] < 11 else light  # the headers are asked for before, the blocks afterwards
        return answer

    switching.lie = switch
    with serving(three.node(), turning, switching) as urls, Following(tmp_path / "f", urls, branch=three) as following:
        assert following.all() == 6 and [one.out for one in following.peers] == [False] * 3
        assert "chain changed" in following.peers[1].state and following.chain.head == three.headers[-1]
        assert "lied" not in following.kinds() and "reorganised" not in following.kinds()
    rpc = partial.answer
    partial.answer = lambda body: json.dumps([
        one | ({"result": None} if place > 2 else {}) for place, one in enumerate(json.loads(rpc(body)))
    ]).encode()  # fmt: skip
    with serving(partial) as urls, Following(tmp_path / "f", urls, branch=three) as following:
        assert following.all() == 13 and following.kinds() == ["reorganised"]


def test_a_branch_that_leaves_the_trusted_block_is_another_chain(tmp_path, three):
    heavy = lead_on(three.copy(3), 20, seconds=2)
    with serving(three.node(), heavy.node()) as urls, Following(tmp_path / "f", urls, branch=three, trust=three.trust(5)) as following:
        assert following.all() == 6 and "another chain than the network file" in following.peers[1].state


def test_a_header_from_the_future_is_not_taken(tmp_path, three):
    now = three.headers[-1].timestamp
    lead_on(three, 1, seconds=100)
    with serving(three.node()) as urls, Following(tmp_path / "f", urls, branch=three, clock=lambda: now) as following:
        assert following.all() == 6 and "comes from the future" in following.peers[0].state and not following.peers[0].out


def test_who_sealed_too_recently_and_votes_are_known_after_a_restart(tmp_path):
    keys = [bytes([number]) * 32 for number in (1, 2, 3)]
    made = Branch(keys, 1_700_000_000, epoch=4)
    for number in range(1, 10):
        made.seal(vote=(bytes([9]) * 20, True) if number == 9 else None)
    with serving(made.node()) as urls, Following(tmp_path / "f", urls, branch=made) as following:
        assert following.all() == 9
        before = following.chain.walk_at(9).sealers
    with FollowedChain.open(tmp_path / "f") as chain:
        after = chain.walk_at(9).sealers
        assert (after.current, after.votes, after.recent) == (before.current, before.votes, before.recent)
        for number in range(9):
            walk = chain.walk_at(number)
            assert walk.sealed(made.headers[number + 1])[0].header == made.headers[number + 1]


def test_two_final_blocks_of_one_number_are_proof_against_the_validators(tmp_path):
    """Where a third of the validators and more cheat: here the keys of all are at hand."""
    keys = [bytes([number]) * 32 for number in (1, 2, 3, 4)]
    made, other = Final(keys, 1_700_000_000), Final(keys, 1_700_000_000)
    for number in range(6):
        made.seal()
        other.seal(seconds=2 if number == 3 else 1)
    with serving(made.node(), other.node()) as urls, Following(tmp_path / "f", urls, branch=made) as following:
        assert following.all() == 6
        assert [(event.kind, event.peer, event.block) for event in following.events] == [("fork", urls[1], 4)]
        assert following.chain.head == made.headers[-1] and following.peers[1].out
        kept = following.proof()
        assert kept["ours"][0] != kept["given"][0] and (kept["kind"], kept["block"]) == ("fork", 4)


@pytest.fixture
def network_file(tmp_path):
    """A network file that trusts block 13."""
    trust = trust_of(13)
    made = Network(
        CHAIN["genesis"]["config"]["chainId"], "qbft", trust.period, trust.epoch, bytes(20), bytes(32), bytes(20), bytes(32), 13,
        trust.block_hash, trust.sealers,
    )  # fmt: skip
    path = tmp_path / "network.json"
    path.write_bytes(encode_network(made))
    (tmp_path / "genesis.json").write_text(json.dumps(CHAIN["genesis"]))
    return path


def command(network_file, state, *peers):
    files = "--network", network_file, "--genesis", network_file.with_name("genesis.json")
    return "node", "follow", *files, "--state", state, "--once", *(word for url in peers for word in ("--peer", url))


def test_killed_at_any_step_a_follower_goes_on_where_it_was(tmp_path, network_file):
    def small():
        node.follow.BATCH = 9

    with serving(Shown(BLOCKS)) as urls:
        killed, at, heads = True, 1, []
        while killed:
            state = tmp_path / str(at)
            killed = forked.run(*command(network_file, state, *urls), kill_at=at, before=small).killed
            with suppress(ChainMissing), FollowedChain.open(state) as chain:
                heads.append(chain.head.number)
            done = forked.run(*command(network_file, state, *urls), "--json").json
            assert (done["ok"], done["block"], done["hash"]) == (True, 42, BLOCKS[42]["hash"])
            at += 3
    assert set(heads) >= {0, 42} and len(set(heads)) > 3 and heads == sorted(heads)


def test_bad_arguments_end_with_one_line(tmp_path, network_file):
    foreign = Branch([bytes([7]) * 32], 1_700_000_000).node()
    with serving(foreign, Shown(BLOCKS), Shown([])) as (other, good, empty):
        state = tmp_path / "f"
        for peers, words in (
            (["http://127.0.0.1:1"], "cannot be reached"), ([other], "does not give all blocks up to block 13"), (["none"], "check --peer"),
            ([empty], "does not give all blocks"),
        ):  # fmt: skip
            outcome = forked.here(*command(network_file, state, *peers), environment={})
            assert outcome.code == 2 and words in outcome.line()
        network_file.with_name("genesis.json").write_text(json.dumps(CHAIN["genesis"] | {"timestamp": "0x1"}))
        assert "another timestamp" in forked.here(*command(network_file, state, good), environment={}).line()
        london = CHAIN["genesis"]["config"] | {"londonBlock": 0}
        network_file.with_name("genesis.json").write_text(json.dumps(CHAIN["genesis"] | {"config": london}))
        assert "another base_fee_per_gas" in forked.here(*command(network_file, state, good), environment={}).line()
        network_file.with_name("genesis.json").write_text("[]")
        assert "holds no genesis" in forked.here(*command(network_file, state, good), environment={}).line()
        assert not state.exists()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            network_file.with_name("genesis.json").write_text(json.dumps(CHAIN["genesis"]))
            serve = [word for word in command(network_file, state, good) if word != "--once"]
            outcome = forked.here(*serve, "--port", taken.getsockname()[1], environment={})
            assert outcome.code == 2 and "choose another port" in outcome.line()


def test_a_damaged_folder_is_refused(tmp_path):
    with serving(Shown(BLOCKS[:5])) as urls:
        with Following(tmp_path / "f", urls) as following:
            following.all()
        (tmp_path / "f" / "genesis.json").write_text("{")
        with pytest.raises(ChainCorrupt, match=r"genesis\.json cannot be read"):
            Following(tmp_path / "f", urls)
