"""Every family through its options: what it builds, what it refuses, and that it can be trained."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from ganterm.networks import DISCRIMINATORS, GENERATORS
from ganterm.networks.modules.shells import DiscriminatorOutput
from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions
from ganterm.training.optim import BufferGuard, Weights
from ganterm.training.torch_internals import flatten

Options = dict[str, Any]
Case = tuple[str, Options, tuple[int, ...]]

R3 = {"widths": [8, 16, 16], "cardinality": [4, 4, 8]}
R3_4 = {"widths": [16] * 4, "cardinality": [4] * 4}
R3_5 = {"widths": [8] * 5, "cardinality": [2] * 5}

G_CASES: list[Case] = [
    ("mlp", {"hidden": [8]}, (1, 4, 4)),
    ("mlp", {"hidden": [8], "output": "linear", "init": "he_normal"}, (2,)),
    ("dcgan", {"width": 4}, (1, 28, 28)),
    ("dcgan", {"width": 4, "up": "nearest", "init": "torch"}, (3, 32, 32)),
    ("dcgan", {"width": 2, "up": "bilinear", "norm": "none"}, (3, 64, 64)),
    ("dcgan", {"width": 2, "kernel": 6, "activation": "leaky_relu"}, (1, 56, 56)),
    ("larson", {}, (3, 32, 32)),
    ("chollet", {}, (3, 32, 32)),
    ("sngan", {"width": 8}, (3, 32, 32)),
    ("sngan", {"width": 8}, (1, 28, 28)),
    ("r3gan", R3, (1, 28, 28)),
    ("r3gan", R3_4, (3, 32, 32)),
    ("r3gan", R3_5, (3, 64, 64)),
]
D_CASES: list[Case] = [
    ("mlp", {"hidden": [8], "dropout": 0.2}, (1, 4, 4)),
    ("mlp", {"hidden": [8], "norm": "spectral", "init": "he_normal"}, (2,)),
    ("dcgan", {"width": 4}, (1, 28, 28)),
    ("dcgan", {"width": 4, "norm": "none", "kernel": 5, "dropout": 0.3}, (3, 32, 32)),
    ("dcgan", {"width": 2, "norm": "layer"}, (3, 64, 64)),
    ("dcgan", {"width": 4, "norm": "instance", "init": "torch"}, (6, 32, 32)),
    ("dcgan", {"width": 4, "norm": "spectral"}, (1, 28, 28)),
    ("larson", {"norm": "batch"}, (3, 32, 32)),
    ("larson", {"norm": "layer"}, (3, 32, 32)),
    ("chollet", {}, (3, 32, 32)),
    ("sngan", {"width": 8}, (3, 32, 32)),
    ("sngan", {"width": 8}, (1, 28, 28)),
    ("r3gan", R3, (1, 28, 28)),
    ("r3gan", R3_4, (3, 32, 32)),
    ("r3gan", R3_5, (3, 64, 64)),
    ("autoencoder", {"code": 5}, (1, 4, 4)),
    ("autoencoder", {"hidden": [9, 7], "code": 5, "output": "linear", "error": "l1"}, (2,)),
]


def named(case: Case) -> str:
    family, options, shape = case
    told = [str(value) for value in options.values() if isinstance(value, str)]
    return "-".join([family, *told, "x".join(map(str, shape))])


def g_options(family: str, **options: Any) -> GeneratorOptions:
    return GENERATORS[family](**options)


def d_options(family: str, **options: Any) -> DiscriminatorOptions:
    return DISCRIMINATORS[family](**options)


def generator(family: str, shape: tuple[int, ...], classes: int = 0, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return g_options(family, **options).build(shape, classes)


def discriminator(
    family: str, shape: tuple[int, ...], classes: int = 0, **options: Any
) -> nn.Module:
    torch.manual_seed(0)
    return d_options(family, **options).build(shape, classes)


def built(case: Case, kind: str) -> tuple[nn.Module, Tensor]:
    """The network of a case and a batch of three that it takes."""
    family, options, shape = case
    if kind == "G":
        latents = g_options(family, **options).latent_dim
        return generator(family, shape, **options), torch.randn(3, latents)
    return discriminator(family, shape, **options), torch.rand(3, *shape) * 2 - 1


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def layers(module: nn.Module, *kinds: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def shapes(module: nn.Module) -> list[tuple[int, ...]]:
    """The weights of the linear layers and convolutions, in order."""
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    return [tuple(layer.weight.shape) for layer in layers(module, *kinds)]


def nudged(module: nn.Module) -> nn.Module:
    """Away from first weights that are zero on purpose and let no gradient past."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return module


