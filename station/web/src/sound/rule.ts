/** Which sound the alarms ask for, and what each sound is made of: pure, so that it can be tested. */

import type { Alarm } from "../api/types";

export type Sound = "p1" | "p1_ended" | "p2";
export interface Beep { hertz: number; atS: number; lastsS: number }
export interface Pattern { loopS: number; beeps: Beep[] }

const PULSES: Beep[] = [{ hertz: 800, atS: 0, lastsS: 0.25 }, { hertz: 1000, atS: 0.5, lastsS: 0.25 }];
export const PATTERNS: Record<Sound, Pattern> = {
  p1: { loopS: 1, beeps: PULSES },
  p1_ended: { loopS: 10, beeps: PULSES },
  p2: { loopS: 10, beeps: [{ hertz: 600, atS: 0, lastsS: 0.2 }, { hertz: 600, atS: 0.4, lastsS: 0.2 }] },
};
const RANKED: readonly Sound[] = ["p1", "p1_ended", "p2"];

/** Every second while a P1 is unacknowledged, every ten for one that ended unseen and for a P2. */
function asked(alarm: Alarm): Sound | null {
  if (alarm.state === "ack" || alarm.priority === 3) return null;
  if (alarm.priority === 2) return "p2";
  return alarm.state === "unack" ? "p1" : "p1_ended";
}

/** The most urgent sound of all alarms that are not silenced now; microseconds since 1970. */
export function soundOf(alarms: readonly Alarm[], nowUs: number): Sound | null {
  const sounding = alarms.filter((alarm) => (alarm.silenced_until_utc_us ?? 0) <= nowUs).map(asked);
  return RANKED.find((sound) => sounding.includes(sound)) ?? null;
}
