/** The radiograph on the common map: what is scanned is light, what is not stays dark and says so. */

import { computed, effect, signal } from "@preact/signals";
import { t } from "../state/i18n";
import { facts, paint, picture, starvedMask, table } from "../state/image";
import { spots, told } from "../state/spots";
import { inspection } from "../state/station";
import { axis, box, view, whole } from "../state/view";
import { bracket } from "./bracket";
import { Button } from "./Button";
import { useDrawing } from "./drawing";
import { notPenetrated, unscanned } from "./hatch";

/** Width that the words for what is missing need, in grid units. */
const WORDS = 200;

/** Window of the viewer, or null for the station's own. */
export const ownWindow = signal<[number, number] | null>(null);
export const inverse = signal(false);

const shownScan = computed(() => inspection.value?.scan?.scan_id);
effect(() => {
  void shownScan.value; // a window that suited one image may hide everything in the next
  ownWindow.value = null;
  inverse.value = false;
});

export const shownWindow = computed<[number, number]>(() => {
  const standard = facts.value?.window_default ?? [0, 65535];
  return view.value === "viewer" ? (ownWindow.value ?? standard) : standard;
});

const lut = computed(() => table(...shownWindow.value, view.value === "viewer" && inverse.value));

function canvasOf(pixels: ImageData | null): OffscreenCanvas | null {
  if (!pixels) return null;
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
  return canvas;
}

const drawn = computed(() => {
  const image = picture.value;
  return image && image.width > 0 ? canvasOf(paint(image, lut.value)) : null;
});
const starved = computed(() => canvasOf(picture.value && starvedMask(picture.value)));

/** What stands where no image is, in words. */
function missing(): string | null {
  if (whole.value) return null;
  const scan = inspection.value?.scan;
  if (!scan) return t("scan.none");
  return t(scan.state === "scanning" ? "scan.unscanned" : "scan.notscanned");
}

export function Radiograph() {
  const { aligned, scale, width: mapped, xm } = axis.value;
  const image = picture.value;
  const [bitmap, mask, all, found] = [drawn.value, starved.value, whole.value, spots.value];
  const from = image ? Math.max(0, xm(image.width * image.mPerCol - image.noseM)) : 0;
  const canvas = useDrawing((context, width, height) => {
    if (image && bitmap) {
      const tall = image.rows * image.mPerRow * scale;
      const wide = image.width * image.mPerCol * scale;
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, xm(-image.noseM), height - tall, wide, tall);
      if (mask) notPenetrated(context, mask, [xm(-image.noseM), height - tall, wide, tall]);
    }
    if (!all) {
      unscanned(context, from, width, height);
      if (from > 0) {
        context.fillStyle = "#ffffff";
        context.fillRect(from - 1, 0, 2, height);
      }
    }
    if (aligned) for (const spot of found) bracket(context, spot, xm, height);
  });
  const rest = missing();
  const inside = (
    <>
      <canvas ref={canvas} role="img" aria-label={told(t("image.alt"))} />
      {rest && mapped - from > WORDS * box.value.u && <span class="unscanned" style={{ left: `${from + 20}px` }}>{rest}</span>}
    </>
  );
  if (view.value === "viewer") return <div class="picture">{inside}</div>;
  return (
    <Button
      class="picture"
      label={told([t("scan.open"), rest].filter(Boolean).join(". "))}
      onAct={() => {
        view.value = "viewer";
      }}
    >
      {inside}
    </Button>
  );
}
