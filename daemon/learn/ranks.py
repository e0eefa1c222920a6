"""The rank of an adapter by how much it holds. Knows no tensors."""

HELD_APART = 2  # definitions for each direction of a layer: of more, what is asked about one moves what is said about another
FEWEST = 16  # directions that a version adds to those of the one it builds on


def rank_for(definitions: int, *, rank: int, most: int) -> int:
    """`rank`, doubled until it holds so many definitions apart, and no more than `most`; never less than `rank`."""
    while definitions > HELD_APART * rank and 2 * rank <= most:
        rank *= 2
    return rank


def added_for(definitions: int) -> int:
    """How many directions so many new definitions get beside those that there are."""
    return max(FEWEST, -(-definitions // HELD_APART))


def rank_on(parent: int, definitions: int, *, most: int) -> int:
    """The rank of a version that adds so many definitions to one of rank `parent`; never less than that."""
    return max(parent, min(most, parent + added_for(definitions)))
