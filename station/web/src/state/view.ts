/** What this screen shows of the station: screen, night, and the map from metres to pixels. */

import { computed, signal } from "@preact/signals";
import { picture } from "./image";
import { alarms, inspection, strips } from "./station";

export type View = "lane" | "viewer" | "menu" | "closures" | "trend";
export const view = signal<View>("lane");

const nightWished = signal(globalThis.localStorage?.getItem("carril-night") === "1");
/** While an alarm waits for somebody the screen is bright, whatever was wished. */
export const nightBarred = computed(() =>
  alarms.value.some(({ state, priority }) => state === "unack" || (state === "rtn_unack" && priority === 1)));
export const night = computed(() => nightWished.value && !nightBarred.value);

export function toggleNight(): void {
  nightWished.value = !nightWished.peek();
  localStorage.setItem("carril-night", nightWished.peek() ? "1" : "0");
}

const TRUCK_M = 4.32;
const SHORTEST_M = 12;
/** Air that is shown before the nose and behind the tail, at most. */
const AIR_M = 0.8;
const SHORTEST_S = 10;

/** Pixels that image and strips may take; `u` is one grid unit in pixels. */
export const box = signal({ width: 0, height: 0, u: 1 });

/** Metres of the vehicle that are scanned, from its nose. */
export const scannedM = computed(() => {
  const image = picture.value;
  if (image) return Math.max(0, image.width * image.mPerCol - image.noseM);
  const scan = inspection.value?.scan;
  return scan ? Math.max(0, ((scan.width - (scan.col_nose ?? 0)) * scan.px_mm_x) / 1000) : 0;
});

export const lengthM = computed(() => {
  const scan = inspection.value?.scan;
  const known = scan?.col_nose != null && scan.col_tail != null;
  return known ? (((scan.col_tail as number) - (scan.col_nose as number)) * scan.px_mm_x) / 1000 : scannedM.value;
});

export interface Axis {
  aligned: boolean;
  /** Pixels per metre of the image. */
  scale: number;
  width: number;
  /** Pixel of a sample, at its place along the vehicle or, not aligned, at its time. */
  x: (tMs: number, sM: number | null) => number;
  xm: (sM: number) => number;
  /** First time and pixels per second, when not aligned. */
  perS: number;
}

/** Whether all of the vehicle is in the image; a scan that broke off stays open to the right. */
export const whole = computed(() => inspection.value?.scan?.state === "complete" && picture.value?.complete === true);

export const axis = computed<Axis>(() => {
  const { width: free, height } = box.value;
  const image = picture.value;
  const before = image ? Math.min(AIR_M, image.noseM) : AIR_M;
  const length = Math.max(SHORTEST_M, whole.value ? scannedM.value : scannedM.value + AIR_M);
  const tall = Math.max(TRUCK_M, image ? image.rows * image.mPerRow : 0);
  const scale = Math.min(height / tall, free / (before + length));
  const width = whole.value ? Math.min(free, (before + scannedM.value) * scale) : free;
  const { aligned, gamma, neutron } = strips.value;
  const times = [gamma[0], neutron[0], gamma.at(-1), neutron.at(-1)].flatMap((row) => (row ? [row[0]] : []));
  const t0 = Math.min(...times);
  const perS = width / Math.max(SHORTEST_S, (Math.max(...times) - t0) / 1000 + 1);
  const xm = (s: number) => (s + before) * scale;
  const x = (t: number, s: number | null) => (aligned && s !== null ? xm(s) : ((t - t0) / 1000) * perS);
  return { aligned: aligned || times.length === 0, scale, width, x, xm, perS };
});
