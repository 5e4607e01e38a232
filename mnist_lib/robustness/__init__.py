"""What a run is worth on images unlike those it was trained on, and how far it knows."""
