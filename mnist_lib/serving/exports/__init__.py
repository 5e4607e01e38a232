"""A trained model in other forms, each proved to give the same answers."""
