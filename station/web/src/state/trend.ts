/** A day of a portal, hour by hour, as the station counted it: which day and hour are shown, and what is known. */

import { computed, effect, signal } from "@preact/signals";
import { getJson, Refused } from "../api/client";
import type { DayStats, HourStats, PanelStats } from "../api/types";
import { clockUs, lane } from "./station";
import { view } from "./view";

export const HOURS = 24;
const AGAIN_MS = 60_000;
const DAY_MS = 86_400_000;

export type Channel = "gamma" | "neutron";
export type What = "loading" | "failed" | "trimmed" | "empty" | "known";
/** A value of each hour, null where nothing is known. */
export type Values = (number | null)[];
export interface Line { name: string; values: Values }

export const channel = signal<Channel>("gamma");
/** The day that is shown, `YYYY-MM-DD`; null: the one of now. */
const chosen = signal<string | null>(null);
const picked = signal<number | null>(null);
const found = signal<{ day: string; stats: DayStats } | null>(null);
export const failed = signal<"failed" | "trimmed" | null>(null);
/** Which of several portals. */
const place = signal(0);

const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);
/** By the station's clock; empty until it is known. */
const today = computed(() => (clockUs.value ? dayOf(clockUs.value / 1000) : ""));
/** The day that is shown; empty while none is. */
export const day = computed(() => (view.value === "trend" ? (chosen.value ?? today.value) : ""));
export const stats = computed(() => (found.value?.day === day.value ? found.value.stats : null));
export const what = computed<What>(() =>
  failed.value ?? (stats.value === null ? "loading" : stats.value.total === null ? "empty" : "known"));

/** What an hour was, or null. */
export function hourOf(known: DayStats | null, hour: number): HourStats | null {
  return known?.hours.find((each) => each.hour === hour) ?? null;
}

const last = computed(() => stats.value?.hours.at(-1)?.hour ?? 0);
/** The hour whose numbers are shown: the last one that is known, until another is picked. */
export const hour = computed(() => picked.value ?? last.value);

export function pick(next: number): void {
  picked.value = Math.min(HOURS - 1, Math.max(0, next));
}

export const isToday = computed(() => day.value >= today.value);

/** Shows another day, `by` days later. */
export function turn(by: number): void {
  if (!day.peek()) return;
  const next = dayOf(Date.parse(`${day.peek()}T00:00Z`) + by * DAY_MS);
  chosen.value = next >= today.peek() ? null : next;
  picked.value = null;
  failed.value = null;
}

export const portals = computed(() => stats.value?.total?.portals.map((portal) => portal.device) ?? []);
export const portal = computed(() => portals.value[place.value % Math.max(1, portals.value.length)] ?? "");

export function nextPortal(): void {
  place.value += 1;
}

const ofHour = (known: DayStats, number: number) =>
  hourOf(known, number)?.portals.find((each) => each.device === portal.value) ?? null;

function values(of: (number: number) => number | null | undefined): Values {
  return Array.from({ length: HOURS }, (_, number) => of(number) ?? null);
}

/** One line for each panel of the channel. */
export function panelLines(known: DayStats | null, of: Channel, key: "background_cps" | "dispersion"): Line[] {
  const panels = known?.total?.portals.find((each) => each.device === portal.value)?.panels ?? [];
  const mine = (panel: PanelStats) => panel.channel === of;
  return panels.filter(mine).map(({ panel: name }) => ({
    name,
    values: values((number) =>
      ofHour(known as DayStats, number)?.panels.find((panel) => mine(panel) && panel.panel === name)?.[key]),
  }));
}

/** What the vehicles of each hour kept from the portal: the middle one of them, and all but a twentieth. */
export function suppressionLines(known: DayStats | null, names: [string, string]): Line[] {
  if (!known?.total) return [];
  return (["p50", "p95"] as const).map((key, i) => ({
    name: names[i] as string, values: values((number) => ofHour(known, number)?.suppression[key]),
  }));
}

let asked = 0;

async function ask(wanted: string): Promise<void> {
  asked += 1;
  const mine = asked;
  const kind = lane.peek()?.simulated ? "simulated" : "real";
  try {
    const answer = await getJson<DayStats>(`/v1/stats?day=${wanted}&kind=${kind}`);
    if (mine === asked) [found.value, failed.value] = [{ day: wanted, stats: answer }, null];
  } catch (error) {
    if (mine === asked) failed.value = error instanceof Refused && error.status === 410 ? "trimmed" : "failed";
  }
}

/** Asks for the day that is shown, and again each minute while it is. */
export function followDay(): void {
  effect(() => {
    const wanted = day.value;
    if (!wanted) return;
    void ask(wanted);
    const again = setInterval(() => void ask(wanted), AGAIN_MS);
    return () => clearInterval(again);
  });
}
