"""Settings as earlier versions wrote them: those before 0.2 in one flat dict, later ones with a density, not a prior."""

from collections.abc import Callable, Mapping

MOVED = {  # settings that kept their names, and the slots that they moved to
    "pairs": {
        "model": ("width", "depth", "decoder_depth", "heads", "dropout", "label_smoothing"),
        "data": ("dataset",),
    },
    "arrays": {"data": ("dataset", "validation", "memory_gib", "image_size", "shift", "binarize", "left_out")},
    "adamw": {"optimizer": ("learning_rate", "warmup", "weight_decay"), "training": ("epochs", "batch_size", "precision")},
    "dense": {"body": ("width", "depth", "activation")},
    "conv": {"body": ("width", "depth", "hidden", "activation")},
}
DEFAULTS = {  # of settings that some of these versions did not have
    **{"about": "", "body": "dense", "hidden": 0, "bottleneck": "deterministic", "sparsity": 0.0, "token_width": 4},
    **{"beta": 1.0, "free_bits": 0.0, "kl_warmup": 0.0, "samples": 1, "entries": 256, "noise": 0.0, "affine": 0.0},
    **{"levels": 0, "mixture": 10, "target": "none", "pretrained": "", "frozen": False, "labels": 0, "nll_samples": 0},
}
DENSITY = "density"  # what the prior was called
NORMAL = {"none": "normal"}  # without a density, codes were drawn from a standard normal distribution
ONLY = "solver"  # a setting of all these versions, and of none since


def present(written: Mapping[str, object]) -> dict[str, object]:
    """Settings of any version, by full name or nested by slot, as this one has them."""
    written = nested(written) if is_flat(written) else dict(written)
    quantized = _name(written.get("bottleneck")) == "vector_quantized"
    for key in [key for key in written if key.partition(".")[0] == DENSITY]:
        value, rest = written.pop(key), key.removeprefix(DENSITY)
        if not quantized:  # its codes had a mixture, which is no prior of theirs
            written[f"prior{rest}"] = NORMAL.get(_name(value), value)
    return written


def _name(choice: object) -> object:
    return choice.get("name") if isinstance(choice, Mapping) else choice


def is_flat(written: Mapping[str, object]) -> bool:
    """Whether a configuration is of a version before 0.2."""
    return isinstance(written.get(ONLY), str) and "kind" not in written


def nested(written: Mapping[str, object]) -> dict[str, object]:
    """The same settings nested by slot, without those that do not apply."""
    old = {**DEFAULTS, **written}
    new: dict[str, object] = {"name": old["name"], "about": old.get("about", ""), "seed": old["seed"]}

    def take(part: str) -> None:
        for slot, keys in MOVED[part].items():
            new.setdefault(slot, {}).update({key: old[key] for key in keys if key in old})

    if old["body"] == "transformer":
        new["kind"] = "pairs"
        take("pairs")
        new["model"]["hidden"] = old["hidden"] or None
    else:
        new["kind"] = "arrays" if old["target"] == "none" else "predictor"
        take("arrays")
    if old["solver"] == "closed_form":
        new["optimizer"] = {"name": "closed_form"}
    else:
        take("adamw")
    if new["kind"] == "arrays":
        _body(old, new, take)
        new |= {"bottleneck": _bottleneck(old), "likelihood": _likelihood(old)}
        new |= {"corruption": _corruption(old), "model": {"overcomplete": old["overcomplete"]}}
        new["density"] = {"name": "mixture", "components": old["mixture"]} if old["mixture"] else {"name": "none"}
        if old["bottleneck"] == "gaussian":
            new["evaluation"] = {"nll_samples": old.get("nll_samples", 0)}
    elif new["kind"] == "predictor":
        new["task"] = {"target": old["target"], "labels": old["labels"]}
        if old["pretrained"]:
            new["encoder"] = {"name": "pretrained", "pretrained": old["pretrained"], "frozen": old["frozen"]}
        else:
            new["encoder"] = {"name": "scratch", "k": old["k"]}
            _body(old, new, take)
    return new


def _body(old: dict, new: dict, take: Callable[[str], None]) -> None:
    new["body"] = {"name": old["body"]}
    take(old["body"])


def _bottleneck(old: dict) -> dict[str, object]:
    name = old["bottleneck"]
    if name == "gaussian":
        keys = {key: old[key] for key in ("k", "beta", "free_bits", "samples") if key in old}
        return {"name": name, **keys, "warmup": old.get("kl_warmup", 0.0)}
    if name == "vector_quantized":
        return {"name": name, "tokens": old["k"] // old["token_width"], "width": old["token_width"], "entries": old["entries"]}
    return {"name": name, "k": old["k"], "activation": old["code_activation"], "sparsity": old["sparsity"]}


def _likelihood(old: dict) -> dict[str, object]:
    name = old["likelihood"]
    own = {"squared_error": {"activation": old["output_activation"]}, "discretized_gaussian": {"levels": old["levels"] or None}}
    return {"name": name, **own.get(name, {})}


def _corruption(old: dict) -> dict[str, object]:
    strength = old["affine"]
    amounts = {"shift": 2 * strength, "rotation": 15 * strength, "scale": 0.15 * strength, "shear": 0.3 * strength}
    affine, noise = amounts if strength else {}, {"highest": old["noise"]} if old["noise"] else {}
    names = [name for name, part in (("affine", affine), ("noise", noise)) if part]
    return {"name": "_".join(names) or "none", **affine, **noise}
