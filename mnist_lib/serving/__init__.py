"""What leaves a run: predictions of pictures, exports, and a page to draw on."""
