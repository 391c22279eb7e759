"""The Gaussians of the paper's toy experiment (section 6), and measures of a cloud of points against them.

pretraining N((0.5, 0.8), 0.04 I)     desirable P_d N((0.3, 0.8), 0.01 I)     undesirable P_u N((0.3, 0.6), 0.01 I)
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# the squared radius, in variances, of the disc that holds 95% of a Gaussian of the plane: -2 ln 0.05
DISC = -2 * math.log(0.05)
FAR = 100.0  # points further away than this, or not finite, count as this far away, so that means stay finite
DIRECTIONS = 16


@dataclass(frozen=True)
class Gaussian:
    """A round Gaussian of the plane."""

    x: float
    y: float
    variance: float

    @property
    def centre(self) -> Float[Tensor, "2"]:
        """Return its mean."""
        return torch.tensor([self.x, self.y], dtype=torch.float64)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "n 2"]:
        """Return random points of it, in float32."""
        return self.centre.float() + math.sqrt(self.variance) * torch.randn(count, 2, generator=generator)

    def distance(self, points: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
        """Return the squared distance to the centre, in variances: chi-square of two degrees for its own points."""
        return (points.double() - self.centre).pow(2).sum(-1) / self.variance

    def log_density(self, points: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
        """Return -log(2 pi variance) - distance / 2."""
        return -math.log(2 * math.pi * self.variance) - self.distance(points) / 2

    @property
    def radius(self) -> float:
        """Return the radius of the disc that holds 95% of its own points."""
        return math.sqrt(DISC * self.variance)

    def holds(self, points: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
        """Return 1 for points inside the disc that holds 95% of its own points, else 0."""
        return (self.distance(points) <= DISC).double()


PRETRAINING = Gaussian(0.5, 0.8, 0.04)
DESIRABLE = Gaussian(0.3, 0.8, 0.01)
UNDESIRABLE = Gaussian(0.3, 0.6, 0.01)


def kept_near(points: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
    """Return the points with those that are not finite or further than FAR moved to that distance."""
    centre = DESIRABLE.centre
    away = torch.nan_to_num(points.double() - centre, nan=FAR, posinf=FAR**2, neginf=-(FAR**2))
    length = away.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return centre + away * (FAR / length).clamp(max=1.0)


def measures(points: Float[Tensor, "n 2"]) -> dict[str, float]:
    """Return the measures of a model's samples.

    log-density       mean log-density under P_d
    inside P_d        share in the disc that holds 95% of P_d
    inside P_u        share in the disc that holds 95% of P_u
    nearer P_u        share nearer to the centre of P_u than to that of P_d
    well placed       share in the disc of P_d that is not nearer to the centre of P_u
    displacement      distance of the mean of the samples from the centre of P_d
    beyond P_d        how far that mean lies past the centre of P_d, seen from P_u
    """
    points = kept_near(points)
    inside = DESIRABLE.holds(points)
    nearer = (UNDESIRABLE.distance(points) < DESIRABLE.distance(points)).double()
    shift = points.mean(0) - DESIRABLE.centre
    apart = DESIRABLE.centre - UNDESIRABLE.centre
    values = {
        "log-density": DESIRABLE.log_density(points).mean(),
        "inside P_d": inside.mean(),
        "inside P_u": UNDESIRABLE.holds(points).mean(),
        "nearer P_u": nearer.mean(),
        "well placed": (inside * (1 - nearer)).mean(),
        "displacement": shift.norm(),
        "beyond P_d": shift @ apart / apart.norm(),
    }
    return {name: float(value) for name, value in values.items()}


def apart(a: Float[Tensor, "n 2"], b: Float[Tensor, "n 2"]) -> float:
    """Return Wasserstein's distance between two clouds, mean over directions.

    For a shift by d it is |d| times the mean of |cos|, 2 / pi.
    """
    angles = torch.arange(DIRECTIONS, dtype=torch.float64) * math.pi / DIRECTIONS
    lines = torch.stack([angles.cos(), angles.sin()])
    one, other = ((kept_near(cloud) @ lines).sort(0).values for cloud in (a, b))
    return float((one - other).abs().mean())
