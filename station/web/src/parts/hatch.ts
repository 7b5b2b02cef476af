/** Hatching: what was not scanned, and what the rays did not get through. */

type Context = CanvasRenderingContext2D;
type Area = [x: number, y: number, width: number, height: number];

const STRIPE_PX = 28;
const MARK = "#ffd23f";
const DARK = "#0e0f10";
const HATCH_PX = 9;
const OUTLINE_PX = 2;

function diagonals(context: Context | OffscreenCanvasRenderingContext2D, each: number, [x, y, width, height]: Area): void {
  context.beginPath();
  for (let at = x; at < x + width + height; at += each) {
    context.moveTo(at, y);
    context.lineTo(at - height, y + height);
  }
  context.stroke();
}

/** Columns that are not there: never light, never empty. */
export function unscanned(context: Context, from: number, width: number, height: number): void {
  context.save();
  context.beginPath();
  context.rect(from, 0, width - from, height);
  context.clip();
  context.fillStyle = "#15181a";
  context.fillRect(from, 0, width - from, height);
  context.strokeStyle = "#30363b";
  context.lineWidth = 2;
  diagonals(context, STRIPE_PX, [from, 0, width - from, height]);
  context.restore();
}

/** Yellow hatch with outline over the mask's opaque pixels, drawn where the image stands. */
export function notPenetrated(context: Context, mask: OffscreenCanvas, [x, y, width, height]: Area): void {
  const ratio = devicePixelRatio;
  const fresh = (): OffscreenCanvasRenderingContext2D | null => {
    const layer = new OffscreenCanvas(context.canvas.width, context.canvas.height).getContext("2d");
    layer?.scale(ratio, ratio);
    return layer;
  };
  const [outline, inside] = [fresh(), fresh()];
  if (!outline || !inside) return;
  for (const dx of [-OUTLINE_PX, 0, OUTLINE_PX]) {
    for (const dy of [-OUTLINE_PX, 0, OUTLINE_PX]) outline.drawImage(mask, x + dx, y + dy, width, height);
  }
  outline.globalCompositeOperation = "source-in";
  outline.fillStyle = MARK;
  outline.fillRect(x - OUTLINE_PX, y - OUTLINE_PX, width + 2 * OUTLINE_PX, height + 2 * OUTLINE_PX);
  inside.drawImage(mask, x, y, width, height);
  inside.globalCompositeOperation = "source-atop";
  inside.fillStyle = DARK;
  inside.fillRect(x, y, width, height);
  inside.strokeStyle = MARK;
  inside.lineWidth = HATCH_PX / 3;
  diagonals(inside, HATCH_PX, [x, y, width, height]);
  for (const layer of [outline, inside]) {
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(layer.canvas, 0, 0);
    context.restore();
  }
}
