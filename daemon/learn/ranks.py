"""The rank of an adapter by how much it holds. Knows no tensors."""

HELD_APART = 2  # definitions for each direction of a layer: of more, what is asked about one moves what is said about another


def rank_for(definitions: int, *, rank: int, most: int) -> int:
    """`rank`, doubled until it holds so many definitions apart, and no more than `most`; never less than `rank`."""
    while definitions > HELD_APART * rank and 2 * rank <= most:
        rank *= 2
    return rank
