/** Seals and placards of a vehicle: what was recorded before, else what was declared and is still to be looked at. */

import type { Inspection } from "../api/types";

export const STATES = ["intact", "broken", "missing"] as const;
export type SealState = (typeof STATES)[number];
export interface Sealed { no: string; state: SealState | null }
export interface Placard { un: string | null; class: string | null; seen: boolean | null }

const CLASS = /^[1-9](\.[1-6])?/;

export function placardName({ un, class: hazard }: Pick<Placard, "un" | "class">): string {
  return [un && `UN ${un}`, hazard && `(${hazard})`].filter(Boolean).join(" ");
}

/** What was typed as a placard: four digits are a UN number, one digit or two with a point a class. */
export function asPlacard(typed: string): Placard | null {
  if (/^[0-9]{4}$/.test(typed)) return { un: typed, class: null, seen: true };
  return CLASS.exec(typed)?.[0] === typed && typed ? { un: null, class: typed, seen: true } : null;
}

function unique<T>(all: T[], name: (one: T) => string): T[] {
  return [...new Map(all.map((one) => [name(one), one])).values()];
}

export function declaredSeals(vehicle: Inspection | null): Sealed[] {
  const seen = vehicle?.seen?.seals;
  const declared = (vehicle?.manifest?.seals ?? []).map((no) => ({ no, state: null }));
  return unique<Sealed>([...declared, ...(seen ?? [])], ({ no }) => no);
}

export function declaredPlacards(vehicle: Inspection | null): Placard[] {
  const seen = vehicle?.seen?.placards;
  const declared = (vehicle?.manifest?.hazmat ?? []).map((goods) => ({
    un: goods.un, class: CLASS.exec(goods.class ?? "")?.[0] ?? null, seen: seen ? false : null,
  }));
  const read: Placard[] = (seen ?? []).map((each) => ({ ...each, seen: true }));
  return unique<Placard>([...declared, ...read], placardName);
}
