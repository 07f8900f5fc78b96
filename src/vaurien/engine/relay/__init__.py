"""The direct lane: the bytes of one direction, the write buffer, pauses."""
