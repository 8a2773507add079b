"""What the reports of all tasks share: figures, tables, and what a page is made of."""
