"""Ordered lists of short conjunctions, the first of which that is on decides (Rivest, 1987).

They are grown by bits a newly covered point: the fewest bytes that give back all labels.
"""
