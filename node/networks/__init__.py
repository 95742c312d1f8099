"""Networks of real engines: what each institution's node needs to take part, written to files, and how the nodes are run."""
