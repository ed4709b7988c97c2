"""`synth utility` in PyTorch, for machines that have a GPU and no TensorFlow: same network, patches, loss and test.

Usage: python benchmarks/utility_torch.py pack SET OUT [--cases N]          # needs synth: OUT/<id>.npz, 8 bits a value
       python benchmarks/utility_torch.py train OUT --real DIR --test DIR --set new=DIR --set old=DIR [--cases 4,12]
       python benchmarks/utility_torch.py table OUT                        # needs synth: means and paired intervals

`train` needs torch and numpy alone. Arms: real cases, a set, and both (half of the patches each), for every set, number
of real cases and seed; OUT/<arm>.json has Dice, sensitivity and precision of each test case. `--part 0/4` does a
quarter of the runs, for four processes side by side. Half precision (bfloat16) on a GPU.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import numpy as np

STEP, MIDDLE = 0.08, 100  # a value is (code - MIDDLE) * STEP deviations of the brain: -8 to 12
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
SHADING = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (1, 0, 1), (0, 1, 1))
ELASTIC_STEP, CUBIC_RMS = 32.0, 0.479**1.5


def pack(folder: str, out: str, most: int | None) -> None:
    """Write the brains of a set, z-scored, with labels: 0 outside, else 1 + class."""
    from synth import open_set
    from synth.case import zscored
    from synth.layout.layout import bounding_box

    Path(out).mkdir(parents=True, exist_ok=True)
    for case in list(open_set(folder))[:most]:
        box = bounding_box(case.brain)
        brain = case.brain[box]
        codes = np.rint(zscored(case.images[box], brain) / STEP + MIDDLE).clip(0, 255).astype(np.uint8)
        coded = np.where(brain, case.labels[box] + 1, 0).astype(np.uint8)
        np.savez_compressed(Path(out) / f"{case.id}.npz", codes=np.moveaxis(codes, -1, 0), coded=coded)
        print(case.id, flush=True)


def table(out: str) -> None:
    """Print mean Dice of each arm, and differences to the real cases with paired bootstrap intervals."""
    from synth.quality.bootstrap import difference, paired_bootstrap

    arms: dict[str, list] = {}
    for path in sorted(Path(out).glob("*.json")):
        record = json.loads(path.read_text())
        rows = [[record["dice"][case][region] for region in REGIONS] for case in sorted(record["dice"])]
        arms.setdefault(record["arm"], []).append(rows)
    means = {arm: np.mean(runs, 0) for arm, runs in arms.items()}
    for arm, values in means.items():
        print(
            f"{arm:20} {len(arms[arm])} seeds ", *(f"{r} {v:.3f}" for r, v in zip(REGIONS, values.mean(0), strict=True))
        )
        real = means.get(f"real {arm.split()[-1]}") if "both" in arm else None
        for k, region in enumerate(REGIONS if real is not None else ()):
            middle, low, high = paired_bootstrap(values[:, k], real[:, k], difference)
            print(f"  less real, {region}: {middle:+.3f} [{low:+.3f}, {high:+.3f}]")


class Cutter:
    """Cuts and augments patches as `trainers.segmentation.patches` and `SegmentationAugment` do for a U-Net."""

    def __init__(self, size: int, device):
        self.size, self.device = size, device
        count = int(np.ceil((size - 1) / ELASTIC_STEP)) + 3
        cell = np.minimum(np.arange(size) / ELASTIC_STEP, count - 3 - 1e-9)
        first, t = cell.astype(int), cell % 1
        weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
        basis = np.zeros((size, count))
        np.put_along_axis(basis, first[:, None] + np.arange(4), weights, 1)
        self.basis = torch.tensor(basis, dtype=torch.float32, device=device)
        line = torch.arange(size, dtype=torch.float32, device=device)
        self.grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"))
        x, y, z = self.grid * (2 / (size - 1)) - 1
        self.terms = torch.stack([x**a * y**b * z**c for a, b, c in SHADING])

    def cut(self, cases: list, rng: np.random.Generator):
        """Images (4, s, s, s) float32 and labels (s, s, s) int64 of one drawn patch."""
        case, size = cases[rng.integers(len(cases))], self.size
        in_tumour = rng.random() < 0.6 and len(case.tumour)
        places = case.tumour if in_tumour else case.brain
        centre = np.array(np.unravel_index(int(places[int(rng.integers(len(places)))]), case.size))
        on = rng.random(4) < 0.5
        on[rng.integers(4)] |= not on.any()
        flip, rotation, gamma, elastic = on & (rng.random() < 0.75)
        degrees = rng.uniform(-30, 30, 3) * rotation
        margin = size // 8 if elastic or rotation else 0
        edge = size + 2 * margin
        start, room = centre - edge // 2, case.size - edge
        start = np.where(room >= 0, np.clip(start, 0, np.maximum(room, 0)), room // 2)
        low, high = np.maximum(start, 0), np.minimum(start + edge, case.size)
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        pads = [int(n) for a in (2, 1, 0) for n in (low[a] - start[a], start[a] + edge - high[a])]
        images = functional.pad(case.images[(slice(None), *part)].float(), pads)
        coded = functional.pad(case.coded[part], pads)
        if margin:
            images, coded = self._moved(images, coded, degrees, elastic, margin, rng)
        axes = [a for a in range(3) if flip and rng.random() < 0.5]
        if axes:
            images, coded = images.flip([a + 1 for a in axes]), coded.flip(axes)
        return self._recoloured(images, coded > 0, gamma, rng), (coded.long() - 1).clamp_min(0)

    def _moved(self, images, coded, degrees, elastic, margin, rng):
        edge = coded.shape[0]
        matrix = np.eye(3)
        for axis, angle in enumerate(np.radians(degrees)):
            turn, (i, j) = np.eye(3), [a for a in range(3) if a != axis]
            turn[i, i] = turn[j, j] = np.cos(angle)
            turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
            matrix = matrix @ turn
        matrix = self._tensor(np.linalg.inv(matrix))
        source = self.grid + margin
        if elastic:
            controls = np.clip(rng.standard_normal((3, *[self.basis.shape[1]] * 3)), -3, 3) * (3.0 / CUBIC_RMS)
            b = self.basis
            source = source + torch.einsum("xi,yj,zk,cijk->cxyz", b, b, b, self._tensor(controls))
        middle = (edge - 1) / 2
        source = torch.einsum("ac,cxyz->axyz", matrix, source - middle) + middle
        outside = ((source < 0) | (source > edge - 1)).any(0)
        source = source.clamp(0, edge - 1)
        near = torch.round(source).long()
        where = torch.stack([source[2], source[1], source[0]], -1)[None] * (2 / (edge - 1)) - 1
        moved = functional.grid_sample(images[None], where, padding_mode="border", align_corners=True)[0]
        return moved, torch.where(outside, 0, coded[near[0], near[1], near[2]])

    def _recoloured(self, images, brain, gamma, rng):
        flat, inside = images.flatten(1), brain.flatten().float()
        count = inside.sum().clamp_min(1)

        def moments(values):
            mean = (values * inside).sum(1, keepdim=True) / count
            return mean, ((((values - mean) ** 2) * inside).sum(1, keepdim=True) / count).sqrt().clamp_min(1e-6)

        def least(values):
            return (values + 1e4 * (1 - inside)).amin(1, keepdim=True)

        if gamma:
            low, high = least(flat), (flat - 1e4 * (1 - inside)).amax(1, keepdim=True)
            power = self._tensor(np.exp(rng.uniform(*np.log((0.7, 1.5)), (4, 1))))
            bent = ((flat - low) / (high - low).clamp_min(1e-6)).clamp(0, 1) ** power
            (mean, spread), (new_mean, new_spread) = moments(flat), moments(bent)
            flat = (bent - new_mean) * (spread / new_spread) + mean
        images, low = flat.view_as(images), least(flat)[:, :, None, None]
        shading = rng.normal(0, 0.15, (4, 9)) * (rng.random((4, 1)) < 0.5)
        images = (images - low) * torch.exp(torch.einsum("mt,txyz->mxyz", self._tensor(shading), self.terms)) + low
        changed = rng.random(4) < 0.5
        gain, offset = rng.uniform(0.75, 1.25, 4), rng.uniform(-0.2, 0.2, 4)
        wide = [self._tensor(np.where(changed, v, n))[:, None, None, None] for v, n in ((gain, 1), (offset, 0))]
        noise = self._tensor(np.where(changed, rng.uniform(0, 0.1, 4), 0))[:, None, None, None]
        drawn = torch.Generator(self.device).manual_seed(int(rng.integers(2**31)))
        images = images * wide[0] + wide[1]
        return (images + noise * torch.randn(images.shape, generator=drawn, device=self.device)) * brain

    def _tensor(self, values):
        return torch.tensor(values, dtype=torch.float32, device=self.device)


def train(args: argparse.Namespace) -> None:
    """Run what is not there yet of this part's runs."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    out, (part, parts) = Path(args.out), map(int, args.part.split("/"))
    out.mkdir(parents=True, exist_ok=True)
    sets = {name: _cases(folder, device) for name, folder in (given.split("=", 1) for given in args.set)}
    real, test = _cases(args.real, device), _cases(args.test, device)
    plan = []
    for seed in range(args.seeds):
        for count in map(int, args.cases.split(",")):
            chosen = [real[i] for i in sorted(np.random.default_rng(seed).permutation(len(real))[:count])]
            plan.append((f"real {count}", seed, [chosen]))
            plan += [(f"{name} both {count}", seed, [chosen, cases]) for name, cases in sets.items()]
        plan += [(f"{name} alone", seed, [cases]) for name, cases in sets.items()]
    for arm, seed, pools in plan[part::parts]:
        path, begin = out / f"{arm.replace(' ', '_')}_{seed}.json", time.perf_counter()
        if path.exists():
            continue
        network = _trained(pools, seed, args, device)
        dice = {case.id: _scores(network, case, args.patch) for case in test}
        record = {"arm": arm, "seed": seed, "settings": vars(args), "device": str(device), "dice": dice}
        path.write_text(json.dumps(record))
        means = (f"{r} {np.mean([row[r] for row in dice.values()]):.3f}" for r in REGIONS)
        print(f"{arm}, seed {seed}:", *means, f"{time.perf_counter() - begin:.0f} s", flush=True)


