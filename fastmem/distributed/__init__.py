"""Fits of points that are on several machines: the same network, byte for byte, as on one.

A driver holds the network in the making; shards hold the points and their patterns, count, and
answer. The driver draws hyperplanes and chooses neurons as on one machine: it works on a few points
that are fetched (windows along each class's random order), and every count that decides is the
least, or the sum, of the shards' counts. Nothing depends on which shard holds what.

Every command that changes a shard's state has a number. A shard at another number refuses
(`StaleShard`), so that one which was lost and made anew can never answer silently wrong; the driver
then repeats what led to its state.
"""
