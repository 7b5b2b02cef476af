/** Columns of the radiograph as exact 16-bit numbers, and the one table that turns them into grey. */

import { effect, signal } from "@preact/signals";
import { getColumns, getJson } from "../api/client";
import type { ImageFacts } from "../api/types";
import { columns, inspection } from "./station";

export interface Picture {
  scan: string; level: number; rows: number; width: number; data: Uint16Array;
  mPerCol: number; mPerRow: number; noseM: number; complete: boolean;
}

const LEVEL = 1;
const STEP = 512;
export const picture = signal<Picture | null>(null);
/** What the station says of the image: its windows and presets. */
export const facts = signal<ImageFacts | null>(null);
let busy = false;
let again = false;

/** Grey of every 16-bit value: clamp(floor(((v - lo) * 255 + floor(d / 2)) / d), 0, 255). */
export function table(lo: number, hi: number, inverse = false): Uint8ClampedArray {
  const d = Math.max(1, hi - lo);
  const lut = new Uint8ClampedArray(65536);
  for (let v = 0; v < 65536; v += 1) {
    const grey = Math.min(255, Math.max(0, Math.floor(((v - lo) * 255 + Math.floor(d / 2)) / d)));
    lut[v] = inverse ? 255 - grey : grey;
  }
  return lut;
}

/** Follows the scan of the vehicle in the lane, fetching only what is new. */
export function followImage(): void {
  effect(() => {
    const scan = inspection.value?.scan;
    void columns.value;
    if (!scan) {
      picture.value = null;
      return;
    }
    void fetchNew(scan.scan_id);
  });
}

async function fetchNew(scan: string): Promise<void> {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  try {
    const found = await getJson<ImageFacts>(`/v1/scans/${scan}/image`);
    const step = 1 << LEVEL;
    const rows = Math.ceil(found.height / step);
    const whole = found.complete ? Math.ceil(found.cols_done / step) : Math.floor(found.cols_done / step);
    let known = picture.peek()?.scan === scan ? (picture.peek() as Picture) : null;
    for (let from = known?.width ?? 0; from < whole; from += STEP) {
      const to = Math.min(whole, from + STEP);
      known = append(known, found, rows, await getColumns(scan, from, to, LEVEL));
    }
    if (known && inspection.peek()?.scan?.scan_id === scan) {
      facts.value = found;
      picture.value = { ...known, noseM: ((found.col_nose ?? 0) * found.px_mm_x) / 1000, complete: found.complete };
    }
  } catch {
    // No image yet: the next message of the stream asks again.
  } finally {
    busy = false;
    if (again) {
      again = false;
      const next = inspection.peek()?.scan?.scan_id;
      if (next) void fetchNew(next);
    }
  }
}

function append(known: Picture | null, found: ImageFacts, rows: number, more: Uint16Array): Picture {
  const old = known?.data ?? new Uint16Array();
  const data = new Uint16Array(old.length + more.length);
  data.set(old);
  data.set(more, old.length);
  const step = 1 << LEVEL;
  return {
    scan: found.id, level: LEVEL, rows, width: data.length / rows, data, noseM: 0, complete: false,
    mPerCol: (found.px_mm_x * step) / 1000, mPerRow: (found.px_mm_y * step) / 1000,
  };
}

/** Draws columns into an ImageData, nose left, highest detector on top. */
export function paint(from: Picture, lut: Uint8ClampedArray): ImageData {
  const image = new ImageData(Math.max(1, from.width), from.rows);
  const out = new Uint32Array(image.data.buffer);
  for (let col = 0; col < from.width; col += 1) {
    for (let row = 0; row < from.rows; row += 1) {
      const grey = lut[from.data[col * from.rows + row] ?? 0] ?? 0;
      out[row * from.width + col] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
  }
  return image;
}