def _cases(folder: str, device) -> list:
    return [PackedCase(path, device) for path in sorted(Path(folder).glob("*.npz"))]


class PackedCase:
    """A case that `pack` wrote, on the device."""

    def __init__(self, path: Path, device):
        with np.load(path) as arrays:
            codes, coded = (torch.from_numpy(arrays[name]).to(device) for name in ("codes", "coded"))
        self.id, self.size = path.stem, np.array(coded.shape)
        self.images, self.coded = ((codes.float() - MIDDLE) * STEP * (coded > 0)).half(), coded
        self.brain, self.tumour = (torch.nonzero(coded.flatten() > k).flatten().int() for k in (0, 1))


def _trained(pools: list, seed: int, args: argparse.Namespace, device):
    torch.manual_seed(seed)
    network = unet(args.width).to(device)
    mean = [p.detach().clone() for p in network.parameters()]
    adam = torch.optim.Adam(network.parameters(), 1e-3, eps=1e-7)
    cutter = Cutter(args.patch, device)
    for step in range(args.steps):
        patches = []
        for slot in range(args.batch):
            rng = np.random.default_rng([seed, step, slot])
            patches.append(cutter.cut(pools[rng.integers(len(pools))], rng))
        images, labels = (torch.stack(parts) for parts in zip(*patches, strict=True))
        adam.param_groups[0]["lr"] = 1e-3 * (1 - 0.9 * max(step / args.steps - 0.6, 0) / 0.4)
        adam.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(images)
        p = torch.softmax(logits.float(), 1)
        truth = functional.one_hot(labels, 4).movedim(-1, 1).float()
        a, b = (torch.stack([sum(v[:, k] for k in ks) for ks in REGIONS.values()]).flatten(1) for v in (truth, p))
        overlap = (2 * (a * b).sum(1) + 2) / (a.sum(1) + b.sum(1) + 2)
        (1 - overlap.mean() - (truth * p.clamp_min(1e-6).log()).sum(1).mean()).backward()
        adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(mean, list(network.parameters()), 1 - min(0.998, (1 + step) / (10 + step)))
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), mean, strict=True):
            parameter.copy_(value)
    return network.eval()


