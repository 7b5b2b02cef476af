/** Locks, sounds, the table of greys and the words: pure rules. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATTERNS, soundOf } from "../src/sound/rule";
import { clock, code, number, setLanguage, t } from "../src/state/i18n";
import { table } from "../src/state/image";
import { readLock, releaseLock, releaseStands, secondaryFree } from "../src/state/locks";
import { alarm, locked, vehicle } from "./lane";

globalThis.localStorage ??= { setItem() {} };
globalThis.document ??= { documentElement: {} };

const calm = { stale: false, vehicle: vehicle(), unstored: 0, pictured: true, sending: false, dead: false };
const unread = vehicle({ release: locked("read_image", "measuring") });

test("Release is free only if nothing at all speaks against it", () => {
  assert.equal(releaseLock(calm), null);
  const against = {
    stale: [{ stale: true }, "stale"],
    "no vehicle": [{ vehicle: null }, "no_vehicle"],
    "the server's first lock": [{ vehicle: unread, sending: true }, "read_image"],
    "not allowed, no reason given": [{ vehicle: vehicle({ release: { allowed: false, locks: [] } }) }, "measuring"],
    "a lock though allowed": [{ vehicle: vehicle({ release: { allowed: true, locks: [{ code: "x", args: {} }] } }) }, "x"],
    "an alarm that is not stored": [{ unstored: 1 }, "not_stored"],
    "an order on its way": [{ sending: true }, "pending"],
    "a change only just": [{ dead: true }, "dead"],
  };
  for (const [why, [other, expected]] of Object.entries(against)) {
    assert.equal(releaseLock({ ...calm, ...other }), expected, why);
  }
});

test("no combination of locks leaves Release free but the empty one", () => {
  for (let bits = 1; bits < 32; bits += 1) {
    const on = (bit) => (bits & bit) > 0;
    const moment = {
      stale: on(1), vehicle: on(2) ? null : vehicle(), unstored: on(4) ? 1 : 0, sending: on(8), dead: on(16),
    };
    assert.notEqual(releaseLock(moment), null, JSON.stringify(moment));
  }
});

test("Release has a place with an undecided vehicle, or when nobody knows", () => {
  assert.equal(releaseStands(calm), true);
  assert.equal(releaseStands({ ...calm, vehicle: null }), false);
  assert.equal(releaseStands({ ...calm, vehicle: null, stale: true }), true);
  for (const state of ["decided", "referred_secondary", "aborted", "cleared_by_rule"]) {
    const over = { ...calm, vehicle: vehicle({ state, release: locked("decided") }) };
    assert.equal(releaseStands(over), false, state);
    assert.equal(secondaryFree(over), false, state);
  }
});

test("Secondary needs no advice, but a vehicle and a quiet moment", () => {
  assert.equal(secondaryFree({ ...calm, vehicle: unread }), true);
  for (const other of [{ stale: true }, { vehicle: null }, { sending: true }, { dead: true }]) {
    assert.equal(secondaryFree({ ...calm, ...other }), false, JSON.stringify(other));
  }
  const decided = vehicle({ release: locked("decided") });
  assert.equal(secondaryFree({ ...calm, vehicle: decided }), false);
});

test("an order that was taken back is no decision: Release stands locked again, Secondary is free", () => {
  for (const state of ["awaiting_decision", "decided", "referred_secondary"]) {
    for (const why of ["needs_supervisor", "emergency", "out_of_service", "vehicle_not_at_barrier"]) {
      const back = { ...calm, vehicle: vehicle({ state, release: locked(why), decision: { verdict: "release" } }) };
      assert.deepEqual([releaseStands(back), releaseLock(back), secondaryFree(back)], [true, why, true], `${state} ${why}`);
    }
  }
  for (const state of ["decided", "referred_secondary"]) {
    const away = { ...calm, vehicle: vehicle({ state, release: locked("decided", "needs_supervisor") }) };
    assert.deepEqual([releaseStands(away), secondaryFree(away)], [false, false], `${state}: left under its order`);
  }
});

test("Image read waits for all of the image, and for a quiet moment", () => {
  assert.equal(readLock(calm), null);
  const against = {
    stale: { stale: true }, no_vehicle: { vehicle: null }, image_incomplete: { pictured: false },
    pending: { sending: true }, dead: { dead: true },
  };
  for (const [lock, other] of Object.entries(against)) assert.equal(readLock({ ...calm, ...other }), lock);
  const unfitted = vehicle({ coverage: { scanner: { state: "not_fitted" } } });
  assert.equal(readLock({ ...calm, vehicle: unfitted, pictured: false }), null, "no scanner: nothing to wait for");
});

test("the most urgent alarm that is not silenced sounds", () => {
  const now = 10_000_000;
  const of = (...alarms) => soundOf(alarms, now);
  assert.equal(of(), null);
  assert.equal(of(alarm()), "p1");
  assert.equal(of(alarm({ state: "ack" })), null);
  assert.equal(of(alarm({ state: "rtn_unack" })), "p1_ended");
  assert.equal(of(alarm({ priority: 2 })), "p2");
  assert.equal(of(alarm({ priority: 2, state: "rtn_unack" })), "p2");
  assert.equal(of(alarm({ priority: 3 })), null);
  assert.equal(of(alarm({ priority: 2 }), alarm({ state: "rtn_unack" }), alarm()), "p1");
  assert.equal(of(alarm({ priority: 2 }), alarm({ state: "rtn_unack" })), "p1_ended");
  assert.equal(of(alarm({ silenced_until_utc_us: now + 1 })), null);
  assert.equal(of(alarm({ silenced_until_utc_us: now })), "p1", "silence ends at its time");
  assert.equal(of(alarm({ silenced_until_utc_us: now + 1 }), alarm({ priority: 2 })), "p2", "a new alarm ends it");
});

test("each sound is what the rules of alarms ask for", () => {
  const heard = (sound) => [PATTERNS[sound].loopS, ...PATTERNS[sound].beeps.map((beep) => beep.hertz)];
  assert.deepEqual(heard("p1"), [1, 800, 1000]);
  assert.deepEqual(heard("p1_ended"), [10, 800, 1000]);
  assert.deepEqual(heard("p2"), [10, 600, 600]);
  for (const { loopS, beeps } of Object.values(PATTERNS)) {
    for (const { atS, lastsS } of beeps) assert.ok(atS + lastsS < loopS);
  }
});

test("the table gives the exact grey of every value", () => {
  const lut = table(30_000, 62_000);
  assert.equal(lut.length, 65_536);
  assert.deepEqual([lut[0], lut[30_000], lut[46_000], lut[62_000], lut[65_535]], [0, 0, 128, 255, 255]);
  const inverse = table(30_000, 62_000, true);
  for (let v = 0; v < 65_536; v += 97) assert.equal(lut[v] + inverse[v], 255);
  assert.deepEqual([...table(7, 7).slice(6, 9)], [0, 0, 255], "a window without width is still a window");
});

test("words: named values, unknown codes raw, numbers and clock of the language", () => {
  setLanguage("en");
  assert.equal(t("scan.length", { m: number(15.46, 1) }), "15.5 m, nose left");
  assert.equal(code("lock", "read_image"), "Read the image first");
  assert.equal(code("lock", "never_heard_of"), "never_heard_of");
  assert.equal(number(23_950), "23,950");
  assert.equal(clock(1_750_000_000_000_000, "America/Chicago"), "10:06:40");
  setLanguage("es");
  assert.equal(code("lock", "read_image"), "Primero lea la imagen");
  assert.equal(number(23_950), "23,950", "Mexico writes a comma, unlike Spain");
  setLanguage("en");
});