def float_buffers(module: nn.Module, unlike: dict[str, Tensor]) -> list[str]:
    """The float buffers that are no longer as they were."""
    return [
        name
        for name, buffer in module.named_buffers()
        if buffer.is_floating_point() and not torch.equal(buffer, unlike[name])
    ]


def batchless(case: Case) -> bool:
    """Whether a gradient penalty is sound: each sample is judged by itself, to one score."""
    net, _ = built(case, "D")
    return case[0] != "autoencoder" and not layers(net, nn.BatchNorm1d, nn.BatchNorm2d)


EVERY = [(case, "G") for case in G_CASES] + [(case, "D") for case in D_CASES]
every = pytest.mark.parametrize(
    ("case", "kind"), EVERY, ids=[f"{kind}-{named(case)}" for case, kind in EVERY]
)


@pytest.mark.parametrize("case", G_CASES, ids=named)
def test_a_generator_makes_samples_of_the_datas_shape(case: Case) -> None:
    family, options, shape = case
    net, noise = built(case, "G")
    made = net(noise)
    assert made.shape == (3, *shape)
    assert made.std() > 0
    if family != "r3gan" and options.get("output") != "linear":
        assert made.abs().max() <= 1


@pytest.mark.parametrize("family", ["mlp", "r3gan"])
def test_a_linear_output_has_no_bounds(family: str) -> None:
    options = {"output": "linear"} if family == "mlp" else R3_4
    net = generator(family, (3, 32, 32), **options)
    assert net(100 * torch.randn(4, 64)).abs().max() > 1


@pytest.mark.parametrize("case", D_CASES, ids=named)
def test_a_discriminator_gives_one_score_a_sample(case: Case) -> None:
    net, samples = built(case, "D")
    judged = net(samples)
    scores = judged.scores if isinstance(judged, DiscriminatorOutput) else judged
    assert scores.shape == (3,)
    assert scores.std() > 0


@every
def test_the_gradient_reaches_every_parameter(case: Case, kind: str) -> None:
    net, batch = built(case, kind)
    out = nudged(net)(batch)
    out = out.scores if isinstance(out, DiscriminatorOutput) else out
    names, parameters = zip(*net.named_parameters(), strict=True)
    # Not the plain mean: a batch norm's would be its shift alone.
    total = (out * torch.randn_like(out)).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    unreached = [
        name
        for name, gradient in zip(names, gradients, strict=True)
        if gradient is None or not gradient.any()
    ]
    assert unreached == []


@every
def test_a_copy_and_a_saved_state_are_the_same_network(case: Case, kind: str) -> None:
    net, batch = built(case, kind)
    net(batch)
    net.eval()
    other, _ = built(case, kind)
    nudged(other).eval()
    other.load_state_dict(net.state_dict())

    def told(module: nn.Module) -> Tensor:
        out = module(batch)
        return out.scores if isinstance(out, DiscriminatorOutput) else out

    copied = copy.deepcopy(net)
    assert torch.equal(told(copied), told(net))
    assert torch.equal(told(other), told(net))
    nudged(net)
    assert not torch.equal(told(copied), told(net))


