"""What a hospital records: commitments, journal, tree, stores, sources, audit."""
