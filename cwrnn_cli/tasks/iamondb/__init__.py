"""Task 3, online handwriting recognition (Section 4.3): the whole experiment."""
