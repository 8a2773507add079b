"""Task 2, spoken word classification (Section 4.2): the whole experiment."""