@every
def test_it_trains_with_its_weights_and_buffers_laid_flat(case: Case, kind: str) -> None:
    net, batch = built(case, kind)
    weights, guard = Weights(net), BufferGuard(net)
    written = layers(net, nn.BatchNorm1d, nn.BatchNorm2d, ParametrizationList)
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    guard.keep()

    def total() -> Tensor:
        out = net(batch)
        return (out.scores if isinstance(out, DiscriminatorOutput) else out).square().mean()

    losses = []
    for _ in range(2):
        loss = total()
        losses.append(loss)
        with torch.no_grad():
            # Far enough that any network's output changes, too near to blow up.
            step = flatten(weights.gradients(loss))
            weights.flat.sub_(0.01 * step / step.norm())
    assert losses[0] != losses[1]
    whole = weights.flat.untyped_storage().data_ptr()
    assert {p.untyped_storage().data_ptr() for p in net.parameters()} == {whole}
    assert float_buffers(net, unlike=before) or not written
    guard.restore_where(torch.tensor(1.0))
    assert not float_buffers(net, unlike=before)


def test_gs_batch_norm_and_ds_spectral_norm_share_one_guard() -> None:
    g = generator("dcgan", (1, 28, 28), width=4)
    d = discriminator("dcgan", (1, 28, 28), width=4, norm="spectral")
    weights, guard = Weights(g), BufferGuard(g, d)
    before = {name: buffer.clone() for name, buffer in d.named_buffers()}
    guard.keep()
    gradients = weights.gradients(d(g(torch.randn(3, 100))).mean())
    assert all(gradient.any() for gradient in gradients)
    assert float_buffers(d, unlike=before)
    guard.restore_where(torch.tensor(1.0))
    assert not float_buffers(d, unlike=before)


@pytest.mark.parametrize("case", [case for case in D_CASES if batchless(case)], ids=named)
def test_a_gradient_penalty_reaches_the_weights(case: Case) -> None:
    net, samples = built(case, "D")
    samples.requires_grad_()
    (slope,) = torch.autograd.grad(nudged(net)(samples).sum(), samples, create_graph=True)
    named_weights = [(name, p) for name, p in net.named_parameters() if p.ndim > 1]
    gradients = torch.autograd.grad(slope.square().sum(), [p for _, p in named_weights])
    for (name, _), gradient in zip(named_weights, gradients, strict=True):
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


# What the sources have


def test_dcgan_at_64_pixels_is_pytorchs_example() -> None:
    g, d = generator("dcgan", (3, 64, 64)), discriminator("dcgan", (3, 64, 64))
    assert (count(g), count(d)) == (3_576_704, 2_765_568)
    assert shapes(g) == [
        (512 * 16, 100),
        (512, 256, 4, 4),
        (256, 128, 4, 4),
        (128, 64, 4, 4),
        (64, 3, 4, 4),
    ]
    assert shapes(d) == [
        (64, 3, 4, 4),
        (128, 64, 4, 4),
        (256, 128, 4, 4),
        (512, 256, 4, 4),
        (1, 512 * 16),
    ]
    assert [norm.num_features for norm in layers(g, nn.BatchNorm2d)] == [512, 256, 128, 64]
    assert [norm.num_features for norm in layers(d, nn.BatchNorm2d)] == [128, 256, 512]
    for layer in layers(g, nn.ConvTranspose2d) + layers(d, nn.Conv2d):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
    for norm in layers(g, nn.BatchNorm2d):
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.02)
        assert 0 < norm.weight.std() < 0.04


