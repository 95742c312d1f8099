"""Sample hospitals: relational databases made from synthetic patients, for trials, demonstrations and tests."""
