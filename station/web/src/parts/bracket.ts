/** The band of a hot spot: edges without a fill, so that nothing lies over what is to be seen. */

import type { Spot } from "../state/spots";

type Context = CanvasRenderingContext2D;

const MARK = "#ffd23f";
const DARK = "#0e0f10";
const [LINE_PX, OUTLINE_PX] = [3, 7];
/** Neutrons are dashed: two bands that cross are told apart without their colour. */
const DASH = [14, 8];
const CORNER_PX = 16;
const TICK_PX = 14;

/** Strokes the same path twice: yellow on dark is seen on every grey. */
function stroke(context: Context, draw: () => void, dashed: boolean): void {
  context.save();
  context.setLineDash(dashed ? DASH : []);
  for (const [width, colour] of [[OUTLINE_PX, DARK], [LINE_PX, MARK]] as const) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    draw();
    context.stroke();
  }
  context.restore();
}

/** Over the radiograph: edges with corners; of spread goods only their ends, above and below. */
export function bracket(context: Context, spot: Spot, xm: (m: number) => number, height: number): void {
  const [left, right] = [xm(spot.from), xm(spot.to)];
  const corner = Math.min(CORNER_PX, (right - left) / 2);
  const margin = OUTLINE_PX / 2;
  const [top, bottom] = [margin, height - margin];
  stroke(context, () => {
    for (const [x, inward] of [[left, corner], [right, -corner]] as const) {
      if (spot.wide) {
        for (const [y, from] of [[top, top + TICK_PX], [bottom, bottom - TICK_PX]] as const) {
          context.moveTo(x + inward, y);
          context.lineTo(x, y);
          context.lineTo(x, from);
        }
      } else {
        context.moveTo(x + inward, top);
        context.lineTo(x, top);
        context.lineTo(x, bottom);
        context.lineTo(x + inward, bottom);
      }
    }
  }, spot.kind === "neutron");
  if (!spot.wide) return;
  const ends = [[left, xm(spot.wide[0])], [right, xm(spot.wide[1])]] as const;
  stroke(context, () => {
    for (const [x, end] of ends) {
      for (const [y, inward] of [[top, 1], [bottom, -1]] as const) {
        const middle = y + inward * TICK_PX;
        context.moveTo(x, middle);
        context.lineTo(end, middle);
        context.moveTo(end, y);
        context.lineTo(end, middle + inward * TICK_PX);
      }
    }
  }, spot.kind === "neutron");
}

/** Over a strip: the edges of the place, or of the spread. */
export function edges(context: Context, spot: Spot, xm: (m: number) => number, height: number): void {
  stroke(context, () => {
    for (const m of spot.wide ?? [spot.from, spot.to]) {
      context.moveTo(xm(m), 0);
      context.lineTo(xm(m), height);
    }
  }, spot.kind === "neutron");
}
