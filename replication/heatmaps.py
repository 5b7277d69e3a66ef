"""Where a network looks: saliency, SmoothGrad, Grad-CAM, HiResCAM; a map's share in the lungs."""

import warnings
from collections.abc import Callable, Sequence

import keras
import numpy as np
from skimage.transform import resize
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.layercam import Layercam
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
from tf_keras_vis.utils.scores import BinaryScore, CategoricalScore, Score

from replication.environment import float32_copy

# Ours: the paper names SmoothGrad without parameters; these are in the range its inventors use
# (noise of 10 to 20 % of the value range, 50 samples: Smilkov et al. 2017, arXiv 1706.03825).
SMOOTH_SAMPLES, SMOOTH_NOISE = 50, 0.15

ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
)

# Images whose gradients are held in memory together; V-BreathNet's first block takes 0.2 GB each.
BATCH = 4

# A class index for all images, or one for each.
Classes = int | Sequence[int] | np.ndarray


def vanilla_saliency(model: keras.Model, images: np.ndarray, classes: Classes) -> np.ndarray:
    """Magnitude of the class score's gradient for each input pixel (Simonyan et al. 2014).

    Ours: a softmax network is explained by its score before the softmax, as Simonyan et al. do
    (arXiv 1312.6034, section 2); a softmax that is sure has next to no gradient, and raising one
    class is mixed with lowering the others. A single output is explained as it is.

    Args:
        model: softmax over two or more classes, or one sigmoid or logit as output.
        images: float32 (n, [frames,] height, width, channels), scaled as the network was trained.
        classes: index of the class to explain, one for all or one for each image; with a single
            output 1 or True for the positive class, 0 or False for the other.

    Returns:
        float32 (n, [frames,] height, width), each image or clip scaled to 0..1 as a whole; the
        largest of the channels.

    Raises:
        ValueError: a class that the model lacks, or another number of classes than images.
    """
    classes = _class_indices(model, len(images), classes)
    visualizer = Saliency(_explained_model(model, linear=_outputs(model) > 1))
    return _in_batches(visualizer, model, images, classes, BATCH)


