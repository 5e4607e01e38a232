"""What leaves a run: pictures to predict, exported models, a page to draw on."""
