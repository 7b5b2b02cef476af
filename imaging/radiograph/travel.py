"""Where each line stands along the vehicle: by the encoder, or by the last speed where it is not believed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imaging.radiograph.model import F64, Mask

OVER_NS = 500_000_000
"""A speed is measured over at least so long: single ticks of an encoder are not even."""


class Travel:
    """The way of one vehicle, line by line, in metres from the first line; grows in its direction of travel.

    ``speed_mps``: what something else measured before, if anything did. Without any speed a line is as long
    as a pixel is high (``pitch_m``): the picture's length is then only a guess, and says so.
    """

    def __init__(self, pitch_m: float, speed_mps: float | None = None) -> None:
        self.speed_mps = speed_mps
        """The last speed that was measured."""
        self._pitch_m = pitch_m
        self._way_m = 0.0
        self._t_ns: int | None = None
        self._offset_m: float | None = None
        """From the encoder's place to the way; ``None`` while the encoder is not known."""
        self._since: tuple[int, float] | None = None
        """Time and way from which the speed is measured."""

    @property
    def way_m(self) -> float:
        """Way of the last line."""
        return self._way_m

    def places(self, t_ns: NDArray[np.int64], x_m: F64 | None, doubted: Mask) -> tuple[F64, Mask]:
        """Return the way of each line float64 (lines,), and where its step was assumed, bool (lines,).

        ``t_ns`` start of each line, ``x_m`` float64 (lines,) by the encoder or ``None``, ``doubted`` bool
        (lines,): the step to this line is not believed. The first line of all is at 0. The same lines give
        the same places to the last bit, whatever their split into calls.
        """
        assumed = np.ones(t_ns.size, dtype=np.bool_) if x_m is None else doubted.copy()
        if self._t_ns is None:
            assumed[0] = x_m is None
            self._t_ns = int(t_ns[0])
            self._way_m = 0.0 if x_m is not None or self.speed_mps is not None else -self._pitch_m
            self._offset_m = None if x_m is None else -float(x_m[0])
        else:
            assumed[0] |= self._offset_m is None
        way_m = np.empty(t_ns.size)
        turns = np.flatnonzero(np.diff(assumed)) + 1
        for begin, end in pairwise((0, *turns.tolist(), t_ns.size)):
            run = slice(begin, end)
            if assumed[begin]:
                way_m[run] = self._guessed(t_ns[run])
                self._offset_m = None if x_m is None else way_m[end - 1] - float(x_m[end - 1])
                self._since = None
            elif x_m is not None and self._offset_m is not None:
                way_m[run] = x_m[run] + self._offset_m
                self._measure(t_ns[run], way_m[run])
            self._way_m, self._t_ns = float(way_m[end - 1]), int(t_ns[end - 1])
        return way_m, assumed

    def _guessed(self, t_ns: NDArray[np.int64]) -> F64:
        """Go on with the last speed, or line by line."""
        if self.speed_mps is None:
            steps_m = np.full(t_ns.size, self._pitch_m)
        else:
            steps_m = np.maximum(np.diff(t_ns, prepend=self._t_ns or 0), 0) * (self.speed_mps / 1e9)
        return np.cumsum(np.concatenate(([self._way_m], steps_m)))[1:]

    def _measure(self, t_ns: NDArray[np.int64], way_m: F64) -> None:
        """Take the speed of each stretch of half a second whose steps were all measured."""
        if self._since is None:
            self._since = (int(t_ns[0]), float(way_m[0]))
        while (at := int(np.searchsorted(t_ns, self._since[0] + OVER_NS))) < t_ns.size:
            passed_s = (int(t_ns[at]) - self._since[0]) / 1e9
            self.speed_mps = (float(way_m[at]) - self._since[1]) / passed_s
            self._since = (int(t_ns[at]), float(way_m[at]))
