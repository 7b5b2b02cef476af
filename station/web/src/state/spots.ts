/** Where along the vehicle counts peak, as bands in metres behind its nose: never a point. */

import { computed } from "@preact/signals";
import type { HotSpot } from "../api/types";
import { code, number, t } from "./i18n";
import { inspection } from "./station";

export interface Spot {
  kind: HotSpot["kind"];
  /** The place, two standard errors to each side. */
  from: number; to: number;
  /** Half the height of the peak to each side, where it is spread. */
  wide: [from: number, to: number] | null;
  /** One of several: nobody knows which. */
  unsure: boolean;
}

const SIGMAS = 2;
export const LETTERS: Record<Spot["kind"], string> = { gamma: "γ", gamma_low: "γ₁", neutron: "n" };

/** No band reaches beyond the vehicle's ends, as far as they are known. */
function spotOf({ kind, s_m: s, sigma_m: sigma, fwhm_m: wide, distributed, candidate }: HotSpot, lengthM: number): Spot {
  const around = (half: number): [number, number] => [Math.max(0, s - half), Math.max(s, Math.min(lengthM, s + half))];
  const [from, to] = around(SIGMAS * sigma);
  return { kind, from, to, wide: distributed ? around(Math.max(wide / 2, SIGMAS * sigma)) : null, unsure: candidate };
}

/** The low energies have a band of their own where they say something else. */
export function shown(found: readonly HotSpot[], lengthM = Infinity): Spot[] {
  const all = found.map((spot) => spotOf(spot, lengthM));
  const meets = (one: Spot, other: Spot) => one.from <= other.to && other.from <= one.to;
  return all.filter((spot) => spot.kind !== "gamma_low" || !all.some((other) => other.kind === "gamma" && meets(spot, other)));
}

const imagedM = computed(() => {
  const scan = inspection.value?.scan;
  return scan?.col_nose != null && scan.col_tail != null ? ((scan.col_tail - scan.col_nose) * scan.px_mm_x) / 1000 : Infinity;
});

export const spots = computed(() => shown(inspection.value?.radiation.hot_spots ?? [], imagedM.value));

const metres = (spot: Spot) => {
  const [a, b] = spot.wide ?? [spot.from, spot.to];
  return { a: number(a, 1), b: number(b, 1) };
};

/** As it stands under its band. */
export function label(spot: Spot): string {
  const text = t(spot.wide ? "spot.label.spread" : "spot.label", { ...metres(spot), n: LETTERS[spot.kind] });
  return spot.unsure ? `${text} ?` : text;
}

/** As one reads it, and as a screen reader says it. */
export function sentence(spot: Spot): string {
  return t(spot.wide ? "spot.spread" : "spot.at", metres(spot));
}

/** All places of one channel in one sentence, or null. */
export function place(channel: "gamma" | "neutron"): string | null {
  const found = spots.value.filter((spot) => spot.kind === channel).map(sentence);
  return found.length > 0 ? found.join(t("spot.or")) : null;
}

/** What a channel's peak has no place for. */
export function placeless(channel: "gamma" | "neutron"): string {
  const radiation = inspection.value?.radiation;
  const why = radiation?.unlocated.find(({ kind }) => kind === channel)?.why;
  if (why) return t("spot.unlocated", { why: code("unlocated", why) });
  return t(radiation?.[channel].state === "measuring" ? "spot.follows" : "spot.none");
}

/** What a picture with bands says to who does not see it. */
export function told(text: string, of: (spot: Spot) => boolean = () => true): string {
  const bands = spots.value.filter(of).map((spot) => `${code("channel", spot.kind)}: ${sentence(spot)}`);
  return [text, ...bands].join(". ");
}
