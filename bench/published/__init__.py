"""The published figures of the paper's authors, run again."""
