/** Columns of the radiograph as exact 16-bit numbers, and the one table that turns them into grey. */

import { computed, effect, signal } from "@preact/signals";
import { getBytes, getJson } from "../api/client";
import type { ImageFacts } from "../api/types";
import { columns, inspection } from "./station";

export interface Picture {
  scan: string; level: number; rows: number; width: number; data: Uint16Array;
  /** Flags of each value, or null where the station does not give them. */
  flags: Uint8Array | null;
  mPerCol: number; mPerRow: number; noseM: number; complete: boolean;
}

const LEVEL = 1;
const STEP = 512;
const RETRY_MS = 1000;
/** Flags of a pixel (imaging/radiograph/model.py): too little came through, nothing was recorded. */
const STARVED = 1;
const NO_DATA = 64;
/** A column that holds nothing else was not recorded: it must not look like air. */
const NO_DATA_D16 = 65535;
/** #15181a and #30363b as the bytes of a pixel; stripes as wide as those of what is not scanned yet. */
const [LOST, LOST_STRIPE] = [0xff1a1815, 0xff3b3630];
const [STRIPE_EACH, STRIPE_WIDE] = [40, 5];
export const picture = signal<Picture | null>(null);
/** What the station says of the image: its windows and presets. */
export const facts = signal<ImageFacts | null>(null);
let busy = false;
let again = false;
let retry: ReturnType<typeof setTimeout> | undefined;

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

/** What of the scan changes its image; a snapshot alone does not. */
const version = computed(() => {
  const scan = inspection.value?.scan;
  return scan ? [scan.scan_id, scan.state, scan.width, scan.col_nose].join() : "";
});

/** Follows the scan of the vehicle in the lane, fetching only what is new. */
export function followImage(): void {
  effect(() => {
    void columns.value;
    const scan = version.value ? inspection.peek()?.scan : null;
    // Another scan's image is none of this vehicle, not even until the first columns of its own are here.
    if (picture.peek()?.scan !== scan?.scan_id) picture.value = facts.value = null;
    fetchShown();
  });
}

function fetchShown(): void {
  const scan = inspection.peek()?.scan;
  if (scan) void fetchNew(scan.scan_id);
}

async function fetchNew(scan: string): Promise<void> {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  again = false;
  clearTimeout(retry);
  let complete = false;
  try {
    const found = await getJson<ImageFacts>(`/v1/scans/${scan}/image`);
    const step = 1 << LEVEL;
    const rows = Math.ceil(found.height / step);
    const whole = found.complete ? Math.ceil(found.cols_done / step) : Math.floor(found.cols_done / step);
    let known = picture.peek()?.scan === scan ? (picture.peek() as Picture) : null;
    for (let from = known?.width ?? 0; from < whole; from += STEP) {
      const to = Math.min(whole, from + STEP);
      known = append(known, found, rows, ...(await getColumns(found, from, to)));
    }
    if (known && inspection.peek()?.scan?.scan_id === scan) {
      facts.value = found;
      picture.value = { ...known, noseM: ((found.col_nose ?? 0) * found.px_mm_x) / 1000, complete: found.complete };
    }
    complete = found.complete;
  } catch {
    // What did not come is asked for again.
  }
  busy = false;
  if (again) fetchShown();
  // After the end of a scan no message of the stream asks any more: this does, until the image is whole.
  else if (!complete) retry = setTimeout(fetchShown, RETRY_MS);
}

async function getColumns(found: ImageFacts, from: number, to: number): Promise<[Uint16Array, Uint8Array | null]> {
  const path = `/v1/scans/${found.id}/columns?from=${from}&to=${to}&level=${LEVEL}`;
  const flagged = found.kinds.includes("flags") ? getBytes(`${path}&kind=flags`) : null;
  const [data, flags] = await Promise.all([getBytes(path), flagged]);
  return [new Uint16Array(data), flags && new Uint8Array(flags)];
}

function append(
  known: Picture | null, found: ImageFacts, rows: number, data: Uint16Array, flags: Uint8Array | null,
): Picture {
  const step = 1 << LEVEL;
  const all = joined(new Uint16Array((known?.data.length ?? 0) + data.length), known?.data, data);
  return {
    scan: found.id, level: LEVEL, rows, width: all.length / rows, data: all, noseM: 0, complete: false,
    flags: flags && joined(new Uint8Array(all.length), known?.flags, flags),
    mPerCol: (found.px_mm_x * step) / 1000, mPerRow: (found.px_mm_y * step) / 1000,
  };
}

function joined<T extends Uint8Array | Uint16Array>(into: T, old: T | null | undefined, more: T): T {
  if (old) into.set(old);
  into.set(more, into.length - more.length);
  return into;
}

/** Whether nothing was recorded in a column. */
function lost({ data, flags, rows }: Picture, col: number): boolean {
  for (let i = col * rows; i < (col + 1) * rows; i += 1) {
    if (data[i] !== NO_DATA_D16 && !((flags?.[i] ?? 0) & NO_DATA)) return false;
  }
  return rows > 0;
}

/** Draws columns into an ImageData, nose left, highest detector on top. */
export function paint(from: Picture, lut: Uint8ClampedArray): ImageData {
  const image = new ImageData(Math.max(1, from.width), from.rows);
  const out = new Uint32Array(image.data.buffer);
  for (let col = 0; col < from.width; col += 1) {
    if (lost(from, col)) {
      for (let row = 0; row < from.rows; row += 1) {
        out[row * from.width + col] = (col + row) % STRIPE_EACH < STRIPE_WIDE ? LOST_STRIPE : LOST;
      }
      continue;
    }
    for (let row = 0; row < from.rows; row += 1) {
      const grey = lut[from.data[col * from.rows + row] ?? 0] ?? 0;
      out[row * from.width + col] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
  }
  return image;
}

/** Opaque where too little came through, clear elsewhere; null when that is nowhere. */
export function starvedMask(from: Picture): ImageData | null {
  const { flags, rows, width } = from;
  if (!flags?.some((flag) => flag & STARVED)) return null;
  const image = new ImageData(width, rows);
  const out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < flags.length; i += 1) {
    if ((flags[i] ?? 0) & STARVED) out[(i % rows) * width + Math.floor(i / rows)] = 0xffffffff;
  }
  return image;
}
