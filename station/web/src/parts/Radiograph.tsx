/** The radiograph on the common map: what is scanned is light, what is not stays dark and says so. */

import { computed, signal } from "@preact/signals";
import { t } from "../state/i18n";
import { facts, paint, picture, table } from "../state/image";
import { inspection } from "../state/station";
import { axis, view } from "../state/view";
import { Button } from "./Button";
import { useDrawing } from "./drawing";

const STRIPE_PX = 28;

/** Window of the viewer, or null for the station's own. */
export const ownWindow = signal<[number, number] | null>(null);
export const inverse = signal(false);

export const shownWindow = computed<[number, number]>(() => {
  const standard = facts.value?.window_default ?? [0, 65535];
  return view.value === "viewer" ? (ownWindow.value ?? standard) : standard;
});

const lut = computed(() => table(...shownWindow.value, view.value === "viewer" && inverse.value));

const bitmap = computed(() => {
  const image = picture.value;
  if (!image || image.width === 0) return null;
  const pixels = paint(image, lut.value);
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
  return canvas;
});

function stripes(context: CanvasRenderingContext2D, from: number, width: number, height: number): void {
  context.save();
  context.beginPath();
  context.rect(from, 0, width - from, height);
  context.clip();
  context.fillStyle = "#15181a";
  context.fillRect(from, 0, width - from, height);
  context.strokeStyle = "#30363b";
  context.lineWidth = 2;
  context.beginPath();
  for (let x = from; x < width + height; x += STRIPE_PX) {
    context.moveTo(x, 0);
    context.lineTo(x - height, height);
  }
  context.stroke();
  context.restore();
}

export function Radiograph() {
  const { scale, width: mapped, xm } = axis.value;
  const image = picture.value;
  const drawn = bitmap.value;
  const from = image ? Math.max(0, xm(image.width * image.mPerCol - image.noseM)) : 0;
  const canvas = useDrawing((context, width, height) => {
    if (image && drawn) {
      const tall = image.rows * image.mPerRow * scale;
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.drawImage(drawn, xm(-image.noseM), height - tall, image.width * image.mPerCol * scale, tall);
    }
    if (image?.complete) return;
    stripes(context, from, width, height);
    if (from > 0) {
      context.fillStyle = "#ffffff";
      context.fillRect(from - 1, 0, 2, height);
    }
  });
  const rest = image?.complete ? null : image || inspection.value?.scan ? t("scan.unscanned") : t("scan.none");
  const inside = (
    <>
      <canvas ref={canvas} role="img" aria-label={t("image.alt")} />
      {rest && mapped - from > 200 && <span class="unscanned" style={{ left: `${from + 20}px` }}>{rest}</span>}
    </>
  );
  if (view.value === "viewer") return <div class="picture">{inside}</div>;
  return (
    <Button
      class="picture"
      label={[t("scan.open"), rest].filter(Boolean).join(". ")}
      onAct={() => {
        view.value = "viewer";
      }}
    >
      {inside}
    </Button>
  );
}
