/** Gamma and neutron counts on the radiograph's own map; red only above the limit. */

import type { Channel, Sample } from "../api/types";
import { t } from "../state/i18n";
import { label, type Spot, spots, told } from "../state/spots";
import { inspection, strips } from "../state/station";
import { type Axis, axis, box, night, view } from "../state/view";
import { edges } from "./bracket";
import { colour, useDrawing } from "./drawing";

const GAMMA_LOW = 0.9;
const HEADROOM = 1.15;
const TICK_M = 5;

type Point = [x: number, cps: number];
type Context = CanvasRenderingContext2D;

interface Scale { y: (cps: number) => number; height: number; width: number }

/** From `low` of the lowest value that is drawn, so that suppression of the background is seen, to above the limit. */
function scaled(values: number[], channel: Channel | undefined, low: number, width: number, height: number): Scale {
  const drawn = [...values, channel?.limit_cps, channel?.background_cps].filter((value) => value != null);
  const [least, most] = drawn.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, 1]);
  const bottom = Number.isFinite(least) ? least * low : 0;
  const top = bottom + (most - bottom) * HEADROOM;
  return { y: (cps) => height - 2 - ((cps - bottom) / (top - bottom)) * (height - 4), height, width };
}

function level(context: Context, { y, width }: Scale, cps: number | null | undefined, dash: number[], name: string): void {
  if (cps == null) return;
  context.setLineDash(dash);
  context.strokeStyle = colour(context, name);
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(0, y(cps));
  context.lineTo(width, y(cps));
  context.stroke();
  context.setLineDash([]);
}

function trace(context: Context, points: Point[], y: Scale["y"]): void {
  context.beginPath();
  for (const [x, cps] of points) context.lineTo(x, y(cps));
}

/** Fills red what lies between the curve and the limit, above the limit only. */
function exceed(context: Context, points: Point[], scale: Scale, limit: number | null | undefined): void {
  const [start, end] = [points[0], points.at(-1)];
  if (limit == null || !start || !end) return;
  context.save();
  context.beginPath();
  context.rect(0, 0, scale.width, scale.y(limit));
  context.clip();
  trace(context, points, scale.y);
  context.lineTo(end[0], scale.height);
  context.lineTo(start[0], scale.height);
  context.fillStyle = colour(context, "p1");
  context.fill();
  context.restore();
}

function grid(context: Context, map: Axis, { width, height }: Scale): void {
  context.fillStyle = colour(context, "hair");
  if (map.aligned) for (let m = 0; map.xm(m) < width; m += TICK_M) context.fillRect(map.xm(m), 0, 1, height);
  context.fillRect(0, height - 1, width, 1);
}

/** Sum of the samples of each second, at the middle one. */
function sliding(samples: Sample[], perS: number, map: Axis): Point[] {
  const points: Point[] = [];
  for (let i = perS - 1; i < samples.length; i += 1) {
    const second = samples.slice(i - perS + 1, i + 1);
    const middle = second[perS >> 1] as Sample;
    points.push([map.x(middle[0], middle[2]), second.reduce((sum, sample) => sum + sample[1], 0)]);
  }
  return points;
}

/** Each second as a step of its true width: from half-way to the sample before to half-way to the next. */
function steps(samples: Sample[], map: Axis): Point[] {
  const middles = samples.map((sample) => map.x(sample[0], sample[2]));
  return samples.flatMap((sample, i): Point[] => {
    const here = middles[i] as number;
    const before = middles[i - 1];
    const after = middles[i + 1];
    const half = (before !== undefined ? here - before : after !== undefined ? after - here : map.perS) / 2;
    const left = here - half;
    const right = after !== undefined ? (here + after) / 2 : here + half;
    return [[left, sample[1]], [right, sample[1]]];
  });
}

/** The bands on every strip, as on the radiograph above. */
function bands(context: Context, map: Axis, found: Spot[], height: number): void {
  if (map.aligned) for (const spot of found) edges(context, spot, map.xm, height);
}

const neutrons = ({ kind }: Spot) => kind === "neutron";