def test_dcgan_options_give_the_svhn_networks_of_wgan_gp() -> None:
    shape = (3, 32, 32)
    g = generator("dcgan", shape, latent_dim=128, norm="none", init="torch")
    d = discriminator("dcgan", shape, kernel=5, norm="none", init="torch")
    assert shapes(g) == [(4096, 128), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    assert shapes(d) == [(64, 3, 5, 5), (128, 64, 5, 5), (256, 128, 5, 5), (1, 4096)]
    assert not layers(g, nn.BatchNorm2d) + layers(d, nn.BatchNorm2d, nn.GroupNorm)
    assert all(layer.bias is not None for layer in layers(g, nn.Linear, nn.ConvTranspose2d))
    assert len(layers(g, nn.ReLU)) == 3
    assert [layer.negative_slope for layer in layers(d, nn.LeakyReLU)] == [0.2] * 3


def test_chollets_frogs_have_the_published_parameters() -> None:
    g, d = generator("chollet", (3, 32, 32)), discriminator("chollet", (3, 32, 32))
    assert (count(g), count(d)) == (6_264_579, 790_913)
    assert {layer.negative_slope for layer in layers(g, nn.LeakyReLU)} == {0.3}


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm)])
def test_larsons_frogs_have_the_published_layers(norm: str, kind: type[nn.Module]) -> None:
    g, d = generator("larson", (3, 32, 32)), discriminator("larson", (3, 32, 32), norm=norm)
    assert shapes(g) == [
        (128 * 64, 32),
        (128, 128, 3, 3),
        (128, 128, 3, 3),
        (64, 128, 3, 3),
        (3, 64, 3, 3),
    ]
    assert shapes(d) == [
        (16, 3, 3, 3),
        (32, 16, 3, 3),
        (64, 32, 3, 3),
        (128, 64, 3, 3),
        (1, 512),
    ]
    assert [layer.negative_slope for layer in layers(d, nn.LeakyReLU)] == [0.2, 0.3, 0.2, 0.2]
    assert len(layers(d, kind)) == 3
    assert all(linear.bias.eq(0.01).all() for linear in layers(d, nn.Linear))


def test_sngan_has_the_published_parameters() -> None:
    g, d = generator("sngan", (3, 32, 32)), discriminator("sngan", (3, 32, 32))
    inner, across = 256 * 256 * 9 + 256, 256 * 256 + 256
    up_block = 2 * inner + across + 2 * 512
    assert count(g) == 129 * 4096 + 3 * up_block + 512 + 256 * 27 + 3
    inner, across = 128 * 128 * 9 + 128, 128 * 128 + 128
    first = (3 * 128 * 9 + 128) + inner + (3 * 128 + 128)
    assert count(d) == first + (2 * inner + across) + 2 * 2 * inner + 129


def test_r3gan_has_the_published_parameters_for_cifar() -> None:
    with torch.device("meta"):
        g = g_options("r3gan").build((3, 32, 32))
        d = d_options("r3gan").build((3, 32, 32))
    block = 768 * 1536 * 2 + 1536 + 1536 * 16 * 9 + 1536
    assert count(g) == 768 * 16 + 64 * 768 + 8 * block + 768 * 3
    assert count(d) == 3 * 768 + 8 * block + 768 * 16 + 768


def test_an_r3gan_block_begins_as_the_identity_and_keeps_the_variance() -> None:
    options = {"widths": [64] * 4, "cardinality": [8] * 4}
    d = discriminator("r3gan", (3, 32, 32), **options)
    x = torch.randn(2, 64, 8, 8)
    block = next(layer for layer in d.body if hasattr(layer, "grouped"))
    assert torch.equal(block(x), x)
    inner = nn.functional.leaky_relu(block.wider(x), 0.2)
    assert inner.square().mean().item() == pytest.approx(1, rel=0.15)