def _scores(network, case: PackedCase, patch: int) -> dict[str, float]:
    """Dice, sensitivity and precision by region: sliding windows, as `models.sliding_window` has them."""
    size = case.size.tolist()
    window = [-(-n // 16) * 16 if patch < n <= 1.25 * patch else patch for n in size]
    padding = [max(w - n, 0) for n, w in zip(size, window, strict=True)]
    before = [p // 2 for p in padding]
    images = functional.pad(case.images.float(), [n for a in (2, 1, 0) for n in (before[a], padding[a] - before[a])])
    x, y, z = (torch.exp(-32 * ((torch.arange(n, device=images.device) - (n - 1) / 2) / n) ** 2) for n in window)
    blend = (x[:, None, None] * y[:, None] * z).clamp_min(1e-4)
    total = torch.zeros_like(images)
    starts = []
    for n, w in zip(images.shape[1:], window, strict=True):
        count = 1 if n <= w else int(np.ceil((n - w) / (w / 2))) + 1
        starts.append(np.rint(np.linspace(0, n - w, count)).astype(int).tolist())
    with torch.no_grad():
        for corner in product(*starts):
            part = (slice(None), *(slice(c, c + w) for c, w in zip(corner, window, strict=True)))
            total[part] += torch.softmax(network(images[part][None])[0].float(), 0) * blend
    inner = tuple(slice(b, b + n) for b, n in zip(before, size, strict=True))
    labels = torch.where(case.coded > 0, total[(slice(None), *inner)].argmax(0), 0)
    out = {}
    for name, kinds in REGIONS.items():
        a, b = (torch.isin(v, torch.tensor(kinds, device=v.device)) for v in ((case.coded.long() - 1), labels))
        both, true, marked = int((a & b).sum()), int(a.sum()), int(b.sum())
        out[name] = 2 * both / (true + marked) if true + marked else 1.0
        out[f"{name} sensitivity"], out[f"{name} precision"] = both / max(true, 1), both / max(marked, 1)
    return out


def unet(width: int):
    """`models.networks.segmenter`'s U-Net: 2x2x2 voxels packed, four levels, instance norm; logits."""
    nn = torch.nn

    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.ModuleList()
            channels = 32
            for level in range(4):
                wide = width * 2**level
                self.down.append(nn.Sequential(block(channels, wide, 2 if level else 1), block(wide, wide)))
                channels = wide
            self.drop = nn.Dropout(0.25)
            self.reduce = nn.ModuleList(nn.Conv3d(width * 2 ** (k + 1), width * 2**k, 1) for k in (2, 1, 0))
            self.up = nn.ModuleList(block(2 * width * 2**k, width * 2**k) for k in (2, 1, 0))
            self.logits = nn.Conv3d(width, 32, 3, padding=1)
            for module in self.modules():
                if isinstance(module, nn.Conv3d):
                    spatial = module.kernel_size[0] == 3 and module is not self.logits
                    (nn.init.kaiming_normal_ if spatial else nn.init.xavier_uniform_)(module.weight)

        def forward(self, images):
            b, c, i, j, k = images.shape
            x = images.reshape(b, c, i // 2, 2, j // 2, 2, k // 2, 2).permute(0, 3, 5, 7, 1, 2, 4, 6)
            x, skips = x.reshape(b, 8 * c, i // 2, j // 2, k // 2), []
            for down in self.down:
                x = down(x)
                skips.append(x)
            x = self.drop(x)
            for reduce, up, skip in zip(self.reduce, self.up, skips[-2::-1], strict=True):
                x = up(torch.cat([functional.interpolate(reduce(x), scale_factor=2), skip], 1))
            x = self.logits(x).reshape(b, 2, 2, 2, 4, i // 2, j // 2, k // 2)
            return x.permute(0, 4, 5, 1, 6, 2, 7, 3).reshape(b, 4, i, j, k)

    def block(inputs: int, outputs: int, stride: int = 1):
        pad = nn.ConstantPad3d((0, 1) * 3, 0.0) if stride == 2 else nn.Identity()  # as TensorFlow pads
        convolution = nn.Conv3d(inputs, outputs, 3, stride, 0 if stride == 2 else 1, bias=False)
        return nn.Sequential(pad, convolution, nn.InstanceNorm3d(outputs, 1e-5, affine=True), nn.LeakyReLU(0.2))

    return Packed()


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("set")
    packing.add_argument("out")
    packing.add_argument("--cases", type=int)
    training = commands.add_parser("train")
    training.add_argument("out")
    for name in ("--real", "--test"):
        training.add_argument(name, required=True)
    training.add_argument("--set", action="append", default=[], help="NAME=FOLDER")
    training.add_argument("--cases", default="4,12")
    training.add_argument("--part", default="0/1")
    for name, value in (("width", 16), ("patch", 96), ("batch", 2), ("steps", 1500), ("seeds", 2)):
        training.add_argument(f"--{name}", type=int, default=value)
    commands.add_parser("table").add_argument("out")
    args = parser.parse_args()
    if args.command == "pack":
        pack(args.set, args.out, args.cases)
    elif args.command == "table":
        table(args.out)
    else:
        train(args)


if __name__ == "__main__":
    try:
        import torch
        from torch.nn import functional
    except ImportError:  # `pack` and `table` do without
        torch = functional = None
    main()
