"""What a user can measure: which method teaches a model best, what a stream of updates leaves, what learning costs. Run as a process of its own."""