def test_r3gan_halves_as_bilinear_doubling_does_backwards() -> None:
    d = discriminator("r3gan", (1, 28, 28), **R3)
    halve = next(layer for layer in d.body if "kernel" in dict(layer.named_buffers()))
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    small = torch.zeros(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    doubled = nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    (transposed,) = torch.autograd.grad((doubled * x).sum(), small)
    # Beyond the border one takes zeros and the other repeats, so only the inside is the same.
    inside = (..., slice(1, -1), slice(1, -1))
    assert torch.allclose(halve.double()(x)[inside] * 4, transposed[inside])


@pytest.mark.parametrize(("error", "power"), [("mse", 2), ("l1", 1)])
def test_an_autoencoder_scores_by_its_error_and_tells_its_code(error: str, power: int) -> None:
    net = discriminator("autoencoder", (1, 28, 28), error=error)
    assert d_options("autoencoder").d_kind == "autoencoder"
    assert shapes(net) == [(128, 784), (784, 128)]
    samples = torch.rand(5, 1, 28, 28) * 2 - 1
    judged = net(samples)
    assert judged.code.shape == (5, 128)
    back = net.decoder(judged.code).view_as(samples)
    assert back.abs().max() <= 1
    expected = -(back - samples).abs().pow(power).mean((1, 2, 3))
    assert torch.allclose(judged.scores, expected)


def test_an_autoencoders_decoder_mirrors_its_encoder() -> None:
    net = discriminator("autoencoder", (2,), hidden=[9, 7], code=5)
    assert shapes(net) == [(9, 2), (7, 9), (5, 7), (7, 5), (9, 7), (2, 9)]


# Labels and packing

LABELLED = [
    ("mlp", {"hidden": [8]}, (1, 4, 4)),
    ("dcgan", {"width": 4}, (1, 28, 28)),
    ("sngan", {"width": 8}, (3, 32, 32)),
]
CLASSES = 5


@pytest.mark.parametrize("conditional", ["onehot", "embedding"])
@pytest.mark.parametrize("case", LABELLED, ids=named)
def test_a_conditional_generator_listens_to_the_label(case: Case, conditional: str) -> None:
    family, options, shape = case
    net = generator(family, shape, CLASSES, conditional=conditional, latent_dim=6, **options)
    net.eval()
    noise = torch.randn(1, 6).expand(CLASSES, -1)
    made = net(noise, torch.arange(CLASSES))
    assert made.shape == (CLASSES, *shape)
    assert torch.equal(made, net(noise, torch.arange(CLASSES)))
    assert len(made.flatten(1).unique(dim=0)) == CLASSES


@pytest.mark.parametrize("conditional", ["onehot", "embedding", "projection"])
@pytest.mark.parametrize("case", LABELLED, ids=named)
def test_a_conditional_discriminator_listens_to_the_label(case: Case, conditional: str) -> None:
    family, options, shape = case
    net = discriminator(family, shape, CLASSES, conditional=conditional, **options).eval()
    samples = torch.randn(1, *shape).expand(CLASSES, *shape)
    scores = net(samples, torch.arange(CLASSES))
    assert scores.shape == (CLASSES,)
    assert len(scores.unique()) == CLASSES


@pytest.mark.parametrize("conditional", ["none", "projection"])
@pytest.mark.parametrize("case", LABELLED, ids=named)
def test_an_auxiliary_head_tells_the_label(case: Case, conditional: str) -> None:
    family, options, shape = case
    net = discriminator(family, shape, CLASSES, conditional=conditional, auxiliary=True, **options)
    judged = net(torch.randn(3, *shape), torch.tensor([0, 4, 2]))
    assert isinstance(judged, DiscriminatorOutput)
    assert judged.scores.shape == (3,)
    assert judged.logits.shape == (3, CLASSES)


def test_a_projection_starts_small_beside_thousands_of_features() -> None:
    net = discriminator("dcgan", (3, 32, 32), 10, conditional="projection", norm="layer")
    samples, labels = torch.randn(32, 3, 32, 32), torch.arange(32) % 10
    told = (net.projection(labels) * net.body(samples)).sum(1)
    assert told.std() < 5


@pytest.mark.parametrize("pack", [2, 4])
@pytest.mark.parametrize("family", sorted(DISCRIMINATORS.keys() - {"autoencoder"}))
def test_a_packing_discriminator_takes_the_packed_channels(family: str, pack: int) -> None:
    options = {"r3gan": R3_4, "dcgan": {"width": 4}, "sngan": {"width": 8}}.get(family, {})
    net = discriminator(family, (3 * pack, 32, 32), pack=pack, **options)
    samples = torch.randn(2, 3 * pack, 32, 32)
    assert net.eval()(samples).shape == (2,)
    samples[:, -1] += 1
    assert not torch.equal(net(samples), net(samples - 1))


# Spectral norm


@pytest.mark.parametrize("case", [D_CASES[1], D_CASES[6], D_CASES[10]], ids=named)
def test_spectral_norm_holds_the_largest_singular_value_at_one(case: Case) -> None:
    net, samples = built(case, "D")
    Weights(net), BufferGuard(net)
    nudged(net)
    kinds = (nn.Linear, nn.Conv2d)
    assert all(hasattr(layer, "parametrizations") for layer in layers(net, *kinds))
    for _ in range(60):
        net(samples)
    net.eval()
    for layer in layers(net, *kinds):
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=0.02)


