"""Suites: the layer lists are those of the published networks, by multiply-adds and weights, and of ``nn.networks``."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, nn, suites
from fastconv.nn.inference.graph import Graph, Node
from fastconv.suites.layers import PASSES, problem_of_pass

GIGA = 1e9

# Multiply-adds of a whole network and of its linear layers per 224x224 image. The former as torchvision publishes them
# with its weights; for LeNet the connections of C1, C3 (fully connected here) and C5 in the paper, biases apart.
MULTIPLY_ADDS = {
    "lenet": (405_600 / GIGA, 0),
    "alexnet": (0.714, (9216 * 4096 + 4096 * 4096 + 4096 * 1000) / GIGA),
    "vgg16": (15.47, (25088 * 4096 + 4096 * 4096 + 4096 * 1000) / GIGA),
    "resnet18": (1.814, 512 * 1000 / GIGA),
    "resnet50": (4.089, 2048 * 1000 / GIGA),
    "resnext50": (4.230, 2048 * 1000 / GIGA),
    "mobilenet_v2": (0.301, 1280 * 1000 / GIGA),
    "efficientnet_b0": (0.386, 1280 * 1000 / GIGA),
    "convnext_tiny": (4.456, 768 * 1000 / GIGA),
}

# Parameters of a whole network as published, and those that are not weights of convolutions: linear layers,
# normalisation, biases of convolutions, layer scales.
PARAMETERS = {
    "alexnet": (61_100_840, (9216 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000 + 1152),
    "vgg16": (138_357_544, (25088 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000 + 4224),
    "resnet18": (11_689_512, (512 + 1) * 1000 + 9600),
    "resnet50": (25_557_032, (2048 + 1) * 1000 + 53120),
    "resnext50": (25_028_904, (2048 + 1) * 1000 + 68224),
    "mobilenet_v2": (3_504_872, (1280 + 1) * 1000 + 34112),
    "efficientnet_b0": (5_288_548, (1280 + 1) * 1000 + 42016 + 9340),
    "convnext_tiny": (28_589_128, (768 + 1) * 1000 + 9 * 6624 + 288 + 2688 + 1536),
    "unet": (31_030_658, 6850),
    "unet3d": (19_069_955, 2339),
}


PHOTO = (1, 3, 224, 224)
# What each suite is called in nn.networks, its arguments there, and the shape of what it is given.
NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "lenet": ("lenet5", {}, (1, 1, 32, 32)),
    "alexnet": ("alexnet", {"hidden": 8}, PHOTO),
    "vgg16": ("vgg16", {"hidden": 8}, PHOTO),
    "resnet18": ("resnet18", {}, PHOTO),
    "resnet50": ("resnet50", {}, PHOTO),
    "resnext50": ("resnext50_32x4d", {}, PHOTO),
    "mobilenet_v2": ("mobilenet_v2", {}, PHOTO),
    "efficientnet_b0": ("efficientnet_b0", {}, PHOTO),
    "convnext_tiny": ("convnext_tiny", {}, PHOTO),
    "unet": ("unet", {"padding": "valid"}, (1, 1, 572, 572)),
    "unet3d": ("unet3d", {"padding": "valid"}, (1, 3, 116, 132, 132)),
    "textcnn": ("textcnn", {}, (1, 56)),
    "wavenet": ("wavenet", {}, (1, 256, 16000)),
}


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_multiply_adds_are_the_published_ones(name):
    total, linear = MULTIPLY_ADDS[name]
    assert suites.suite(name).multiply_adds / GIGA == pytest.approx(total - linear, rel=2e-3)


@pytest.mark.parametrize("name", PARAMETERS)
def test_weights_are_the_published_ones(name):
    total, others = PARAMETERS[name]
    assert suites.suite(name).weights == total - others


@pytest.mark.parametrize("name", suites.NAMES)
def test_layers_are_distinct_problems_that_parse_back(name):
    layers = suites.suite(name).layers
    texts = [str(layer.problem) for layer in layers]
    assert len(set(texts)) == len(texts)
    assert [ConvProblem.parse(text) for text in texts] == [layer.problem for layer in layers]
    for layer in layers:
        assert layer.count >= 1
        assert min(layer.problem.output_size) >= 1
        assert layer.problem.batch == 1


def test_counts_add_up_to_the_layers_of_the_network():
    counts = {name: sum(layer.count for layer in suites.suite(name).layers) for name in suites.NAMES}
    # ResNet-50: 1 + 16 blocks of 3 + 4 shortcuts; VGG-16: 13 of its 16 layers; U-Net: "23 convolutional layers".
    assert (counts["resnet50"], counts["vgg16"], counts["unet"]) == (53, 13, 23)
    assert (counts["resnet18"], counts["mobilenet_v2"], counts["wavenet"]) == (20, 52, 92)


def problem_of(node: Node) -> ConvProblem | None:
    """The convolution that an operator of a network is; linear layers on every pixel are 1x1 convolutions."""
    x, settings = node.inputs[0] if node.inputs else None, node.settings
    if node.operator == "convolution":
        function, shape, call = settings["function"], settings["weight"].shape, settings["call"]
        return fastconv.plan(function, x.shape, shape, **call).choice.problem
    if node.operator == "linear" and x.ndim == 4:
        batch, height, width, channels = x.shape
        shape = (*settings["weight"].shape, 1, 1)
        return fastconv.plan("conv2d", (batch, channels, height, width), shape).choice.problem
    return None


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_those_of_the_network(name):
    network, arguments, shape = NETWORKS[name]
    dtype = np.int64 if network == "textcnn" else np.float32
    graph = Graph(shape, dtype, np.float32).of(nn.networks.build(network, **arguments).eval())
    performed = Counter(problem for node in graph.nodes if (problem := problem_of(node)) is not None)
    assert performed == {layer.problem: layer.count for layer in suites.suite(name).layers}


def test_every_suite_of_a_network_is_held_to_it():
    assert set(suites.NAMES) - NETWORKS.keys() == {"image_filters"}


def test_unet3d_has_the_published_output():
    last = suites.suite("unet3d").layers[-1]
    assert last.problem.output_shape == (1, 3, 28, 44, 44)


def test_passes_of_a_layer():
    layer = ConvProblem.parse("forward 1x3x8x8 4x3x3x3 p1 float32")
    directions = [problem_of_pass(layer, name).direction for name in PASSES]
    assert directions == ["forward", "backward_input", "backward_weight"]


def test_passes_of_a_transposed_layer():
    layer = ConvProblem.parse("backward_input 1x3x8x8 4x3x2x2 s2 float32")
    directions = [problem_of_pass(layer, name).direction for name in PASSES]
    assert directions == ["backward_input", "forward", "backward_weight"]


def test_unknown_suite():
    with pytest.raises(KeyError):
        suites.suite("resnet51")
