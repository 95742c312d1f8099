// What an application does with ethers: deploys a contract, sends to it, and reads. One line of JSON with what it saw.
import { Contract, JsonRpcProvider, Wallet } from "ethers";

const [url, key, code] = process.argv.slice(2);
const chain = new JsonRpcProvider(url, undefined, { polling: true, pollingInterval: 100, cacheTimeout: -1 });
const wallet = new Wallet(key, chain);
const free = { gasPrice: 0, type: 0 };

const made = await (await wallet.sendTransaction({ data: code, ...free })).wait();
const stored = new Contract(made.contractAddress, ["event Stored(uint256 indexed key, uint256 value)"], chain);
const data = (key, value) => "0x" + [key, value].map((one) => one.toString(16).padStart(64, "0")).join("");
const output = await chain.call({ to: made.contractAddress, data: data(7, 42) });
const sent = await (await wallet.sendTransaction({ to: made.contractAddress, data: data(7, 42), ...free })).wait();
const logs = await stored.queryFilter("Stored", made.blockNumber);
const proof = await chain.send("eth_getProof", [made.contractAddress, ["0x7"], "latest"]);
const block = await chain.getBlock(sent.blockNumber, true);
let refused = "";
try {
  await chain.call({ to: made.contractAddress, data: "0x" });
} catch (error) {
  refused = error.reason ?? error.shortMessage;
}
console.log(JSON.stringify({
  chain: Number((await chain.getNetwork()).chainId),
  contract: made.contractAddress,
  output: Number(output),
  status: sent.status,
  hash: sent.hash,
  gas: Number(sent.gasUsed),
  logs: logs.map((log) => [Number(log.args.key), Number(log.args.value), log.transactionHash]),
  storage: Number(await chain.getStorage(made.contractAddress, 7)),
  proof: Number(proof.storageProof[0].value),
  block: [block.number, block.transactions],
  nonce: await chain.getTransactionCount(wallet.address),
  balance: Number(await chain.getBalance(wallet.address)),
  code: await chain.getCode(made.contractAddress),
  refused,
}));
chain.destroy();
