"""The chain: the embedded engine, its client, and verifiers of headers, seals and state proofs."""
