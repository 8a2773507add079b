"""Task 1, sequence generation (Section 4.1): the whole experiment."""
