"""Pictures of data sets and of runs, as matplotlib figures; no display and no pyplot.

    from mnist_lib.inspection import figures
    figure = figures.draw_samples(data.train)
    figures.save(figure, "samples.png")

A function takes data and returns a `matplotlib.figure.Figure`, for a notebook to show or
`save` to write. Settings of matplotlib are left as they are.
"""

from mnist_lib.inspection.figures.classification import draw_confusion as draw_confusion
from mnist_lib.inspection.figures.classification import draw_mistakes as draw_mistakes
from mnist_lib.inspection.figures.digits import draw_augmentation as draw_augmentation
from mnist_lib.inspection.figures.digits import draw_labels as draw_labels
from mnist_lib.inspection.figures.digits import draw_noise as draw_noise
from mnist_lib.inspection.figures.digits import draw_samples as draw_samples
from mnist_lib.inspection.figures.functions import draw_activations as draw_activations
from mnist_lib.inspection.figures.functions import draw_separability as draw_separability
from mnist_lib.inspection.figures.networks import draw_feature_maps as draw_feature_maps
from mnist_lib.inspection.figures.networks import draw_filters as draw_filters
from mnist_lib.inspection.figures.networks import draw_model as draw_model
from mnist_lib.inspection.figures.probabilities import (
    draw_precision_recall as draw_precision_recall,
)
from mnist_lib.inspection.figures.probabilities import draw_reliability as draw_reliability
from mnist_lib.inspection.figures.representations import draw_embedding as draw_embedding
from mnist_lib.inspection.figures.representations import (
    penultimate_features as penultimate_features,
)
from mnist_lib.inspection.figures.run_figures import draw_run as draw_run
from mnist_lib.inspection.figures.saliency import draw_saliency as draw_saliency
from mnist_lib.inspection.figures.seeds import draw_seeds as draw_seeds
from mnist_lib.inspection.figures.style import describe_source as describe_source
from mnist_lib.inspection.figures.style import save as save
from mnist_lib.inspection.figures.training_curves import draw_curves as draw_curves
