"""Fits of a read-out and of the exceptions that it needs: decision="vote"."""