def smoothgrad(
    model: keras.Model,
    images: np.ndarray,
    classes: Classes,
    samples: int = SMOOTH_SAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """As `vanilla_saliency`, averaged over noisy copies of the image (SmoothGrad).

    The library draws its noise from NumPy's global generator; it is seeded here for each image
    and its state put back, so that an image has the same map in every call.
    """
    classes = _class_indices(model, len(images), classes)
    visualizer = Saliency(_explained_model(model, linear=_outputs(model) > 1))

    def seeded(*args, **kwargs) -> np.ndarray:
        np.random.seed(seed)
        return visualizer(*args, smooth_samples=samples, smooth_noise=SMOOTH_NOISE, **kwargs)

    state = np.random.get_state()
    try:
        return _in_batches(seeded, model, images, classes, 1)
    finally:
        np.random.set_state(state)


def gradcam(
    model: keras.Model, images: np.ndarray, classes: Classes, layer: str | None = None
) -> np.ndarray:
    """Grad-CAM: a layer's feature maps, weighted by how much each raises the class score.

    Selvaraju et al. 2017 (arXiv 1610.02391, section 3): the score is the one before the softmax
    (or sigmoid); negative evidence is cut off. Ours: the map is enlarged linearly with pixel
    areas aligned, because the library's own enlargement aligns pixel centres, which moves a 7x7
    map by up to half a cell (16 of 224 pixels); and it is divided by its maximum instead of
    stretched from its minimum, so that 0 means no evidence.

    A feature map has one weight for all its places. Where dense layers follow the flattened maps
    and weight each place by itself, Grad-CAM may light places that the network does not use
    (Draelos & Carin 2020, arXiv 2011.08891); `hirescam` does not.

    Args:
        model: softmax over two or more classes, or one sigmoid or logit as output; not nested.
        images: float32 (n, [frames,] height, width, channels), scaled as the network was trained.
        classes: as in `vanilla_saliency`.
        layer: name of the layer whose feature maps are used. None: the last convolution, after
            its activation (V-BreathNet 7x7; the baselines' heads 5x5). An activation layer is a
            better choice than the convolution before it: what a ReLU removes is no evidence.

    Returns:
        float32 (n, [frames,] height, width): maximum 1, or all 0 where nothing speaks for the
        class.

    Raises:
        ValueError: no such class or layer, or a layer without ([frames,] height, width, channels)
            output.
    """
    return _activation_maps(Gradcam, model, images, classes, layer or last_feature_layer(model))


def hirescam(
    model: keras.Model, images: np.ndarray, classes: Classes, layer: str | None = None
) -> np.ndarray:
    """HiResCAM: as `gradcam`, but each place of a feature map is weighted by its own gradient.

    Draelos & Carin 2020 (arXiv 2011.08891, section 3): what does not reach the score stays dark.

    Args:
        layer: None: the last one with feature maps, pooled or not. Before a max pooling only the
            winners have a gradient, and the map is a grid.
    """
    layer = layer or last_feature_layer(model, activated=False)
    # The library's Layer-CAM is this with gradients below 0 cut off, unless told otherwise.
    return _activation_maps(Layercam, model, images, classes, layer, gradient_modifier=None)


def _activation_maps(
    method: type[Gradcam],
    model: keras.Model,
    images: np.ndarray,
    classes: Classes,
    layer: str,
    **options,
) -> np.ndarray:
    """Maps of a class activation method, enlarged to the images and divided by their maxima."""
    classes = _class_indices(model, len(images), classes)
    if not _is_feature_maps(model, _layer(model, layer)):
        raise ValueError(f"layer {layer} has no ([frames,] height, width, channels) output")
    visualizer = method(_explained_model(model, linear=True))

    def coarse_maps(*args) -> np.ndarray:
        return visualizer(
            *args, penultimate_layer=layer, seek_penultimate_conv_layer=False,
            expand_cam=False, normalize_cam=False, **options,
        )  # fmt: skip

    coarse = _in_batches(coarse_maps, model, images, classes, BATCH)
    shape = images.shape[1:-1]
    maps = np.stack([resize(m, shape, order=1, mode="edge", anti_aliasing=False) for m in coarse])
    peaks = maps.max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    return np.divide(maps, peaks, out=np.zeros_like(maps), where=peaks > 0)


def last_feature_layer(model: keras.Model, activated: bool = True) -> str:
    """Name of the last layer that activates feature maps ([frames,] height, width, channels).

    Ours: the paper does not name Grad-CAM's layer; the last convolution is what its inventors
    recommend, and their maps are taken after the ReLU.

    Args:
        activated: False: the last layer that returns such maps, whatever it does.

    Raises:
        ValueError: there is none, as in a model that calls a whole backbone as one layer.
    """
    linear = keras.activations.linear
    for layer in reversed(model.layers):
        activates = isinstance(layer, ACTIVATIONS) or getattr(layer, "activation", linear) != linear
        if (activates or not activated) and _is_feature_maps(model, layer):
            return layer.name
    raise ValueError(
        f"model {model.name} has no activated feature maps at its top level; build it flat "
        "(head on base.output) or name a layer"
    )


def lung_mass(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share of each map's heat that lies inside the lungs; its chance level is `lung_area`.

    Args:
        maps: (n, height, width), 0 or more.
        masks: (n, height, width), lungs nonzero.

    Returns:
        float64 (n,) in 0..1, NaN where a map is all zero.

    Raises:
        ValueError: shapes differ, or a map is negative somewhere.
    """
    if maps.shape != masks.shape or maps.ndim != 3:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape}, not one (n, height, width)")
    if maps.size and not maps.min() >= 0:
        raise ValueError(f"maps reach {maps.min()}; a share needs values of 0 or more")
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    inside = np.where(masks != 0, maps, 0).sum(axis=(1, 2), dtype=np.float64)
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def lung_area(masks: np.ndarray) -> np.ndarray:
    """Share of the picture that the lungs take: the `lung_mass` of heat spread evenly.

    Args:
        masks: (n, height, width), lungs nonzero.

    Returns:
        float64 (n,) in 0..1.
    """
    return (masks != 0).mean(axis=(1, 2), dtype=np.float64)


def _outputs(model: keras.Model) -> int:
    return model.output_shape[-1]


def _layer(model: keras.Model, name: str) -> keras.Layer:
    if name not in (layer.name for layer in model.layers):
        raise ValueError(f"model {model.name} has no layer {name} at its top level")
    return model.get_layer(name)


def _is_feature_maps(model: keras.Model, layer: keras.Layer) -> bool:
    """Whether a layer returns maps with the axes of the input, an image or a clip, not one cell."""
    shape = layer.output.shape
    is_input = isinstance(layer, keras.layers.InputLayer)
    return not is_input and len(shape) == len(model.input_shape) and set(shape[1:-1]) != {1}


def _class_indices(model: keras.Model, n: int, classes: Classes) -> list[int]:
    """One class index for each image; the library silently drops images without one."""
    indices = [int(index) for index in np.atleast_1d(classes)]
    indices = indices * n if len(indices) == 1 else indices
    known = max(_outputs(model), 2)  # a single output has two classes
    if len(indices) != n or not all(0 <= index < known for index in indices):
        raise ValueError(f"classes {classes} for {n} images and a model of {known} classes")
    return indices


def _explained_model(model: keras.Model, linear: bool) -> keras.Model:
    """The model in float32, as it is or as a copy that ends before its softmax or sigmoid."""
    if not linear:
        mixed = any(layer.compute_dtype != "float32" for layer in model.layers)
        return float32_copy(model) if mixed else model
    if not hasattr(model.get_layer(model.output_names[0]), "activation"):
        raise ValueError(f"the output layer of {model.name} has no activation to take off")
    copy = float32_copy(model)  # small gradients vanish in float16
    ReplaceToLinear()(copy)
    return copy


def _in_batches(
    visualize: Callable, model: keras.Model, images: np.ndarray, classes: list[int], size: int
) -> np.ndarray:
    """Call a visualizer as (score, images) on a few images at a time: float32 (n, ...)."""
    score: type[Score] = CategoricalScore if _outputs(model) > 1 else BinaryScore
    with warnings.catch_warnings():
        # tf-keras-vis wraps the images in a list, which Keras accepts and remarks on.
        warnings.filterwarnings("ignore", message="The structure of `inputs`", category=UserWarning)
        maps = [
            visualize(score(classes[first : first + size]), images[first : first + size])
            for first in range(0, len(images), size)
        ]
    return np.concatenate(maps).astype(np.float32, copy=False)