def test_spectral_norm_covers_the_labels_layers() -> None:
    net = discriminator("sngan", (3, 32, 32), 4, width=8, conditional="projection", auxiliary=True)
    for layer in (net.projection, net.auxiliary, net.head):
        assert hasattr(layer, "parametrizations")


# What is refused


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("dcgan", {"kernel": 3}, "checkerboard"),
        ("dcgan", {"kernel": 5}, "checkerboard"),
        ("dcgan", {"kernel": 8}, "4 or 6"),
        ("dcgan", {"kernel": 6, "up": "bilinear"}, "transposed"),
        ("r3gan", {"widths": [8, 8, 8]}, "each of the 3 widths"),
        ("r3gan", {"widths": [8, 8], "cardinality": [3, 8]}, "3 groups"),
        ("r3gan", {"widths": [8, 8], "cardinality": [0, 8]}, "greater than or equal to 1"),
        ("mlp", {"codes": 10}, "conditional"),
    ],
)
def test_generator_options_that_cannot_be(family: str, options: Options, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        g_options(family, **options)


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        ("dcgan", {"kernel": 3}, "4 or 5"),
        ("dcgan", {"conditional": "onehot", "auxiliary": True}, "label that it is given"),
        ("mlp", {"conditional": "projection", "pack": 2}, "no single label"),
        ("mlp", {"auxiliary": True, "pack": 2}, "no single label"),
        ("autoencoder", {"conditional": "onehot"}, "no labels"),
        ("autoencoder", {"auxiliary": True}, "no labels"),
        ("autoencoder", {"pack": 2}, "one sample"),
    ],
)
def test_discriminator_options_that_cannot_be(family: str, options: Options, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        d_options(family, **options)


@pytest.mark.parametrize(
    ("family", "shape", "words"),
    [
        ("dcgan", (2,), "2 numbers; try mlp"),
        ("dcgan", (1, 27, 27), "not of 27 x 27"),
        ("dcgan", (1, 7, 7), "not of 7 x 7"),
        ("dcgan", (3, 32, 64), "square pictures, not 32 x 64"),
        ("chollet", (3, 28, 28), "32 x 32 pictures, not 28 x 28"),
        ("larson", (3, 64, 64), "32 x 32 pictures, not 64 x 64"),
        ("sngan", (3, 64, 64), "28 x 28 or 32 x 32 pictures"),
        ("r3gan", (3, 28, 28), "32 or 56 pixels a side, not 28"),
        ("r3gan", (2,), "try mlp"),
    ],
)
def test_shapes_that_a_family_cannot_make(family: str, shape: tuple[int, ...], words: str) -> None:
    for options in (g_options(family), d_options(family)):
        with pytest.raises(ValueError, match=words):
            options.build(shape)


@pytest.mark.parametrize("conditional", ["onehot", "embedding", "projection"])
@pytest.mark.parametrize("case", LABELLED, ids=named)
def test_a_label_needs_classes(case: Case, conditional: str) -> None:
    family, options, shape = case
    with pytest.raises(ValueError, match="needs some"):
        discriminator(family, shape, conditional=conditional, **options)
    with pytest.raises(ValueError, match="needs some"):
        discriminator(family, shape, auxiliary=True, **options)
    if conditional != "projection":
        with pytest.raises(ValueError, match="needs some"):
            generator(family, shape, conditional=conditional, **options)