function GammaStrip() {
  const [map, found] = [axis.value, spots.value];
  const { gamma: samples, perS } = strips.value;
  const channel = inspection.value?.radiation.gamma;
  void night.value;
  const canvas = useDrawing((context, width, height) => {
    const dots = samples.map((sample): Point => [map.x(sample[0], sample[2]), sample[1] * perS]);
    const line = sliding(samples, perS, map);
    const scale = scaled([...dots, ...line].map((point) => point[1]), channel, GAMMA_LOW, width, height);
    grid(context, map, scale);
    level(context, scale, channel?.background_cps, [2, 4], "muted");
    level(context, scale, channel?.limit_cps, [9, 6], "ink");
    exceed(context, line, scale, channel?.limit_cps);
    context.fillStyle = colour(context, "muted");
    for (const [x, cps] of dots) context.fillRect(x - 1.5, scale.y(cps) - 1.5, 3, 3);
    trace(context, line, scale.y);
    context.strokeStyle = colour(context, "ink");
    context.lineWidth = 2;
    context.stroke();
    bands(context, map, found, height);
  });
  return (
    <div class="strip">
      <canvas ref={canvas} role="img" aria-label={channel?.counted === false ? t("rad.contact") : told(t("strip.gamma"), (spot) => !neutrons(spot))} />
      {view.value === "viewer" && <b aria-hidden="true">γ</b>}
    </div>
  );
}

function NeutronStrip() {
  const [map, found] = [axis.value, spots.value];
  const samples = strips.value.neutron;
  const channel = inspection.value?.radiation.neutron;
  void night.value;
  const canvas = useDrawing((context, width, height) => {
    const line = steps(samples, map);
    const scale = scaled(line.map((point) => point[1]), channel, 0, width, height);
    grid(context, map, scale);
    level(context, scale, channel?.background_cps, [2, 4], "muted");
    level(context, scale, channel?.limit_cps, [9, 6], "ink");
    exceed(context, line, scale, channel?.limit_cps);
    trace(context, line, scale.y);
    context.strokeStyle = colour(context, "ink");
    context.lineWidth = 2;
    context.stroke();
    bands(context, map, found, height);
  });
  return (
    <div class="strip">
      <canvas ref={canvas} role="img" aria-label={channel?.counted === false ? t("rad.contact") : told(t("strip.neutron"), neutrons)} />
      {view.value === "viewer" && <b aria-hidden="true">n</b>}
    </div>
  );
}

export const Strip = { gamma: GammaStrip, neutron: NeutronStrip };

/** Width of one sign of a label, and what stands around them, in grid units. */
const [SIGN, AROUND] = [11, 18];

interface Label { text: string; left: number; wide: number }

/** The labels of the bands, each under its own as far as there is room beside the one before. */
function labels(map: Axis, u: number): Label[] {
  const placed: Label[] = [];
  for (const spot of map.aligned ? spots.value : []) {
    const text = label(spot);
    const wide = (text.length * SIGN + AROUND) * u;
    const under = map.xm((spot.from + spot.to) / 2) - wide / 2;
    const fits = (left: number) => placed.every((other) => left >= other.left + other.wide || left + wide <= other.left);
    const sides = placed.flatMap((other) => [other.left + other.wide, other.left - wide]);
    const free = [under, ...sides.sort((a, b) => Math.abs(a - under) - Math.abs(b - under))]
      .map((left) => Math.min(Math.max(0, left), map.width - wide)).find(fits);
    if (free !== undefined) placed.push({ text, left: free, wide });
  }
  return placed;
}

/** Metres behind the nose, or seconds when nothing tells where the samples belong. */
export function AxisRow() {
  const map = axis.value;
  const step = map.aligned ? TICK_M : 5;
  const at = (value: number) => (map.aligned ? map.xm(value) : value * map.perS);
  const marks: number[] = [];
  for (let value = 0; at(value) < map.width - 20; value += step) marks.push(value);
  const unit = map.aligned ? "m" : "s";
  const named = labels(map, box.value.u);
  /** Room of a number of the axis on each side of it. */
  const side = 20 * box.value.u;
  const hidden = (x: number) => named.some(({ left, wide }) => x + side > left && x - side < left + wide);
  return (
    <div class="axis" aria-hidden="true">
      {marks.map((value, i) => !hidden(at(value)) && (
        <span key={value} style={{ left: `${Math.max(at(value), 12)}px` }}>
          {i === marks.length - 1 ? `${value} ${unit}` : value}
        </span>
      ))}
      {named.map(({ text, left, wide }) => <b key={text} style={{ left: `${left}px`, width: `${wide}px` }}>{text}</b>)}
    </div>
  );
}
