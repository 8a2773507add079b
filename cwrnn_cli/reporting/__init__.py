"""Tables, figures and sound of what was trained."""
