"""Publishes checkpoints, follows their confirmation, captures evidence, verifies evidence offline."""
